//! The description of the API: made from the handlers, completed with what is true of all of them.

use serde::Deserialize;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Response};
use utoipa::{IntoParams, OpenApi as _};

use crate::types::{FieldError, Problem};

/// Which part of a list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// The most results.
    #[param(minimum = 1, maximum = 500, default = 100)]
    #[expect(dead_code, reason = "describes a parameter")]
    limit: Option<u32>,
    /// Only what comes after this: the `next` of the page before.
    #[expect(dead_code, reason = "describes a parameter")]
    after: Option<String>,
}

/// What a write may be asked to do besides.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WriteQuery {
    /// Check everything and write nothing.
    #[param(default = false)]
    #[expect(dead_code, reason = "describes a parameter")]
    dry_run: Option<bool>,
    /// `applied`: answer when every worker of every live proxy runs the change, with `applied`, `proxies` and
    /// `laggards` in the answer.
    #[param(schema_with = applied)]
    #[expect(dead_code, reason = "describes a parameter")]
    wait: Option<String>,
    /// How long to wait for that at most, in `s` or `ms`; more than 30 s count as 30 s.
    #[param(pattern = "^[0-9]{1,9}(s|ms)$", default = "5s")]
    #[expect(dead_code, reason = "describes a parameter")]
    timeout: Option<String>,
}

/// As [`WriteQuery`], where nothing can be tried out.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitQuery {
    /// `applied`: answer when every live proxy has seen the change.
    #[param(schema_with = applied)]
    #[expect(dead_code, reason = "describes a parameter")]
    wait: Option<String>,
    /// How long to wait for that at most, in `s` or `ms`; more than 30 s count as 30 s.
    #[param(pattern = "^[0-9]{1,9}(s|ms)$", default = "5s")]
    #[expect(dead_code, reason = "describes a parameter")]
    timeout: Option<String>,
}

/// The condition of a write.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct IfMatchHeader {
    /// The entity tags that the record may have (RFC 9110 §13.1.1); else the answer is 412.
    #[serde(rename = "If-Match")]
    #[expect(dead_code, reason = "describes a parameter")]
    if_match: Option<String>,
}

/// Which host.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct HostPath {
    /// The pattern of the host, exactly: `app.example.com`, `*.example.com`.
    #[param(min_length = 1)]
    #[expect(dead_code, reason = "describes a parameter")]
    pattern: String,
}

/// Which account.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct UserPath {
    /// The name of the account.
    #[param(min_length = 1)]
    #[expect(dead_code, reason = "describes a parameter")]
    name: String,
}

fn applied() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).enum_values(Some(["applied"]))
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Gatewright", description = "The control plane of the Gatewright proxy."),
    components(schemas(Problem, FieldError)),
    tags(
        (name = "auth", description = "Sessions"),
        (name = "host", description = "Names and patterns, and what stands behind them"),
        (name = "user", description = "Accounts"),
        (name = "system", description = "The whole"),
        (name = "probe", description = "For machines that watch")
    )
)]
struct Frame;

/// What the handlers' own descriptions are put into.
pub(crate) fn frame() -> OpenApi {
    let mut api = Frame::openapi();
    let components = api.components.get_or_insert_default();
    let header = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("auth-token")));
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.add_security_scheme("auth_token", header);
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    api.security = Some(vec![
        SecurityRequirement::new::<_, _, &str>("auth_token", []),
        SecurityRequirement::new::<_, _, &str>("bearer", []),
    ]);
    api
}

/// Adds the answers that follow from what an operation takes, and the header that every answer has.
pub(crate) fn complete(api: &mut OpenApi) {
    for (path, item) in &mut api.paths.paths {
        for operation in
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch]
                .into_iter()
                .flatten()
        {
            add_answers(path, operation);
            for answer in operation.responses.responses.values_mut() {
                if let RefOr::T(answer) = answer {
                    let id = HeaderBuilder::new().description(Some("The request's id."));
                    answer.headers.insert("X-Request-Id".to_owned(), RefOr::T(id.build()));
                }
            }
        }
    }
}

fn add_answers(path: &str, operation: &mut Operation) {
    let login = path == "/api/auth/login";
    let open = operation.security.is_some() && !login;
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    let has = |name: &str| {
        parameters
            .iter()
            .any(|parameter| matches!(parameter, RefOr::T(parameter) if parameter.name == name))
    };
    let asks = !parameters.is_empty() || operation.request_body.is_some();
    let mut codes = Vec::new();
    let mut add = |applies: bool, code: &'static str, why: &'static str| {
        if applies {
            codes.push((code, why));
        }
    };
    let body = operation.request_body.is_some();
    add(asks, "400", "The request is malformed.");
    add(!open, "401", "The credentials are missing, wrong or expired.");
    add(!open && !login, "403", "The role does not allow this.");
    add(path.contains("{pattern}") || has_user(path), "404", "There is no such record.");
    add(body, "408", "The body did not arrive in time.");
    add(has("If-Match"), "412", "The record has changed since it was read.");
    add(body, "413", "The body is larger than 1 MiB.");
    add(body, "415", "The body is not announced as JSON.");
    add(asks, "422", "Values are wrong; all are named.");
    add(login || path == "/api/user/password", "429", "Too many attempts.");
    add(true, "500", "Something is wrong inside.");
    add(true, "503", "The store can't be reached, or too much is going on.");
    for (code, why) in codes {
        operation.responses.responses.entry(code.to_owned()).or_insert_with(|| problem(why).into());
    }
}

fn has_user(path: &str) -> bool {
    path.starts_with("/api/user/{")
}

fn problem(why: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(why).content("application/problem+json", content).build()
}

//! The description of the API: made from the handlers, completed with what is true of all of them.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{AdditionalProperties, Object, ObjectBuilder, Schema};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Response};
use utoipa::{IntoParams, OpenApi as _, ToSchema};

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
    #[param(inline)]
    #[expect(dead_code, reason = "describes a parameter")]
    wait: Option<Wait>,
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
    #[param(inline)]
    #[expect(dead_code, reason = "describes a parameter")]
    wait: Option<Wait>,
    /// How long to wait for that at most, in `s` or `ms`; more than 30 s count as 30 s.
    #[param(pattern = "^[0-9]{1,9}(s|ms)$", default = "5s")]
    #[expect(dead_code, reason = "describes a parameter")]
    timeout: Option<String>,
}

/// A request that is only imagined.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExplainQuery {
    /// Its method.
    #[param(default = "GET", pattern = "^[A-Z]{1,20}$")]
    #[expect(dead_code, reason = "describes a parameter")]
    method: Option<String>,
    /// What it asks for, with scheme and host.
    #[param(
        pattern = "^https?://[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?){0,3}/[a-z0-9/]{0,60}$",
        example = "https://app.example.com/path"
    )]
    #[expect(dead_code, reason = "describes a parameter")]
    url: String,
    /// The address of the client, behind trusted proxies.
    #[param(default = "127.0.0.1", format = Ipv4)]
    #[expect(dead_code, reason = "describes a parameter")]
    client: Option<String>,
    /// A field of it, `name:value`; may be given several times.
    #[param(pattern = "^[a-z][a-z-]{0,30}:[ -~]{0,100}$")]
    #[expect(dead_code, reason = "describes a parameter")]
    header: Option<String>,
}

/// Which writes.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// Only those of the host with this pattern.
    #[expect(dead_code, reason = "describes a parameter")]
    host: Option<String>,
    /// Only those of this kind of record: `Host`, `User`, `Cert`, `DnsProvider`, `LocalCa`.
    #[expect(dead_code, reason = "describes a parameter")]
    collection: Option<String>,
    /// Only those of this record; needs `collection`.
    #[expect(dead_code, reason = "describes a parameter")]
    id: Option<String>,
}

/// Which write.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct HistoryPath {
    /// The number of the write.
    #[param(minimum = 1)]
    #[expect(dead_code, reason = "describes a parameter")]
    n: u64,
}

/// Whether later changes may go.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ForceQuery {
    /// Bring it back whatever came later; else, without `If-Match`, a later change is 409.
    #[param(default = false)]
    #[expect(dead_code, reason = "describes a parameter")]
    force: Option<bool>,
}

/// What an export has.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportQuery {
    /// `sealed`: secrets as the store has them, which needs the same keys to import; `none`: without them.
    #[param(default = "sealed", pattern = "^(sealed|none)$")]
    #[expect(dead_code, reason = "describes a parameter")]
    secrets: Option<String>,
}

/// What an import does with what the file does not have.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImportQuery {
    /// `merge`: it stays; `replace`: it is deleted.
    #[param(pattern = "^(merge|replace)$")]
    #[expect(dead_code, reason = "describes a parameter")]
    mode: String,
}

/// The condition of a write.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct IfMatchHeader {
    /// The entity tags that the record may have (RFC 9110 §13.1.1); else the answer is 412.
    #[serde(rename = "If-Match")]
    #[param(nullable = false)]
    #[expect(dead_code, reason = "describes a parameter")]
    if_match: Option<String>,
}

/// Which host.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct HostPath {
    /// The pattern of the host, exactly.
    #[param(schema_with = crate::types::schema::host_pattern)]
    #[expect(dead_code, reason = "describes a parameter")]
    pattern: String,
}

/// Which name to look up.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct LookupPath {
    /// The name.
    #[param(schema_with = crate::types::schema::lookup_name)]
    #[expect(dead_code, reason = "describes a parameter")]
    name: String,
}

/// Which account.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct UserPath {
    /// The name of the account.
    #[param(schema_with = crate::types::schema::user_name)]
    #[expect(dead_code, reason = "describes a parameter")]
    name: String,
}

/// Which certificate.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct CertPath {
    /// The name it is kept under, exactly.
    #[param(schema_with = crate::types::schema::host_pattern)]
    #[expect(dead_code, reason = "describes a parameter")]
    name: String,
}

/// Which DNS provider.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ProviderPath {
    /// Its id.
    #[param(schema_with = crate::types::schema::provider_id)]
    #[expect(dead_code, reason = "describes a parameter")]
    id: String,
}

/// What a write may wait for.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Wait {
    Applied,
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Gatewright", description = "The control plane of the Gatewright proxy."),
    components(schemas(Problem, FieldError)),
    tags(
        (name = "auth", description = "Sessions"),
        (name = "host", description = "Names and patterns, and what stands behind them"),
        (name = "cert", description = "Certificates, and how they are come by"),
        (name = "dns", description = "DNS providers and their zones, for proofs by DNS-01"),
        (name = "user", description = "Accounts"),
        (name = "history", description = "What was written, and the way back"),
        (name = "backup", description = "Everything, out and in"),
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
    let id = HeaderBuilder::new().description(Some("The request's id, as in the log.")).build();
    components.headers.insert("X-Request-Id".to_owned(), RefOr::T(id));
    for (_, name, why) in SHARED {
        components.responses.insert(name.to_owned(), RefOr::T(problem(name, why)));
    }
    components.add_security_scheme("auth_token", header);
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    api.security = Some(vec![
        SecurityRequirement::new::<_, _, &str>("auth_token", []),
        SecurityRequirement::new::<_, _, &str>("bearer", []),
    ]);
    api
}

/// Adds the answers that follow from what an operation takes, and the header that every answer has. Says of what clients send
/// that nothing else may be in it.
pub(crate) fn complete(api: &mut OpenApi) {
    SENT.iter().for_each(|name| close(api, name));
    for (path, item) in &mut api.paths.paths {
        let operations =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            for answer in operation.responses.responses.values_mut() {
                if let RefOr::T(answer) = answer {
                    let id = Ref::new("#/components/headers/X-Request-Id");
                    answer.headers.insert("X-Request-Id".to_owned(), RefOr::Ref(id));
                }
            }
            for (code, name, _) in errors_of(path, operation) {
                let answer = RefOr::Ref(Ref::from_response_name(name));
                operation.responses.responses.entry(code.to_owned()).or_insert(answer);
            }
        }
    }
}

/// What clients send and nothing else may be in, of what does not say so by itself.
const SENT: [&str; 15] = [
    "Balance",
    "BasicAuth",
    "Breaker",
    "Directory",
    "ErrorPages",
    "HeaderChanges",
    "Health",
    "HostChange",
    "HostCreate",
    "Hsts",
    "Limits",
    "Maintenance",
    "PathRoute",
    "RateLimit",
    "Redirect",
];

/// Closes an object. One that is put together of several is made one first: parts can't say what the whole must not have.
fn close(api: &mut OpenApi, name: &str) {
    let schemas = &mut api.components.get_or_insert_default().schemas;
    let mut closed = match schemas.get(name) {
        Some(RefOr::T(Schema::Object(object))) => object.clone(),
        Some(RefOr::T(Schema::AllOf(whole))) => {
            let mut object = ObjectBuilder::new().description(whole.description.clone()).build();
            for part in whole.items.iter().filter_map(|part| resolved(part, schemas)) {
                object.required.extend(part.required.iter().cloned());
                object.properties.extend(part.properties.clone());
            }
            object
        }
        _ => return,
    };
    closed.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    schemas.insert(name.to_owned(), RefOr::T(Schema::Object(closed)));
}

fn resolved<'a>(
    schema: &'a RefOr<Schema>,
    all: &'a BTreeMap<String, RefOr<Schema>>,
) -> Option<&'a Object> {
    let schema = match schema {
        RefOr::Ref(to) => all.get(to.ref_location.rsplit('/').next()?)?,
        schema => schema,
    };
    match schema {
        RefOr::T(Schema::Object(object)) => Some(object),
        _ => None,
    }
}

/// An error that several operations may answer: status, name, meaning.
type Shared = (&'static str, &'static str, &'static str);

const MALFORMED: Shared = ("400", "Malformed", "The request is malformed.");
const UNAUTHORISED: Shared =
    ("401", "Unauthorised", "The credentials are missing, wrong or expired.");
const FORBIDDEN: Shared = ("403", "Forbidden", "The role does not allow this.");
const NOT_FOUND: Shared = ("404", "NotFound", "There is no such record.");
const TOO_SLOW: Shared = ("408", "TooSlow", "The body did not arrive in time.");
const CONFLICT: Shared =
    ("409", "Conflict", "The record is stored in a form that can't be read, or a rule forbids it.");
const STALE: Shared = ("412", "Stale", "The record has changed since it was read.");
const TOO_LARGE: Shared = ("413", "TooLarge", "The body is larger than 1 MiB.");
const NOT_JSON: Shared = ("415", "NotJson", "The body is not announced as JSON.");
const INVALID: Shared = ("422", "Invalid", "Values are wrong; all are named.");
const RATE_LIMITED: Shared = ("429", "RateLimited", "Too many attempts.");
const INTERNAL: Shared = ("500", "Internal", "Something is wrong inside.");
const UPSTREAM: Shared =
    ("502", "Upstream", "The DNS provider can't be reached, or limits the rate of requests.");
const UNAVAILABLE: Shared =
    ("503", "Unavailable", "The store can't be reached, or too much is going on.");

const SHARED: [Shared; 14] = [
    MALFORMED,
    UNAUTHORISED,
    FORBIDDEN,
    NOT_FOUND,
    TOO_SLOW,
    CONFLICT,
    STALE,
    TOO_LARGE,
    NOT_JSON,
    INVALID,
    RATE_LIMITED,
    INTERNAL,
    UPSTREAM,
    UNAVAILABLE,
];

fn errors_of(path: &str, operation: &Operation) -> Vec<Shared> {
    let login = path == "/api/auth/login";
    let open = operation.security.is_some();
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    let has = |name: &str| {
        let named = |it: &RefOr<Parameter>| matches!(it, RefOr::T(it) if it.name == name);
        parameters.iter().any(named)
    };
    let body = operation.request_body.is_some();
    let asks = body || !parameters.is_empty();
    let records = ["/api/user/{", "/api/history/{", "/api/cert/{", "/api/dns/{"];
    let record = records.iter().any(|start| path.starts_with(start)) || path.contains("{pattern}");
    let limited = ["/api/auth/login", "/api/user/password", "/api/host/{pattern}/renew"];
    let id = operation.operation_id.as_deref().unwrap_or_default();
    let elsewhere =
        ["create_dns_provider", "replace_dns_provider", "refresh_dns_provider"].contains(&id);
    [
        (asks, MALFORMED),
        (login || !open, UNAUTHORISED),
        (!open, FORBIDDEN),
        (record, NOT_FOUND),
        (body, TOO_SLOW),
        (record, CONFLICT),
        (has("If-Match"), STALE),
        (body, TOO_LARGE),
        (body, NOT_JSON),
        (asks, INVALID),
        (limited.contains(&path), RATE_LIMITED),
        (true, INTERNAL),
        (elsewhere, UPSTREAM),
        (true, UNAVAILABLE),
    ]
    .into_iter()
    .filter_map(|(applies, shared)| applies.then_some(shared))
    .collect()
}

fn problem(name: &str, why: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let id = RefOr::Ref(Ref::new("#/components/headers/X-Request-Id"));
    let mut answer = ResponseBuilder::new()
        .description(why)
        .content("application/problem+json", content)
        .build();
    answer.headers.insert("X-Request-Id".to_owned(), id);
    let waits = [RATE_LIMITED.1, UPSTREAM.1, UNAVAILABLE.1].contains(&name);
    if waits {
        let wait = HeaderBuilder::new().description(Some("When to try again, in seconds."));
        answer.headers.insert("Retry-After".to_owned(), RefOr::T(wait.build()));
    }
    answer
}

use axum::extract::State;
use axum::response::Response;
use control::{Conditions, Error, HostPatch, HostSpec};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use model::{HostPattern, Hostname};
use serde_json::Value;

use super::{answer, written};
use crate::App;
use crate::error::Failure;
use crate::extract::{Caller, IfMatch, Json, Parameters, Segment, WriteParameters};
use crate::reader::{Errors, Object, boolean, list, parsed, word};
use crate::types::schema::{CERTIFICATE_MODE, UPSTREAM_TLS};
use crate::types::{Deleted, HostChange, HostCreate, HostList, HostView, LookupAnswer, Written};

/// What a host answers with but does not take.
const READ_ONLY: [&str; 6] =
    ["certificate_status", "created_at", "created_by", "etag", "revision", "updated_at"];

/// The members that are rules.
const RULES: [&str; 22] = [
    "allow",
    "balance",
    "basic_auth",
    "breaker",
    "canonical",
    "compress",
    "deny",
    "error_pages",
    "health",
    "hsts",
    "limits",
    "maintenance",
    "rate_limit",
    "redirect",
    "request_headers",
    "response_headers",
    "rewrite_responses",
    "routes",
    "security_headers",
    "static",
    "upstream_http",
    "upstream_proxy_protocol",
];

/// Lists hosts in the order of their patterns.
#[utoipa::path(get, path = "/api/host", tag = "host", operation_id = "list_hosts",
    params(crate::openapi::ListQuery),
    responses((status = 200, body = HostList, description = "Some hosts.")))]
pub(crate) async fn list_hosts(
    State(app): State<App>,
    Caller(actor): Caller,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.list(&mut errors);
    errors.check(Some(()))?;
    let page = app.control.hosts().list(&actor, asked.after.as_deref(), asked.limit).await?;
    let results = page.hosts.into_iter().map(HostView::from).collect();
    answer(StatusCode::OK, None, &HostList { results, next: page.next })
}

/// Makes a host.
#[utoipa::path(post, path = "/api/host", tag = "host", operation_id = "create_host",
    params(crate::openapi::WriteQuery), request_body = HostCreate,
    responses(
        (status = 201, body = Written<HostView>, description = "The host as made.",
            headers(("ETag" = String, description = "Its entity tag."),
                ("Location" = String, description = "Where it is."))),
        (status = 200, body = Written<HostView>, description = "The host as it would be: a dry run."),
        (status = 409, body = crate::types::Problem, content_type = "application/problem+json",
            description = "There is one with this pattern.")))]
pub(crate) async fn create_host(
    State(app): State<App>,
    Caller(actor): Caller,
    parameters: Parameters,
    Json(body): Json,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.write(&mut errors);
    let read = read_new(body, &mut errors);
    let (pattern, spec) = errors.check(read)?;
    let view = app.control.hosts().create(&actor, pattern, spec, asked.dry_run).await?;
    let location = format!("/api/host/{}", encoded(view.host.pattern.as_str()));
    let status = if asked.dry_run { StatusCode::OK } else { StatusCode::CREATED };
    let mut answer = changed(&app, status, view, asked).await?;
    if !asked.dry_run {
        let location = HeaderValue::try_from(location).map_err(|_| Failure::internal())?;
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(answer)
}

/// Shows a host.
#[utoipa::path(get, path = "/api/host/{pattern}", tag = "host", operation_id = "show_host",
    params(crate::openapi::HostPath),
    responses((status = 200, body = HostView, description = "The host.",
        headers(("ETag" = String, description = "Its entity tag.")))))]
pub(crate) async fn show_host(
    State(app): State<App>,
    Caller(actor): Caller,
    Segment(pattern): Segment,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    parameters.none(&mut errors);
    let pattern = read_pattern(&pattern, &mut errors);
    let pattern = errors.check(pattern)?;
    let view = HostView::from(app.control.hosts().get(&actor, &pattern).await?);
    answer(StatusCode::OK, view.etag.as_deref(), &view)
}

/// Replaces what is decided about a host.
#[utoipa::path(put, path = "/api/host/{pattern}", tag = "host", operation_id = "replace_host",
    params(crate::openapi::HostPath, crate::openapi::WriteQuery, crate::openapi::IfMatchHeader),
    request_body = HostChange,
    responses((status = 200, body = Written<HostView>, description = "The host as it is now.",
        headers(("ETag" = String, description = "Its entity tag.")))))]
pub(crate) async fn replace_host(
    State(app): State<App>,
    Caller(actor): Caller,
    Segment(pattern): Segment,
    parameters: Parameters,
    if_match: IfMatch,
    Json(body): Json,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.write(&mut errors);
    let pattern = read_pattern(&pattern, &mut errors);
    let spec = read_replacement(body, &mut errors);
    let (pattern, (given, spec)) = errors.check(pattern.zip(spec))?;
    not_renamed(&pattern, given)?;
    let conditions = if_match.and(&asked);
    let view = app.control.hosts().replace(&actor, &pattern, spec, &conditions).await?;
    changed(&app, StatusCode::OK, view, asked).await
}

/// Changes a part of a host (RFC 7396).
#[utoipa::path(patch, path = "/api/host/{pattern}", tag = "host", operation_id = "change_host",
    params(crate::openapi::HostPath, crate::openapi::WriteQuery, crate::openapi::IfMatchHeader),
    request_body(content((HostChange = "application/merge-patch+json"), (HostChange = "application/json"))),
    responses((status = 200, body = Written<HostView>, description = "The host as it is now.",
        headers(("ETag" = String, description = "Its entity tag.")))))]
pub(crate) async fn change_host(
    State(app): State<App>,
    Caller(actor): Caller,
    Segment(pattern): Segment,
    parameters: Parameters,
    if_match: IfMatch,
    Json(body): Json,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.write(&mut errors);
    let pattern = read_pattern(&pattern, &mut errors);
    let patch = read_patch(body, &mut errors);
    let (pattern, (given, patch)) = errors.check(pattern.zip(patch))?;
    not_renamed(&pattern, given)?;
    let conditions = if_match.and(&asked);
    let view = app.control.hosts().patch(&actor, &pattern, patch, &conditions).await?;
    changed(&app, StatusCode::OK, view, asked).await
}

/// Deletes a host.
#[utoipa::path(delete, path = "/api/host/{pattern}", tag = "host", operation_id = "delete_host",
    params(crate::openapi::HostPath, crate::openapi::WriteQuery, crate::openapi::IfMatchHeader),
    responses((status = 200, body = Written<Deleted>, description = "It is deleted.")))]
pub(crate) async fn delete_host(
    State(app): State<App>,
    Caller(actor): Caller,
    Segment(pattern): Segment,
    parameters: Parameters,
    if_match: IfMatch,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.write(&mut errors);
    let pattern = read_pattern(&pattern, &mut errors);
    let pattern = errors.check(pattern)?;
    let conditions: Conditions = if_match.and(&asked);
    let revision = app.control.hosts().delete(&actor, &pattern, &conditions).await?;
    let record = Deleted { deleted: pattern.to_string(), revision: revision.to_string() };
    let body = written(&app.control, &revision, asked, record).await?;
    answer(StatusCode::OK, None, &body)
}

/// Which host a name leads to, and why.
#[utoipa::path(get, path = "/api/host/lookup/{name}", tag = "host", operation_id = "look_up",
    params(crate::openapi::LookupPath),
    responses((status = 200, body = LookupAnswer, description = "What answers for the name.")))]
pub(crate) async fn look_up(
    State(app): State<App>,
    Caller(actor): Caller,
    Segment(name): Segment,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    parameters.none(&mut errors);
    let parsed = Hostname::from_authority(&name);
    let name = parsed.map_err(|error| errors.add("{name}", error)).ok();
    let name = errors.check(name)?;
    let found = app.control.lookup(&actor, name).await?;
    answer(StatusCode::OK, None, &LookupAnswer::from(found))
}

/// The answer to a change of a host.
async fn changed(
    app: &App,
    status: StatusCode,
    view: control::HostView,
    asked: WriteParameters,
) -> Result<Response, Failure> {
    let revision = view.revision.clone();
    let body = written(&app.control, &revision, asked, HostView::from(view)).await?;
    answer(status, body.record.etag.as_deref(), &body)
}

fn read_pattern(text: &str, errors: &mut Errors) -> Option<HostPattern> {
    text.parse().map_err(|error: model::NameError| errors.add("{pattern}", error)).ok()
}

fn read_new(body: Value, errors: &mut Errors) -> Option<(HostPattern, HostSpec)> {
    let mut object = Object::new(body, errors)?;
    let pattern = object.required("host", parsed::<HostPattern>);
    let spec = read_spec(&mut object);
    object.end(&READ_ONLY);
    Some((pattern?, spec?))
}

/// The pattern in the body, if it is given, and what the host is to be.
fn read_replacement(body: Value, errors: &mut Errors) -> Option<(Option<HostPattern>, HostSpec)> {
    let mut object = Object::new(body, errors)?;
    let given = object.optional("host", parsed);
    let spec = read_spec(&mut object);
    object.end(&READ_ONLY);
    Some((given, spec?))
}

fn read_spec(object: &mut Object<'_>) -> Option<HostSpec> {
    let patch = HostPatch {
        upstreams: object.optional("upstreams", list),
        upstream_tls: object.optional("upstream_tls", word(&UPSTREAM_TLS)),
        preserve_host: object.optional("preserve_host", boolean),
        force_https: object.optional("force_https", boolean),
        certificate: object.optional("certificate", word(&CERTIFICATE_MODE)),
        enabled: object.optional("enabled", boolean),
        rules: object.take_all(&RULES),
    };
    match HostSpec::default().with(patch) {
        Ok(spec) => Some(spec),
        Err(error) => {
            object.refuse(error);
            None
        }
    }
}

/// The pattern in the body, if it is given, and what is to change.
fn read_patch(body: Value, errors: &mut Errors) -> Option<(Option<HostPattern>, HostPatch)> {
    let mut object = Object::new(body, errors)?;
    let given = object.optional("host", parsed);
    let default = HostSpec::default();
    let patch = HostPatch {
        upstreams: object.patch("upstreams", default.upstreams, list),
        upstream_tls: object.patch("upstream_tls", default.upstream_tls, word(&UPSTREAM_TLS)),
        preserve_host: object.patch("preserve_host", default.preserve_host, boolean),
        force_https: object.patch("force_https", default.force_https, boolean),
        certificate: object.patch("certificate", default.certificate, word(&CERTIFICATE_MODE)),
        enabled: object.patch("enabled", default.enabled, boolean),
        rules: object.take_all(&RULES),
    };
    object.end(&READ_ONLY);
    Some((given, patch))
}

/// A pattern in the body is that of the path (RFC 9110 §9.3.4).
fn not_renamed(pattern: &HostPattern, given: Option<HostPattern>) -> Result<(), Error> {
    match given {
        Some(given) if given != *pattern => Err(Error::Refused(
            "the pattern in the body is not that of the path: a host can't be renamed",
        )),
        _ => Ok(()),
    }
}

/// A pattern as a segment of a path: `*` and brackets may not stand everywhere they could.
fn encoded(pattern: &str) -> String {
    pattern.replace('[', "%5B").replace(']', "%5D").replace(':', "%3A")
}

#[cfg(test)]
mod tests {
    use model::HostRules;

    use super::RULES;

    /// Three members of the rules were refused as unknown, for want of their names here.
    #[test]
    fn every_rule_is_a_member_that_is_taken() {
        let error = serde_json::from_str::<HostRules>(r#"{"?": 1}"#).unwrap_err().to_string();
        // The reader lists what it would have taken, each in back quotes, behind what it was given.
        let mut known: Vec<_> = error.split('`').skip(1).step_by(2).skip(1).collect();
        known.sort_unstable();
        assert_eq!(known, RULES);
    }
}

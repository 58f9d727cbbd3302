use axum::extract::State;
use axum::response::Response;
use control::Uploaded;
use http::StatusCode;
use model::{CertSource, HostPattern, Secret};
use serde_json::Value;

use super::{answer, written};
use crate::App;
use crate::error::Failure;
use crate::extract::{Caller, IfMatch, Json, Parameters, Segment};
use crate::reader::{Errors, Object, short};
use crate::types::schema::{LONGEST_CHAIN, LONGEST_KEY};
use crate::types::{CertDetail, CertExport, CertList, CertUpload, CertView, Deleted, Written};

/// Lists certificates in the order of their names, with the names that none could be got for yet.
#[utoipa::path(get, path = "/api/cert", tag = "cert", operation_id = "list_certs",
    params(crate::openapi::ListQuery),
    responses((status = 200, body = CertList, description = "Some certificates.")))]
pub(crate) async fn list_certs(
    State(app): State<App>,
    Caller(actor): Caller,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.list(&mut errors);
    errors.check(Some(()))?;
    let page = app.control.certs().list(&actor, asked.after.as_deref(), asked.limit).await?;
    let results = page.certs.into_iter().map(CertView::from).collect();
    answer(StatusCode::OK, None, &CertList { results, next: page.next })
}

/// Shows a certificate without its private key, and how it is come by.
#[utoipa::path(get, path = "/api/cert/{name}", tag = "cert", operation_id = "show_cert",
    params(crate::openapi::CertPath),
    responses((status = 200, body = CertDetail, description = "The certificate.",
        headers(("ETag" = String, description = "Its entity tag; absent while there is no certificate.")))))]
pub(crate) async fn show_cert(
    State(app): State<App>,
    Caller(actor): Caller,
    Segment(name): Segment,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    parameters.none(&mut errors);
    let name = read_name(&name, "{name}", &mut errors);
    let name = errors.check(name)?;
    let view = CertDetail::from(app.control.certs().get(&actor, &name).await?);
    answer(StatusCode::OK, view.cert.etag.as_deref(), &view)
}

/// Has a certificate of one's own served, instead of what there is.
///
/// It is checked whole: the order of the chain, its dates, its names, and that the key is its own. It is served until it ends; then
/// the host gets another, unless it says `"certificate": "custom"`.
#[utoipa::path(put, path = "/api/cert/{name}", tag = "cert", operation_id = "upload_cert",
    params(crate::openapi::CertPath, crate::openapi::WriteQuery, crate::openapi::IfMatchHeader),
    request_body = CertUpload,
    responses(
        (status = 200, body = Written<CertDetail>, description = "The certificate, which took the place of one; or a dry run.",
            headers(("ETag" = String, description = "Its entity tag."))),
        (status = 201, body = Written<CertDetail>, description = "The certificate; there was none.",
            headers(("ETag" = String, description = "Its entity tag.")))))]
pub(crate) async fn upload_cert(
    State(app): State<App>,
    Caller(actor): Caller,
    Segment(name): Segment,
    parameters: Parameters,
    if_match: IfMatch,
    Json(body): Json,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.write(&mut errors);
    let name = read_name(&name, "{name}", &mut errors);
    let read = read_upload(body, &mut errors);
    let (name, (chain, key)) = errors.check(name.zip(read))?;
    let conditions = if_match.and(&asked);
    let uploaded = app.control.certs().upload(&actor, &name, &chain, &key, &conditions).await?;
    let Uploaded { view, created } = uploaded;
    let revision = view.revision.clone();
    let mut detail = CertDetail::from(view);
    if asked.dry_run {
        detail.cert.etag = None;
    }
    let body = written(&app.control, &revision, asked, detail).await?;
    let status = if created && !asked.dry_run { StatusCode::CREATED } else { StatusCode::OK };
    answer(status, body.record.cert.etag.as_deref(), &body)
}

/// Deletes a certificate. A host that wants one gets the next.
#[utoipa::path(delete, path = "/api/cert/{name}", tag = "cert", operation_id = "delete_cert",
    params(crate::openapi::CertPath, crate::openapi::WriteQuery, crate::openapi::IfMatchHeader),
    responses((status = 200, body = Written<Deleted>, description = "It is deleted.")))]
pub(crate) async fn delete_cert(
    State(app): State<App>,
    Caller(actor): Caller,
    Segment(name): Segment,
    parameters: Parameters,
    if_match: IfMatch,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.write(&mut errors);
    let name = read_name(&name, "{name}", &mut errors);
    let name = errors.check(name)?;
    let conditions = if_match.and(&asked);
    let revision = app.control.certs().delete(&actor, &name, &conditions).await?;
    let record = Deleted { deleted: name.to_string(), revision: revision.to_string() };
    let body = written(&app.control, &revision, asked, record).await?;
    answer(StatusCode::OK, None, &body)
}

/// A certificate with its private key, to take it elsewhere. For administrators; nothing else answers with a key.
#[utoipa::path(get, path = "/api/cert/{name}/export", tag = "cert", operation_id = "export_cert",
    params(crate::openapi::CertPath),
    responses((status = 200, body = CertExport, description = "The chain and the key.")))]
pub(crate) async fn export_cert(
    State(app): State<App>,
    Caller(actor): Caller,
    Segment(name): Segment,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    parameters.none(&mut errors);
    let name = read_name(&name, "{name}", &mut errors);
    let name = errors.check(name)?;
    let exported = app.control.certs().export(&actor, &name).await?;
    let key = exported.key_pem.expose().clone();
    let export = CertExport { name: name.to_string(), chain: exported.chain_pem, key };
    answer(StatusCode::OK, None, &export)
}

/// Has the certificate of a host, or of a name under a pattern, replaced now instead of when it is due.
///
/// One of the local authority is there with the answer. For one of an authority elsewhere an order is begun: look at
/// `/api/cert/{name}` to see how it goes; `wait=applied` does not wait for it.
#[utoipa::path(post, path = "/api/host/{pattern}/renew", tag = "cert", operation_id = "renew_cert",
    params(crate::openapi::HostPath, crate::openapi::WaitQuery),
    responses(
        (status = 200, body = Written<CertDetail>, description = "The new certificate of the local authority.",
            headers(("ETag" = String, description = "Its entity tag."))),
        (status = 202, body = Written<CertDetail>, description = "A new one is wanted; the certificate as it is by now.",
            headers(("ETag" = String, description = "Its entity tag; absent while there is no certificate."))),
        (status = 409, body = crate::types::Problem, content_type = "application/problem+json",
            description = "None is issued for it: the host has its own or wants none (`refused`).")))]
pub(crate) async fn renew_cert(
    State(app): State<App>,
    Caller(actor): Caller,
    Segment(pattern): Segment,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.wait(&mut errors);
    let pattern = read_name(&pattern, "{pattern}", &mut errors);
    let pattern = errors.check(pattern)?;
    let view = app.control.certs().renew(&actor, &pattern).await?;
    let local = view.cert.as_ref().is_some_and(|it| it.source == CertSource::Local);
    let ordered =
        view.issuance.as_ref().is_some_and(|it| it.forced_at.is_some() || it.started_at.is_some());
    let status = if local && !ordered { StatusCode::OK } else { StatusCode::ACCEPTED };
    let revision = view.revision.clone();
    let body = written(&app.control, &revision, asked, CertDetail::from(view)).await?;
    answer(status, body.record.cert.etag.as_deref(), &body)
}

fn read_name(text: &str, place: &str, errors: &mut Errors) -> Option<HostPattern> {
    text.parse().map_err(|error: model::NameError| errors.add(place, error)).ok()
}

fn read_upload(body: Value, errors: &mut Errors) -> Option<(String, Secret<String>)> {
    let mut object = Object::new(body, errors)?;
    let chain = object.required("chain", short(LONGEST_CHAIN));
    let key = object.required("key", short(LONGEST_KEY));
    object.end(&[]);
    Some((chain?, Secret::new(key?)))
}

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use control::{Import, ImportMode, Secrets};
use futures_util::{StreamExt, TryStreamExt};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use tokio::io::AsyncWriteExt;

use super::{answer, written};
use crate::App;
use crate::error::Failure;
use crate::extract::{Caller, Parameters};
use crate::reader::Errors;
use crate::types::{ImportAnswer, Written};

/// The largest file that is taken in, in bytes.
const LARGEST: u64 = 8 << 30;
/// How long a file may make us wait for its next piece.
const PAUSE: Duration = Duration::from_secs(30);

/// Everything that a fresh installation needs, as JSON lines: hosts, accounts, certificates, the local authority.
///
/// The last line has counts and a checksum; a file without it is not whole.
#[utoipa::path(get, path = "/api/export", tag = "backup", operation_id = "export",
    params(crate::openapi::ExportQuery),
    responses((status = 200, body = String, content_type = "application/x-ndjson",
        description = "The file, as the store is read.")))]
pub(crate) async fn export(
    State(app): State<App>,
    Caller(actor): Caller,
    mut parameters: Parameters,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let secrets = match parameters.text("secrets", &mut errors).as_deref() {
        None | Some("sealed") => Secrets::Sealed,
        Some("none") => Secrets::Left,
        Some(_) => {
            errors.add("?secrets", "must be sealed or none");
            Secrets::Sealed
        }
    };
    parameters.none(&mut errors);
    let secrets = errors.check(Some(secrets))?;
    let lines = app.control.export(&actor, secrets).await?;
    // Once the answer has begun, an error can only cut it off.
    let lines = lines.map_err(|error| {
        tracing::warn!(%error, "an export was cut off");
        io::Error::other(error)
    });
    let kind = HeaderValue::from_static("application/x-ndjson");
    let name = HeaderValue::from_static("attachment; filename=\"gatewright-export.jsonl\"");
    let body = Body::from_stream(lines);
    Ok(([(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, name)], body).into_response())
}

/// Takes an export in. It is checked whole before anything is written; every wrong record is named.
///
/// Doing it again does the rest of one that was cut off.
#[utoipa::path(post, path = "/api/import", tag = "backup", operation_id = "import",
    params(crate::openapi::ImportQuery, crate::openapi::WriteQuery),
    request_body(content = String, content_type = "application/x-ndjson"),
    responses(
        (status = 200, body = Written<ImportAnswer>, description = "What was written."),
        (status = 409, body = crate::types::Problem, content_type = "application/problem+json",
            description = "The account that asks would not remain an administrator.")))]
pub(crate) async fn import(
    State(app): State<App>,
    Caller(actor): Caller,
    mut parameters: Parameters,
    request: Request,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let mode = match parameters.text("mode", &mut errors).as_deref() {
        Some("merge") => Some(ImportMode::Merge),
        Some("replace") => Some(ImportMode::Replace),
        _ => {
            errors.add("?mode", "must be merge or replace");
            None
        }
    };
    let asked = parameters.write(&mut errors);
    let mode = errors.check(mode)?;
    app.control.may_import(&actor)?;
    let file = received(request).await?;
    let import = Import { file, mode, dry_run: asked.dry_run };
    let done = app.control.import(&actor, import).await?;
    let revision = done.revision.clone();
    let body = written(&app.control, &revision, asked, ImportAnswer::from(done)).await?;
    answer(StatusCode::OK, None, &body)
}

/// The body, on disk: it is read twice and may be larger than memory.
async fn received(request: Request) -> Result<std::fs::File, Failure> {
    let unwritable = |error: io::Error| {
        tracing::warn!(%error, "a file that is imported can't be kept in TMPDIR");
        Failure::internal()
    };
    let spool = tokio::task::spawn_blocking(control::spool).await;
    let spool = spool.map_err(|_| Failure::internal())?.map_err(unwritable)?;
    let mut file = tokio::fs::File::from_std(spool);
    let mut pieces = request.into_body().into_data_stream();
    let mut length = 0;
    loop {
        let piece = tokio::time::timeout(PAUSE, pieces.next()).await;
        let Some(piece) = piece.map_err(|_| Failure::body_too_slow())? else { break };
        let piece = piece.map_err(|_| Failure::malformed("the body did not arrive whole"))?;
        length += piece.len() as u64;
        if length > LARGEST {
            return Err(Failure::too_large());
        }
        file.write_all(&piece).await.map_err(unwritable)?;
    }
    file.flush().await.map_err(unwritable)?;
    Ok(file.into_std().await)
}

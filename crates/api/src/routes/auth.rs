use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use model::Secret;

use super::answer;
use crate::App;
use crate::error::Failure;
use crate::extract::{Caller, Json, Parameters, Peer};
use crate::reader::{Errors, Object, text};
use crate::types::{LoginAnswer, LoginRequest};

/// Opens a session of 12 hours.
///
/// At most 5 a minute for an account and 20 a minute from an address, over all replicas, successful ones included.
#[utoipa::path(post, path = "/api/auth/login", tag = "auth", operation_id = "login", security(()),
    request_body = LoginRequest,
    responses((status = 200, body = LoginAnswer, description = "The session.")))]
pub(crate) async fn login(
    State(app): State<App>,
    Peer(peer): Peer,
    parameters: Parameters,
    Json(body): Json,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    parameters.none(&mut errors);
    let read = read_login(body, &mut errors);
    let (username, password) = errors.check(read)?;
    let login = app.control.login(&username, password, peer).await?;
    let body = LoginAnswer {
        token: login.token.expose().to_owned(),
        expires_at: login.expires_at.to_string(),
    };
    answer(StatusCode::OK, None, &body)
}

fn read_login(body: serde_json::Value, errors: &mut Errors) -> Option<(String, Secret<String>)> {
    let mut object = Object::new(body, errors)?;
    let username = object.required("username", text);
    let password = object.required("password", text).map(Secret::new);
    object.end(&[]);
    username.zip(password)
}

/// Ends the session: its token is refused from now on.
#[utoipa::path(post, path = "/api/auth/logout", tag = "auth", operation_id = "logout",
    responses((status = 204, description = "The session has ended.")))]
pub(crate) async fn logout(
    State(app): State<App>,
    Caller(actor): Caller,
) -> Result<StatusCode, Failure> {
    app.control.logout(&actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

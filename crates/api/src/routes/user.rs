use axum::extract::State;
use axum::response::Response;
use control::UserPatch;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use model::{Role, Secret, Username};
use serde_json::Value;

use super::{answer, written};
use crate::App;
use crate::error::Failure;
use crate::extract::{Caller, IfMatch, Json, Parameters, Segment};
use crate::reader::{At, Errors, Object, parsed, text, word};
use crate::types::schema::ROLE;
use crate::types::{
    Deleted, PasswordChange, PasswordChanged, UserChange, UserCreate, UserList, UserView, Written,
};

const READ_ONLY: [&str; 4] = ["created_at", "etag", "revision", "updated_at"];

/// Shows one's own account.
#[utoipa::path(get, path = "/api/user/me", tag = "user", operation_id = "show_me",
    responses((status = 200, body = UserView, description = "The account.",
        headers(("ETag" = String, description = "Its entity tag.")))))]
pub(crate) async fn me(State(app): State<App>, Caller(actor): Caller) -> Result<Response, Failure> {
    let view = UserView::from(app.control.me(&actor).await?);
    answer(StatusCode::OK, view.etag.as_deref(), &view)
}

/// Changes one's own password and ends all other sessions of the account.
#[utoipa::path(put, path = "/api/user/password", tag = "user", operation_id = "change_password",
    params(crate::openapi::WaitQuery, crate::openapi::IfMatchHeader), request_body = PasswordChange,
    responses((status = 200, body = Written<PasswordChanged>, description = "It is changed.",
        headers(("ETag" = String, description = "The account's entity tag.")))))]
pub(crate) async fn change_password(
    State(app): State<App>,
    Caller(actor): Caller,
    parameters: Parameters,
    if_match: IfMatch,
    Json(body): Json,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.wait(&mut errors);
    let read = read_passwords(body, &mut errors);
    let (current, new) = errors.check(read)?;
    let conditions = if_match.alone();
    let now = app.control.change_password(&actor, current, new, &conditions).await?;
    let record = PasswordChanged { revision: now.revision.to_string() };
    let body = written(&app.control, &now.revision, asked, record).await?;
    answer(StatusCode::OK, now.etag.as_ref().map(model::ETag::as_str), &body)
}

/// Lists accounts in the order of their names.
#[utoipa::path(get, path = "/api/user", tag = "user", operation_id = "list_users",
    params(crate::openapi::ListQuery),
    responses((status = 200, body = UserList, description = "Some accounts.")))]
pub(crate) async fn list_users(
    State(app): State<App>,
    Caller(actor): Caller,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.list(&mut errors);
    errors.check(Some(()))?;
    let found = app.control.users().list(&actor, asked.after.as_deref(), asked.limit).await?;
    let results: Vec<_> = found.users.into_iter().map(UserView::from).collect();
    answer(StatusCode::OK, None, &UserList { results, next: found.next })
}

/// Makes an account.
#[utoipa::path(post, path = "/api/user", tag = "user", operation_id = "create_user",
    params(crate::openapi::WriteQuery), request_body = UserCreate,
    responses(
        (status = 201, body = Written<UserView>, description = "The account as made.",
            headers(("ETag" = String, description = "Its entity tag."),
                ("Location" = String, description = "Where it is."))),
        (status = 200, body = Written<UserView>, description = "The account as it would be: a dry run."),
        (status = 409, body = crate::types::Problem, content_type = "application/problem+json",
            description = "There is one with this name.")))]
pub(crate) async fn create_user(
    State(app): State<App>,
    Caller(actor): Caller,
    parameters: Parameters,
    Json(body): Json,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.write(&mut errors);
    let read = read_new(body, &mut errors);
    let (name, role, password) = errors.check(read)?;
    let view = app.control.users().create(&actor, name, role, password, asked.dry_run).await?;
    let revision = view.revision.clone();
    let body = written(&app.control, &revision, asked, UserView::from(view)).await?;
    let etag = body.record.etag.as_deref();
    if asked.dry_run {
        return answer(StatusCode::OK, etag, &body);
    }
    let mut answer = answer(StatusCode::CREATED, etag, &body)?;
    let location = HeaderValue::try_from(format!("/api/user/{}", body.record.username));
    answer.headers_mut().insert(LOCATION, location.map_err(|_| Failure::internal())?);
    Ok(answer)
}

/// Shows an account.
#[utoipa::path(get, path = "/api/user/{name}", tag = "user", operation_id = "show_user",
    params(crate::openapi::UserPath),
    responses((status = 200, body = UserView, description = "The account.",
        headers(("ETag" = String, description = "Its entity tag.")))))]
pub(crate) async fn show_user(
    State(app): State<App>,
    Caller(actor): Caller,
    Segment(name): Segment,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    parameters.none(&mut errors);
    let name = read_name(&name, &mut errors);
    let name = errors.check(name)?;
    let view = UserView::from(app.control.users().get(&actor, &name).await?);
    answer(StatusCode::OK, view.etag.as_deref(), &view)
}

/// Changes an account's role or password (RFC 7396). A new password ends its sessions.
#[utoipa::path(patch, path = "/api/user/{name}", tag = "user", operation_id = "change_user",
    params(crate::openapi::UserPath, crate::openapi::WriteQuery, crate::openapi::IfMatchHeader),
    request_body(content((UserChange = "application/merge-patch+json"), (UserChange = "application/json"))),
    responses(
        (status = 200, body = Written<UserView>, description = "The account as it is now.",
            headers(("ETag" = String, description = "Its entity tag."))),
        (status = 409, body = crate::types::Problem, content_type = "application/problem+json",
            description = "No administrator would be left.")))]
pub(crate) async fn change_user(
    State(app): State<App>,
    Caller(actor): Caller,
    Segment(name): Segment,
    parameters: Parameters,
    if_match: IfMatch,
    Json(body): Json,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.write(&mut errors);
    let name = read_name(&name, &mut errors);
    let patch = read_patch(body, &mut errors);
    let (name, patch) = errors.check(name.zip(patch))?;
    let conditions = if_match.and(&asked);
    let view = app.control.users().patch(&actor, &name, patch, &conditions).await?;
    let revision = view.revision.clone();
    let body = written(&app.control, &revision, asked, UserView::from(view)).await?;
    answer(StatusCode::OK, body.record.etag.as_deref(), &body)
}

/// Deletes an account and ends its sessions.
#[utoipa::path(delete, path = "/api/user/{name}", tag = "user", operation_id = "delete_user",
    params(crate::openapi::UserPath, crate::openapi::WriteQuery, crate::openapi::IfMatchHeader),
    responses(
        (status = 200, body = Written<Deleted>, description = "It is deleted."),
        (status = 409, body = crate::types::Problem, content_type = "application/problem+json",
            description = "No administrator would be left.")))]
pub(crate) async fn delete_user(
    State(app): State<App>,
    Caller(actor): Caller,
    Segment(name): Segment,
    parameters: Parameters,
    if_match: IfMatch,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.write(&mut errors);
    let name = read_name(&name, &mut errors);
    let name = errors.check(name)?;
    let conditions = if_match.and(&asked);
    let revision = app.control.users().delete(&actor, &name, &conditions).await?;
    let record = Deleted { deleted: name.to_string(), revision: revision.to_string() };
    let body = written(&app.control, &revision, asked, record).await?;
    answer(StatusCode::OK, None, &body)
}

fn read_name(text: &str, errors: &mut Errors) -> Option<Username> {
    text.parse().map_err(|error: model::UsernameError| errors.add("{name}", error)).ok()
}

fn secret(at: &mut At<'_>, value: Value) -> Option<Secret<String>> {
    text(at, value).map(Secret::new)
}

fn read_passwords(body: Value, errors: &mut Errors) -> Option<(Secret<String>, Secret<String>)> {
    let mut object = Object::new(body, errors)?;
    let current = object.required("current_password", secret);
    let new = object.required("password", new_password);
    object.end(&[]);
    current.zip(new)
}

fn read_new(body: Value, errors: &mut Errors) -> Option<(Username, Role, Secret<String>)> {
    let mut object = Object::new(body, errors)?;
    let username = object.required("username", parsed);
    let role = object.required("role", word(&ROLE));
    let password = object.required("password", new_password);
    object.end(&READ_ONLY);
    Some((username?, role?, password?))
}

fn read_patch(body: Value, errors: &mut Errors) -> Option<UserPatch> {
    let mut object = Object::new(body, errors)?;
    let patch = UserPatch {
        role: object.optional("role", word(&ROLE)),
        password: object.optional("password", new_password),
    };
    object.end(&READ_ONLY);
    Some(patch)
}

/// A password that can be set: its rules are named together with whatever else is wrong.
fn new_password(at: &mut At<'_>, value: Value) -> Option<Secret<String>> {
    let password = secret(at, value)?;
    match control::check_password(&password) {
        Ok(()) => Some(password),
        Err(rule) => at.wrong(rule),
    }
}

use std::fmt;

use model::Role;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// A name and a password.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// The name of the account.
    pub username: String,
    /// Its password.
    #[schema(format = Password)]
    pub password: String,
}

/// A session.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct LoginAnswer {
    /// To be sent with each request, as `auth-token: …` or `Authorization: Bearer …`. It can't be read again.
    pub token: String,
    /// From when on it is refused (RFC 3339).
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// A new password for one's own account.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The present password.
    #[schema(format = Password)]
    pub current_password: String,
    /// The new one: at least 8 characters, at most 71 bytes of UTF-8, no NUL.
    #[schema(schema_with = schema::new_password)]
    pub password: String,
}

/// The answer to a change of password. All other sessions of the account have ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PasswordChanged {
    /// The revision of the store that has it.
    pub revision: String,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserView {
    /// Its name.
    pub username: String,
    /// What it may do: a viewer reads, a manager also writes hosts, an admin does everything.
    #[schema(schema_with = schema::role)]
    pub role: Role,
    /// The entity tag for `If-Match`, without quotes; absent after a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub etag: Option<String>,
    /// Everything up to this revision of the store is included in this answer.
    pub revision: String,
    /// When it was made (RFC 3339).
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it last changed (RFC 3339).
    #[schema(format = DateTime)]
    pub updated_at: String,
}

impl From<control::UserView> for UserView {
    fn from(control::UserView { user, etag, revision }: control::UserView) -> Self {
        Self {
            username: user.username.to_string(),
            role: user.role,
            etag: etag.map(|tag| tag.as_str().to_owned()),
            revision: revision.to_string(),
            created_at: user.created_at.to_string(),
            updated_at: user.updated_at.to_string(),
        }
    }
}

/// Some accounts, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserList {
    /// The accounts.
    pub results: Vec<UserView>,
    /// What to give as `after` for the next page; null at the end.
    #[schema(required = true)]
    pub next: Option<String>,
}

/// An account to make.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserCreate {
    /// Its name: 1 to 64 of `a-z 0-9 . _ - @`, starting with a letter or a digit.
    #[schema(schema_with = schema::user_name)]
    pub username: String,
    /// What it may do.
    #[schema(schema_with = schema::role)]
    pub role: Role,
    /// Its password: at least 8 characters, at most 71 bytes of UTF-8, no NUL.
    #[schema(schema_with = schema::new_password)]
    pub password: String,
}

/// What to change of an account (RFC 7396); what is absent or null stays.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    /// What it may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::role_or_null)]
    pub role: Option<Role>,
    /// A new password; it ends the account's sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::new_password_or_null)]
    pub password: Option<String>,
}

/// Whose sessions these are is no secret, what opens them is.
impl fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRequest").field("username", &self.username).finish_non_exhaustive()
    }
}

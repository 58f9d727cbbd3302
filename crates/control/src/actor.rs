use auth::Permission;
use model::{Role, Username};

use crate::Error;

/// Who is asking: an account that has proved itself.
#[derive(Clone, Debug)]
pub struct Actor {
    username: Username,
    role: Role,
    /// The stored form of the token it came with.
    session: String,
}

impl Actor {
    pub(crate) fn new(username: Username, role: Role, session: String) -> Self {
        Self { username, role, session }
    }

    /// The name of the account.
    pub fn username(&self) -> &Username {
        &self.username
    }

    /// The role the account has now.
    pub fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn session(&self) -> &str {
        &self.session
    }

    /// # Errors
    /// [`Error::Forbidden`] when the role lacks the permission.
    pub(crate) fn may(&self, permission: Permission) -> Result<(), Error> {
        if auth::allows(self.role, permission) { Ok(()) } else { Err(Error::Forbidden) }
    }
}

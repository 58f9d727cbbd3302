use auth::{Permission, Token};
use model::{ETag, Revision, Role, Secret, User, Username};
use store::{Expect, Record, Versioned};

use crate::error::Subject;
use crate::mirror::for_each;
use crate::{Actor, Conditions, Control, Error};

/// Names that the API uses for something else below its accounts.
const RESERVED: [&str; 2] = ["me", "password"];
/// The lock that keeps changes apart which could each leave an administrator and together none.
pub(crate) const ADMINS_LOCK: &str = "users";

/// Whether the first administrator was made.
#[derive(Debug)]
pub enum Bootstrap {
    /// There were accounts; nothing was done.
    NotNeeded,
    /// The account was made with the password given.
    Created(Username),
    /// The account was made with this password, to be shown once.
    CreatedWith(Username, Secret<String>),
}

/// An account as it stands; its password stays inside.
#[derive(Clone, Debug)]
pub struct UserView {
    /// The account.
    pub user: User,
    /// The tag of its stored form; `None` for one that was only tried out.
    pub etag: Option<ETag>,
    /// Everything up to here is included in this view.
    pub revision: Revision,
}

/// Some accounts, in the order of their names.
#[derive(Clone, Debug)]
pub struct UserPage {
    /// The accounts.
    pub users: Vec<UserView>,
    /// What to ask for the next page with; `None` at the end.
    pub next: Option<String>,
}

/// The part of an account that is to change.
#[derive(Debug, Default)]
pub struct UserPatch {
    /// What it may do.
    pub role: Option<Role>,
    /// A new password.
    pub password: Option<Secret<String>>,
}

impl Control {
    /// Makes the first administrator if there is no account at all. Several replicas may do so at once: one of them
    /// makes it and the others find it.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the password given breaks a rule; [`Error::Unavailable`].
    pub async fn bootstrap(
        &self,
        username: &Username,
        password: Option<Secret<String>>,
    ) -> Result<Bootstrap, Error> {
        if self.any_user().await? {
            return Ok(Bootstrap::NotNeeded);
        }
        let (chosen, random) = match password {
            Some(chosen) => (chosen, None),
            None => {
                let random = random_password()?;
                (random.clone(), Some(random))
            }
        };
        let user = self.new_user(username.clone(), Role::Admin, chosen).await?;
        match self.put_told(&user, Expect::Absent, None).await {
            Err(store::Error::Conflict { .. }) => Ok(Bootstrap::NotNeeded),
            outcome => {
                outcome?;
                let username = username.clone();
                Ok(match random {
                    Some(password) => Bootstrap::CreatedWith(username, password),
                    None => Bootstrap::Created(username),
                })
            }
        }
    }

    /// The use cases about accounts.
    pub fn users(&self) -> Users<'_> {
        Users(self)
    }

    pub(crate) async fn user(&self, name: &Username) -> Result<Option<Versioned<User>>, Error> {
        Ok(self.store().get::<User>(name.as_str()).await?)
    }

    /// Whether there is an account, even one that can't be read.
    async fn any_user(&self) -> Result<bool, Error> {
        let mut cursor = None;
        loop {
            let page = self.store().list::<User>(cursor.as_deref(), 10).await?;
            if !page.records.is_empty() || !page.bad.is_empty() {
                return Ok(true);
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(false),
            }
        }
    }

    async fn all_users(&self) -> Result<Vec<User>, Error> {
        let mut users = Vec::new();
        for_each::<User>(self.store(), |user| users.push(user)).await?;
        users.sort_by(|a, b| a.username.cmp(&b.username));
        users.dedup_by(|a, b| a.username == b.username);
        Ok(users)
    }

    async fn new_user(
        &self,
        username: Username,
        role: Role,
        password: Secret<String>,
    ) -> Result<User, Error> {
        let password_hash = self.passwords().hash(password, "/password").await?;
        let now = self.now();
        Ok(User { username, role, password_hash, created_at: now, updated_at: now })
    }
}

/// The use cases about accounts: [`Control::users`]. All are an administrator's.
#[derive(Clone, Copy)]
pub struct Users<'c>(&'c Control);

impl Users<'_> {
    /// At most `limit` accounts whose names come after `after`, in the order of their names.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn list(
        &self,
        actor: &Actor,
        after: Option<&str>,
        limit: usize,
    ) -> Result<UserPage, Error> {
        actor.may(Permission::WriteUsers)?;
        let all = self.0.all_users().await?;
        let mut rest = all.iter().map(|user| &user.username);
        let mut rest = rest.by_ref().skip_while(|name| after.is_some_and(|a| name.as_str() <= a));
        let mut users = Vec::new();
        for name in rest.by_ref().take(limit) {
            match self.get(actor, name).await {
                Err(Error::NotFound(_)) => {}
                found => users.push(found?),
            }
        }
        let last = users.last().map(|view| view.user.username.to_string());
        Ok(UserPage { users, next: rest.next().and(last) })
    }

    /// One account.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn get(&self, actor: &Actor, name: &Username) -> Result<UserView, Error> {
        actor.may(Permission::WriteUsers)?;
        self.0.view_user(name).await
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Invalid`], [`Error::Forbidden`], [`Error::Busy`], [`Error::Unavailable`].
    pub async fn create(
        &self,
        actor: &Actor,
        username: Username,
        role: Role,
        password: Secret<String>,
        dry_run: bool,
    ) -> Result<UserView, Error> {
        actor.may(Permission::WriteUsers)?;
        if RESERVED.contains(&username.as_str()) {
            return Err(Error::invalid("/username", "this name is reserved"));
        }
        let user = self.0.new_user(username, role, password).await?;
        let exists = || Error::Exists(Subject::user(&user.username));
        if self.0.user(&user.username).await?.is_some() {
            return Err(exists());
        }
        if dry_run {
            return self.tried(user).await;
        }
        match self.0.put_told(&user, Expect::Absent, Some(actor.username())).await {
            Err(store::Error::Conflict { .. }) => Err(exists()),
            outcome => Ok(view(user, outcome?)),
        }
    }

    /// Changes an account's role or password. A new password ends all its sessions.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Stale`], [`Error::Invalid`], [`Error::Refused`] when no administrator would be
    /// left, [`Error::Forbidden`], [`Error::Busy`], [`Error::Unavailable`].
    pub async fn patch(
        &self,
        actor: &Actor,
        name: &Username,
        patch: UserPatch,
        conditions: &Conditions,
    ) -> Result<UserView, Error> {
        actor.may(Permission::WriteUsers)?;
        self.with_admins_locked(async {
            let Versioned { value: mut user, etag } = self.expected(name, conditions).await?;
            if let Some(role) = patch.role {
                user.role = role;
                if role != Role::Admin {
                    self.keeps_an_admin_without(name).await?;
                }
            }
            let new_password = patch.password.is_some();
            if let Some(password) = patch.password {
                user.password_hash = self.0.passwords().hash(password, "/password").await?;
            }
            user.updated_at = self.0.now();
            if conditions.dry_run {
                return self.tried(user).await;
            }
            let by = Some(actor.username());
            let written = self.0.put_told(&user, Expect::ETag(etag), by).await;
            let written = written.map_err(|error| lost_race(error, name))?;
            if new_password {
                self.0.end_sessions(name, None).await?;
            }
            Ok(view(user, written))
        })
        .await
    }

    /// Deletes an account and ends its sessions; returns the revision without it.
    ///
    /// # Errors
    /// As [`Users::patch`].
    pub async fn delete(
        &self,
        actor: &Actor,
        name: &Username,
        conditions: &Conditions,
    ) -> Result<Revision, Error> {
        actor.may(Permission::WriteUsers)?;
        self.with_admins_locked(async {
            let found = self.expected(name, conditions).await?;
            self.keeps_an_admin_without(name).await?;
            if conditions.dry_run {
                return self.0.refresh().await;
            }
            let key = found.value.key();
            let fields = self.0.store().backend().get(&key).await?;
            let fields = fields.filter(|fields| store::etag(fields) == found.etag);
            let fields = fields.ok_or_else(|| Error::Stale(Subject::user(name)))?;
            let gone = self.0.delete_told(key, fields, actor.username()).await;
            let revision = gone.map_err(|error| lost_race(error, name))?;
            self.0.end_sessions(name, None).await?;
            Ok(revision)
        })
        .await
    }

    async fn expected(
        &self,
        name: &Username,
        conditions: &Conditions,
    ) -> Result<Versioned<User>, Error> {
        let found = self.0.user(name).await?;
        let found = found.ok_or_else(|| Error::NotFound(Subject::user(name)))?;
        if conditions.hold(&found.etag) {
            Ok(found)
        } else {
            Err(Error::Stale(Subject::user(name)))
        }
    }

    pub(crate) async fn keeps_an_admin_without(&self, name: &Username) -> Result<(), Error> {
        let users = self.0.all_users().await?;
        if users.iter().any(|user| user.role == Role::Admin && user.username != *name) {
            Ok(())
        } else {
            Err(Error::Refused("the last administrator can't be removed"))
        }
    }

    async fn with_admins_locked<T>(
        &self,
        change: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.0.with_lock(ADMINS_LOCK, change).await
    }

    async fn tried(&self, user: User) -> Result<UserView, Error> {
        Ok(UserView { user, etag: None, revision: self.0.refresh().await? })
    }
}

impl Control {
    /// The actor's own account.
    ///
    /// # Errors
    /// [`Error::Unauthorised`] when it is gone; [`Error::Unavailable`].
    pub async fn me(&self, actor: &Actor) -> Result<UserView, Error> {
        match self.view_user(actor.username()).await {
            Err(Error::NotFound(_)) => Err(Error::Unauthorised),
            outcome => outcome,
        }
    }

    async fn view_user(&self, name: &Username) -> Result<UserView, Error> {
        let revision = self.refresh().await?;
        let found = self.user(name).await?.ok_or_else(|| Error::NotFound(Subject::user(name)))?;
        Ok(UserView { user: found.value, etag: Some(found.etag), revision })
    }
}

fn view(user: User, written: store::Written) -> UserView {
    UserView { user, etag: Some(written.etag), revision: written.revision }
}

fn lost_race(error: store::Error, name: &Username) -> Error {
    match error {
        store::Error::Conflict { .. } => Error::Stale(Subject::user(name)),
        other => other.into(),
    }
}

/// 143 bits, easy to copy.
fn random_password() -> Result<Secret<String>, Error> {
    let token = Token::generate().map_err(|error| Error::Internal(error.into()))?;
    let letters = token.expose().chars().filter(char::is_ascii_alphanumeric).skip(2).take(24);
    Ok(Secret::new(letters.collect()))
}

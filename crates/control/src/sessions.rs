use std::net::IpAddr;
use std::time::Duration;

use auth::Token;
use model::{Secret, SessionToken, Timestamp, User, Username};
use store::{Expect, Versioned};

use crate::error::Subject;
use crate::mirror::for_each;
use crate::{Actor, Conditions, Control, Error, UserView};

/// How long a login lasts.
const SESSION: Duration = Duration::from_secs(12 * 3600);

/// A fresh login.
#[derive(Debug)]
pub struct Login {
    /// The token to hand to its owner; it is kept nowhere.
    pub token: Token,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

impl Control {
    /// Checks a name and a password and opens a session of 12 hours.
    ///
    /// Attempts count against the account (5 a minute) and the address (20 a minute), over all replicas, successful
    /// ones too. A wrong name takes as long as a wrong password.
    ///
    /// # Errors
    /// [`Error::Unauthorised`], [`Error::RateLimited`], [`Error::Busy`], [`Error::Unavailable`].
    pub async fn login(
        &self,
        username: &str,
        password: Secret<String>,
        from: IpAddr,
    ) -> Result<Login, Error> {
        let backend = &**self.store().backend();
        self.limits().address(backend, from).await?;
        // A text that can't be a name is no account; it still costs the work of a wrong password.
        let username: Option<Username> = username.parse().ok();
        if let Some(name) = &username {
            self.limits().account(backend, name).await?;
        }
        let user = match &username {
            Some(name) => known(self.user(name).await)?,
            None => None,
        };
        let hash = user.as_ref().map(|user| user.value.password_hash.clone());
        let right = self.passwords().verify(password, hash).await?;
        let Some(user) = user.filter(|_| right) else {
            // The name may be a mistyped password: it stays out of the log.
            tracing::info!(%from, "a login was refused");
            return Err(Error::Unauthorised);
        };
        tracing::info!(user = %user.value.username, %from, "somebody logged in");
        self.open_session(&user.value).await
    }

    /// Ends the actor's session: its token is refused from now on.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn logout(&self, actor: &Actor) -> Result<(), Error> {
        self.store().delete::<SessionToken>(actor.session(), Expect::Any).await?;
        Ok(())
    }

    /// Whose token this is. The role is the one the account has now.
    ///
    /// # Errors
    /// [`Error::Unauthorised`] for anything but a live token of an existing account; [`Error::Unavailable`].
    pub async fn authenticate(&self, token: &str) -> Result<Actor, Error> {
        let hash = Token::hash_of(token).ok_or(Error::Unauthorised)?;
        let session = self.store().get::<SessionToken>(&hash).await.map_err(Error::from);
        let session = known(session)?.ok_or(Error::Unauthorised)?.value;
        if session.expires_at <= self.now() {
            return Err(Error::Unauthorised);
        }
        let user = known(self.user(&session.username).await)?.ok_or(Error::Unauthorised)?.value;
        Ok(Actor::new(user.username, user.role, session.hash))
    }

    /// Changes the actor's own password and ends all its other sessions; returns the account as it is now.
    ///
    /// # Errors
    /// [`Error::Stale`] when the account is not what `conditions` expect;
    /// [`Error::Invalid`] when the present password is wrong (at `/current_password`) or the new one breaks a rule
    /// (at `/password`); [`Error::RateLimited`] as for a login; [`Error::Busy`]; [`Error::Unavailable`].
    pub async fn change_password(
        &self,
        actor: &Actor,
        current: Secret<String>,
        new: Secret<String>,
        conditions: &Conditions,
    ) -> Result<UserView, Error> {
        auth::check_password(&new).map_err(|rule| Error::invalid("/password", rule.to_string()))?;
        self.limits().account(&**self.store().backend(), actor.username()).await?;
        let Versioned { value: mut user, etag } =
            self.user(actor.username()).await?.ok_or(Error::Unauthorised)?;
        if !conditions.hold(&etag) {
            return Err(Error::Stale(Subject::user(&user.username)));
        }
        if !self.passwords().verify(current, Some(user.password_hash.clone())).await? {
            return Err(Error::invalid("/current_password", "is not the present password"));
        }
        user.password_hash = self.passwords().hash(new, "/password").await?;
        user.updated_at = self.now();
        let by = Some(actor.username());
        let written = match self.put_told(&user, Expect::ETag(etag), by).await {
            // Somebody changed the account meanwhile: the password that was checked may no longer be its own.
            Err(store::Error::Conflict { .. }) => return Err(Error::Unauthorised),
            outcome => outcome?,
        };
        self.end_sessions(&user.username, Some(actor.session())).await?;
        Ok(UserView { user, etag: Some(written.etag), revision: written.revision })
    }

    /// Ends every session of an account, but for one.
    pub(crate) async fn end_sessions(
        &self,
        username: &Username,
        except: Option<&str>,
    ) -> Result<(), Error> {
        let mut theirs = Vec::new();
        for_each::<SessionToken>(self.store(), |session| {
            if session.username == *username && Some(session.hash.as_str()) != except {
                theirs.push(session.hash);
            }
        })
        .await?;
        for hash in theirs {
            self.store().delete::<SessionToken>(&hash, Expect::Any).await?;
        }
        Ok(())
    }

    async fn open_session(&self, user: &User) -> Result<Login, Error> {
        let token = Token::generate().map_err(|error| Error::Internal(error.into()))?;
        let now = self.now();
        let session = SessionToken {
            hash: token.hash(),
            username: user.username.clone(),
            created_at: now,
            expires_at: now.plus(SESSION),
        };
        self.store().put(&session, Expect::Absent).await?;
        // A change of password ends the sessions that it sees. One that it could not see yet ends itself here.
        let now = self.user(&user.username).await?;
        if now.is_none_or(|now| now.value.password_hash != user.password_hash) {
            self.store().delete::<SessionToken>(&session.hash, Expect::Any).await?;
            return Err(Error::Unauthorised);
        }
        Ok(Login { token, expires_at: session.expires_at })
    }
}

/// Whoever is kept in a form that can't be read is nobody.
fn known<T>(found: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
    match found {
        Err(Error::Unreadable(subject, cause)) => {
            tracing::warn!(%subject, %cause, "a stored record can't be read");
            Ok(None)
        }
        other => other,
    }
}

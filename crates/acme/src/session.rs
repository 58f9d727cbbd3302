use std::sync::Arc;

use certs::{Failure, Journal, Stage, codes};
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use model::Secret;
use serde::Deserialize;

use crate::attempt::with_nonce;
use crate::client::Client;
use crate::failure::At;
use crate::issuer::Prepared;

/// An account at an authority, ready to work.
pub(crate) struct Session {
    pub(crate) account: Account,
    pub(crate) client: Client,
    /// The account as the journal has it.
    pub(crate) kept: Secret<String>,
}

/// What is needed of a directory (RFC 8555 §7.1.1) beyond what the library gives.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Directory {
    pub(crate) renewal_info: Option<String>,
}

impl Session {
    /// Opens the account that the journal keeps for the authority, or makes one.
    pub(crate) async fn open(
        authority: &Prepared,
        name: &str,
        journal: &dyn Journal,
    ) -> Result<Self, Failure> {
        let at = At { stage: Stage::Account, directory: authority.directory(), name };
        journal.reached(Stage::Account);
        let kept = journal.account(at.directory).await.map_err(|error| at.journal(error))?;
        match kept {
            Some(kept) => Self::restore(authority, kept, at).await,
            None => Self::register(authority, journal, at).await,
        }
    }

    /// Forgets an account that the authority does not know any longer, and opens another.
    pub(crate) async fn reopen(
        self,
        authority: &Prepared,
        name: &str,
        journal: &dyn Journal,
    ) -> Result<Self, Failure> {
        let at = At { stage: Stage::Account, directory: authority.directory(), name };
        tracing::warn!(directory = at.directory, "the authority has forgotten our account");
        let forgotten = journal.forget_account(at.directory, &self.kept).await;
        forgotten.map_err(|error| at.journal(error))?;
        Self::open(authority, name, journal).await
    }

    /// The authority's directory.
    pub(crate) fn directory(&self) -> Directory {
        let index = self.client.index();
        index.and_then(|index| serde_json::from_slice(&index).ok()).unwrap_or_default()
    }

    async fn restore(
        authority: &Prepared,
        kept: Secret<String>,
        at: At<'_>,
    ) -> Result<Self, Failure> {
        // The text of this error may quote what it could not read.
        let credentials: AccountCredentials =
            serde_json::from_str(kept.expose()).map_err(|_| {
                let detail =
                    format!("{}: the account that is kept for it can't be read", at.directory);
                at.failure(codes::STORE, detail)
            })?;
        let client = authority.client();
        let restored = Account::builder_with_http(Box::new(client.clone()));
        let restored = restored.from_credentials(credentials).await;
        let account = restored.map_err(|error| at.acme(error, client.last()))?;
        Ok(Self { account, client, kept })
    }

    async fn register(
        authority: &Prepared,
        journal: &dyn Journal,
        at: At<'_>,
    ) -> Result<Self, Failure> {
        let client = authority.client();
        let contact = authority.settings.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<_> = contact.iter().map(String::as_str).collect();
        let binding = authority
            .eab
            .as_ref()
            .map(|(kid, key)| ExternalAccountKey::new(kid.clone(), key.expose()));
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let made = with_nonce!({
            let builder = Account::builder_with_http(Box::new(client.clone()));
            builder.create(&new, at.directory.to_owned(), binding.as_ref()).await
        });
        let (account, credentials) = made.map_err(|error| at.acme(error, client.last()))?;
        tracing::info!(directory = at.directory, account = account.id(), "made an account");
        let made = serde_json::to_string(&credentials).map(Secret::new).map_err(|error| {
            let failure = at.failure(codes::STORE, "the account can't be written down".to_owned());
            Failure { source: Some(error.into()), ..failure }
        })?;
        let kept = journal.keep_account(at.directory, made.clone()).await;
        let kept = kept.map_err(|error| at.journal(error))?;
        if kept == made {
            return Ok(Self { account, client, kept });
        }
        // Another replica was first. Ours stays without a certificate, and without use.
        Self::restore(authority, kept, at).await
    }
}

/// The key of an external account binding, decoded.
pub(crate) type Binding = (String, Secret<Arc<[u8]>>);

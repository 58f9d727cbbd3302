//! One order, from the authority's first word of it to the certificate, or to its end; and nothing left in the world after it.

use certs::{Failure, Journal, OrderState, Request, Stage, codes};
use instant_acme::{CertificateIdentifier, Identifier, NewOrder, Order, OrderStatus};
use model::{CertRecord, Secret, Timestamp};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::clear::{Obstacle, clear};
use crate::failure::{At, RATE_LIMITED, code, is_bad_nonce};
use crate::issuer::{AcmeIssuer, Prepared};
use crate::session::Session;
use crate::{ChallengeKind, key};

/// How often something is asked again whose nonce was refused; the library asks three times each. Nothing has happened then, so
/// that it is as if it were asked the first time.
pub(crate) const NONCE_TRIES: u32 = 5;

/// Asks again while nonces are refused. A macro, since what is asked borrows an order that changes by being asked.
macro_rules! with_nonce {
    ($ask:expr) => {{
        let mut tries = $crate::attempt::NONCE_TRIES;
        loop {
            match $ask {
                Err(error) if tries > 1 && $crate::failure::is_bad_nonce(&error) => tries -= 1,
                other => break other,
            }
        }
    }};
}
pub(crate) use with_nonce;

/// What is wanted, of whom, and what is known of it.
pub(crate) struct Attempt<'a> {
    pub(crate) issuer: &'a AcmeIssuer,
    pub(crate) authority: &'a Prepared,
    pub(crate) session: &'a Session,
    pub(crate) request: &'a Request,
    /// What the certificate covers.
    pub(crate) names: &'a [String],
    pub(crate) journal: &'a dyn Journal,
    /// The kinds of proof that may be tried, the best first.
    pub(crate) kinds: &'a [ChallengeKind],
    /// As the journal has it, or is about to have it.
    pub(crate) order: OrderState,
    pub(crate) stage: Stage,
    /// The kind that was tried.
    pub(crate) tried: Option<ChallengeKind>,
}

/// How an attempt ended badly.
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    /// What the journal still has.
    pub(crate) left: Option<OrderState>,
    /// The kind of proof that was tried.
    pub(crate) tried: Option<ChallengeKind>,
}

impl Attempt<'_> {
    /// Goes on with the order that the journal had, or makes one.
    pub(crate) async fn run(mut self) -> Result<CertRecord, Failed> {
        let outcome = self.certificate().await;
        let cleared = clear(&*self.issuer.dns, self.journal, &mut self.order).await;
        match outcome {
            Ok(record) => match self.close().await {
                Err(failure) if failure.code == codes::LOST => Err(self.failed(failure)),
                Err(failure) => {
                    tracing::warn!(%failure, "the certificate is there, its order can't be forgotten yet");
                    Ok(record)
                }
                Ok(()) => Ok(record),
            },
            Err(failure) if failure.code == codes::LOST => Err(self.failed(failure)),
            Err(failure) => {
                if let Err(Obstacle::Journal(certs::JournalError::Lost)) = cleared {
                    return Err(self.failed(failure));
                }
                let goes_on = may_go_on(&failure) && !self.order.url.is_empty();
                let ended = if goes_on { self.keep().await } else { self.close().await };
                if let Err(error) = ended {
                    tracing::debug!(%error, "the journal could not be brought up to date");
                }
                Err(self.failed(failure))
            }
        }
    }

    fn failed(self, failure: Failure) -> Failed {
        let left = Some(self.order).filter(|order| !is_nothing(order));
        Failed { failure, left, tried: self.tried }
    }

    async fn certificate(&mut self) -> Result<CertRecord, Failure> {
        if let Some(mut order) = self.resume().await? {
            let record = self.finish(&mut order).await?;
            if !self.is_old(&record) {
                return Ok(record);
            }
            // A certificate that was fetched before, its order not forgotten then.
            self.let_go().await?;
        }
        let mut order = self.new_order().await?;
        self.finish(&mut order).await
    }

    /// The order that the journal knows, if the authority still knows it and it can lead somewhere.
    async fn resume(&mut self) -> Result<Option<Order>, Failure> {
        let kept = &self.order;
        let ours = !kept.url.is_empty()
            && kept.directory == self.authority.directory()
            && key::is(&kept.key_pem, self.request.key_kind);
        if ours {
            self.reach(Stage::Order);
            let url = &self.order.url;
            match with_nonce!(self.session.account.order(url.clone()).await) {
                Ok(mut order) => {
                    let status = order.state().status;
                    if self.leads_on(status) {
                        tracing::info!(url, ?status, "going on with an order");
                        return Ok(Some(order));
                    }
                }
                Err(error) if self.is_unknown(&error) => {
                    tracing::debug!(url, %error, "the authority does not know the order");
                }
                Err(error) => return Err(self.acme(error)),
            }
        }
        self.let_go().await?;
        Ok(None)
    }

    /// A pending order whose TXT values were put up by somebody else may be somebody's still: a holder that lost its lease and
    /// does not know removes them as it wakes up. Values of another order are out of its reach.
    fn leads_on(&self, status: OrderStatus) -> bool {
        match status {
            OrderStatus::Pending => self.order.txt.is_empty(),
            OrderStatus::Ready | OrderStatus::Processing | OrderStatus::Valid => true,
            OrderStatus::Invalid => false,
        }
    }

    /// Whether the authority refuses to talk about an order: it has none of this URL, or not for this account.
    fn is_unknown(&self, error: &instant_acme::Error) -> bool {
        let code = code(error);
        let status = self.session.client.last().map(|seen| seen.status);
        matches!(error, instant_acme::Error::Api(_))
            && status.is_some_and(|status| status.is_client_error())
            && !is_bad_nonce(error)
            && ![RATE_LIMITED, ACCOUNT_UNKNOWN].contains(&code)
    }

    /// Clears away what an order left that is not gone on with; what can't be removed now is taken along.
    async fn let_go(&mut self) -> Result<(), Failure> {
        let cleared = clear(&*self.issuer.dns, self.journal, &mut self.order).await;
        if let Err(Obstacle::Journal(error)) = cleared {
            return Err(self.at().journal(error));
        }
        self.order.url.clear();
        self.order.key_pem = Secret::default();
        Ok(())
    }

    async fn new_order(&mut self) -> Result<Order, Failure> {
        self.reach(Stage::Order);
        let profile = self.profile()?;
        let kind = self.request.key_kind;
        let key = tokio::task::spawn_blocking(move || key::generate(kind)).await;
        let key_pem = match key {
            Ok(Ok(key)) => key,
            Ok(Err(error)) => return Err(self.unable("no key can be made", error.into())),
            Err(error) => return Err(self.unable("no key can be made", error.into())),
        };
        let replaces = self.replaces();
        let admitted = self.journal.admit_order(self.authority.directory()).await;
        admitted.map_err(|error| self.at().journal(error))?;
        let order = match self.ask(profile, replaces.clone()).await {
            // Of another authority, of another account, or replaced already: then it is an order like any other.
            Err(error) if replaces.is_some() && self.is_about_replacing(&error) => {
                tracing::info!(%error, "the authority does not take the old certificate as replaced");
                self.ask(profile, None).await
            }
            other => other,
        };
        let order = order.map_err(|error| self.acme(error))?;
        tracing::info!(url = order.url(), "made an order");
        self.order = OrderState {
            directory: self.authority.directory().to_owned(),
            url: order.url().to_owned(),
            key_pem,
            txt: std::mem::take(&mut self.order.txt),
            challenges: std::mem::take(&mut self.order.challenges),
        };
        self.keep().await?;
        Ok(order)
    }

    async fn ask(
        &self,
        profile: Option<&str>,
        replaces: Option<CertificateIdentifier<'_>>,
    ) -> Result<Order, instant_acme::Error> {
        let identifiers: Vec<_> = self.names.iter().cloned().map(Identifier::Dns).collect();
        let mut new = NewOrder::new(&identifiers);
        if let Some(profile) = profile {
            new = new.profile(profile);
        }
        if let Some(replaces) = replaces {
            new = new.replaces(replaces);
        }
        with_nonce!(self.session.account.new_order(&new).await)
    }

    /// The profile to ask for, if the authority offers it.
    fn profile(&self) -> Result<Option<&str>, Failure> {
        let Some(wanted) = self.authority.settings.profile.as_deref() else { return Ok(None) };
        let mut offered: Vec<_> = self.session.account.profiles().map(|it| it.name).collect();
        if offered.contains(&wanted) {
            return Ok(Some(wanted));
        }
        offered.sort_unstable();
        let offered = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
        let detail = format!(
            "{} offers no profile \"{wanted}\"; it offers {offered}",
            self.authority.directory()
        );
        Err(self.at().failure(codes::CONFIGURATION, detail))
    }

    /// What the authority calls the certificate that is to be replaced (RFC 9773 §4.1), if it wants to know.
    fn replaces(&self) -> Option<CertificateIdentifier<'static>> {
        self.session.directory().renewal_info?;
        let chain = self.request.replaces.as_deref()?;
        let leaf = CertificateDer::from_pem_slice(chain.as_bytes()).ok()?;
        CertificateIdentifier::try_from(&leaf).ok().map(CertificateIdentifier::into_owned)
    }

    fn is_about_replacing(&self, error: &instant_acme::Error) -> bool {
        match error {
            instant_acme::Error::Api(_) => {
                let code = code(error);
                ["alreadyReplaced", "malformed", "conflict"].contains(&code)
            }
            // It took the order and does not say what it replaces: the library does not hand such an order out.
            instant_acme::Error::Other(_) => {
                self.session.client.last().is_some_and(|seen| seen.status.is_success())
            }
            _ => false,
        }
    }

    /// Brings an order to its certificate.
    async fn finish(&mut self, order: &mut Order) -> Result<CertRecord, Failure> {
        if order.state().status == OrderStatus::Pending {
            self.prove(order).await?;
        }
        self.reach(Stage::Finalize);
        if order.state().status == OrderStatus::Ready {
            let csr = key::request(&self.order.key_pem, self.names)
                .map_err(|error| self.unable("no certificate request can be made", error.into()))?;
            match with_nonce!(order.finalize_csr(&csr).await) {
                // It has it already: a request whose answer got lost was sent twice. The waiting tells.
                Err(error) if code(&error) == "orderNotReady" => {}
                handed_in => handed_in.map_err(|error| self.acme(error))?,
            }
        }
        let patience = self.issuer.settings.timeouts.issuance;
        if self.poll(order, patience, &[OrderStatus::Ready, OrderStatus::Processing]).await?
            != OrderStatus::Valid
        {
            return Err(self.verdict(order).await);
        }
        self.reach(Stage::Download);
        let chain = with_nonce!(order.certificate().await).map_err(|error| self.acme(error))?;
        let key = self.order.key_pem.clone();
        let now = Timestamp::from(self.issuer.clock.now());
        let read = chain.ok_or_else(|| "there is none".into());
        read.and_then(|chain| key::record(&self.request.name, self.names, chain, key, now)).map_err(
            |source| {
                let detail = format!(
                    "{}: what came is no certificate for {}: {source}",
                    self.authority.directory(),
                    self.request.name
                );
                let failure = self.at().failure(codes::BAD_CERTIFICATE, detail);
                Failure { source: Some(source), ..failure }
            },
        )
    }

    /// Whether a certificate is not what a new order would bring: the one to be replaced, or one with half its life behind it.
    fn is_old(&self, record: &CertRecord) -> bool {
        let leaf = |chain: &str| CertificateDer::from_pem_slice(chain.as_bytes()).ok();
        let replaces = self.request.replaces.as_deref().and_then(leaf);
        let life = record.not_after.since(record.not_before);
        let lived = Timestamp::from(self.issuer.clock.now()).since(record.not_before);
        (replaces.is_some() && replaces == leaf(&record.chain_pem)) || lived > life / 2
    }

    pub(crate) async fn keep(&self) -> Result<(), Failure> {
        self.journal.keep_order(&self.order).await.map_err(|error| self.at().journal(error))
    }

    /// The order is over. What is still in the world is kept in mind.
    async fn close(&mut self) -> Result<(), Failure> {
        self.order.url.clear();
        self.order.key_pem = Secret::default();
        if is_nothing(&self.order) {
            self.journal.forget_order().await.map_err(|error| self.at().journal(error))
        } else {
            self.keep().await
        }
    }

    pub(crate) fn reach(&mut self, stage: Stage) {
        self.stage = stage;
        tracing::debug!(%stage, "order");
        self.journal.reached(stage);
    }

    pub(crate) fn at(&self) -> At<'_> {
        At {
            stage: self.stage,
            directory: self.authority.directory(),
            name: self.request.name.as_str(),
        }
    }

    pub(crate) fn acme(&self, error: instant_acme::Error) -> Failure {
        self.at().acme(error, self.session.client.last())
    }

    fn unable(&self, what: &str, source: Box<dyn std::error::Error + Send + Sync>) -> Failure {
        let detail = format!("{}: {what}", self.request.name);
        Failure { source: Some(source), ..self.at().failure(codes::CONFIGURATION, detail) }
    }
}

/// The account is not known; the authority's own word (RFC 8555 §6.7).
pub(crate) const ACCOUNT_UNKNOWN: &str = "accountDoesNotExist";

/// Whether nothing of an order is there or left over.
pub(crate) fn is_nothing(order: &OrderState) -> bool {
    order.url.is_empty() && order.txt.is_empty() && order.challenges.is_empty()
}

/// Whether the order may still come to a good end later, so that it is to be gone on with.
fn may_go_on(failure: &Failure) -> bool {
    match failure.code.as_str() {
        // A proof that is not looked at in time may never be: another order may fare better.
        codes::TIMEOUT => failure.stage != Stage::Validation,
        codes::UNREACHABLE
        | codes::STORE
        | codes::NOT_SERVED
        | codes::PROVIDER
        | codes::PROPAGATION
        | RATE_LIMITED
        | "badNonce"
        | "serverInternal" => true,
        _ => false,
    }
}

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use certs::{
    BoxFuture, Failure, Issuer, Journal, OrderState, RenewalWindow, Request, Stage, codes,
};
use dns::{Directory, Propagation, Resolver};
use model::{CertRecord, Secret};
use runtime::Clock;
use rustls::ClientConfig;
use tracing::Instrument;

use crate::attempt::{ACCOUNT_UNKNOWN, Attempt, Failed, is_nothing};
use crate::clear::{Obstacle, clear};
use crate::client::Client;
use crate::failure::{At, falls_over, is_of_the_proof};
use crate::holdoff::HoldOffs;
use crate::session::{Binding, Session};
use crate::settings::Eab;
use crate::{AcmeSettings, Authority, ChallengeKind, Error, ari};

/// Gets certificates from authorities that speak ACME.
///
/// It remembers nothing that matters: what must outlive it is in the [`Journal`]. One serves all names at once.
pub struct AcmeIssuer {
    pub(crate) settings: AcmeSettings,
    pub(crate) authorities: Vec<Prepared>,
    pub(crate) dns: Arc<dyn Directory>,
    pub(crate) resolver: Resolver,
    pub(crate) propagation: Propagation,
    pub(crate) clock: Clock,
    hold_offs: HoldOffs,
}

/// An authority with what was made of its settings.
pub(crate) struct Prepared {
    pub(crate) settings: Authority,
    pub(crate) eab: Option<Binding>,
    tls: Arc<ClientConfig>,
    patience: std::time::Duration,
    clock: Clock,
}

impl Prepared {
    pub(crate) fn directory(&self) -> &str {
        &self.settings.directory
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.directory(), self.tls.clone(), self.patience, self.clock.clone())
    }
}

impl AcmeIssuer {
    /// An issuer by these settings, which finds DNS providers in `dns`. Reads the files that the settings name.
    ///
    /// Whoever names an authority agrees to its terms of service.
    ///
    /// # Errors
    /// [`Error::Settings`] for the first setting that can't be used.
    pub fn new(
        settings: AcmeSettings,
        dns: Arc<dyn Directory>,
        clock: Clock,
    ) -> Result<Self, Error> {
        let prepared = settings.authorities.iter().map(|one| prepare(one, &settings, &clock));
        let authorities = prepared.collect::<Result<Vec<_>, _>>()?;
        let resolver = Resolver::of(&settings.resolvers).map_err(|error| Error::Settings {
            directory: "every authority".to_owned(),
            setting: "DNS resolvers",
            reason: "not usable".to_owned(),
            source: Some(error.into()),
        })?;
        let propagation = Propagation::new(resolver.clone());
        let hold_offs = HoldOffs::new(clock.clone());
        Ok(Self { settings, authorities, dns, resolver, propagation, clock, hold_offs })
    }

    async fn issue(&self, request: &Request, journal: &dyn Journal) -> Result<CertRecord, Failure> {
        let at = At { stage: Stage::Order, directory: "", name: request.name.as_str() };
        let names =
            names(request).ok_or_else(|| at.failure(codes::CONFIGURATION, uncoverable(request)))?;
        let mut left = journal.order().await.map_err(|error| at.journal(error))?;
        let mut last: Option<Failure> = None;
        for authority in self.in_order(left.as_ref()) {
            let directory = authority.directory();
            let earlier = last.take().map(|failure| {
                journal.tried(&failure);
                failure.retry_after
            });
            let outcome = match self.hold_offs.of(directory, &request.name) {
                Some(failure) => Err(failure),
                None => {
                    let span = tracing::info_span!("issue", name = %request.name, directory);
                    self.at(authority, request, &names, journal, &mut left).instrument(span).await
                }
            };
            let mut failure = match outcome {
                Ok(record) => return Ok(record),
                Err(failure) => failure,
            };
            tracing::warn!(
                name = %request.name, directory, stage = %failure.stage, code = failure.code, %failure,
                "no certificate from this authority"
            );
            self.hold_offs.note(directory, &request.name, &failure);
            // None of all is to be asked too early.
            failure.retry_after = failure.retry_after.max(earlier.flatten());
            if !falls_over(&failure) {
                return Err(failure);
            }
            last = Some(failure);
        }
        Err(last.unwrap_or_else(|| {
            at.failure(codes::CONFIGURATION, "no certificate authority is configured".to_owned())
        }))
    }

    /// The authorities as they are to be asked: the one with an order under way, then the others as they are listed.
    fn in_order(&self, left: Option<&OrderState>) -> Vec<&Prepared> {
        let under_way = |one: &&Prepared| {
            left.is_some_and(|left| !left.url.is_empty() && left.directory == one.directory())
        };
        let (mut first, rest): (Vec<_>, Vec<_>) = self.authorities.iter().partition(under_way);
        first.extend(rest);
        first
    }

    /// Gets a certificate from one authority: by one order, or by as many as there are ways to prove the name.
    async fn at(
        &self,
        authority: &Prepared,
        request: &Request,
        names: &[String],
        journal: &dyn Journal,
        left: &mut Option<OrderState>,
    ) -> Result<CertRecord, Failure> {
        let name = request.name.as_str();
        let mut kinds = self.kinds(authority, request).await?;
        let mut session = Session::open(authority, name, journal).await?;
        let mut may_reopen = true;
        let mut earlier: Option<Failure> = None;
        loop {
            let attempt = Attempt {
                issuer: self,
                authority,
                session: &session,
                request,
                names,
                journal,
                kinds: &kinds,
                order: left.take().unwrap_or_else(nothing),
                stage: Stage::Order,
                tried: None,
            };
            // Large, and made once per order.
            let Failed { failure, left: now_left, tried } = match Box::pin(attempt.run()).await {
                Ok(record) => return Ok(record),
                Err(failed) => failed,
            };
            *left = now_left;
            if failure.code == ACCOUNT_UNKNOWN && may_reopen {
                may_reopen = false;
                session = session.reopen(authority, name, journal).await?;
                continue;
            }
            if earlier.is_some() && !is_of_the_proof(&failure) {
                // That the next way was closed is the lesser news.
                return Err(earlier.unwrap_or(failure));
            }
            kinds.retain(|kind| Some(*kind) != tried);
            let next = match is_of_the_proof(&failure) {
                true => self.usable(request, kinds).await.ok().filter(|kinds| !kinds.is_empty()),
                false => None,
            };
            let Some(next) = next else { return Err(earlier.unwrap_or(failure)) };
            tracing::info!(%failure, next = next[0].name(), "trying another kind of proof");
            kinds = next;
            earlier.get_or_insert(failure);
        }
    }

    /// The kinds of proof that may be tried for a name.
    async fn kinds(
        &self,
        authority: &Prepared,
        request: &Request,
    ) -> Result<Vec<ChallengeKind>, Failure> {
        let at = At {
            stage: Stage::Challenge,
            directory: authority.directory(),
            name: request.name.as_str(),
        };
        let mut kinds = self.settings.challenges.clone();
        if request.name.is_wildcard() {
            kinds.retain(|kind| *kind == ChallengeKind::Dns01);
        }
        if kinds.is_empty() {
            let detail =
                format!("{}: no kind of challenge that can prove it is configured", at.name);
            return Err(at.failure(codes::CONFIGURATION, detail));
        }
        let base = request.name.as_str();
        let kinds = self.usable(request, kinds).await.map_err(|error| at.dns(error))?;
        if kinds.is_empty() { Err(self.no_provider(at, base)) } else { Ok(kinds) }
    }

    /// Leaves DNS-01 out when no provider has the zone. Asked only when DNS-01 is what would be tried first: it takes look-ups.
    async fn usable(
        &self,
        request: &Request,
        mut kinds: Vec<ChallengeKind>,
    ) -> Result<Vec<ChallengeKind>, dns::Error> {
        if kinds.first() == Some(&ChallengeKind::Dns01) {
            match self.place(request.name.as_str()).await {
                Ok(Some(_)) => {}
                Ok(None) => kinds.retain(|kind| *kind != ChallengeKind::Dns01),
                Err(error) if kinds.len() == 1 => return Err(error),
                Err(error) => {
                    tracing::warn!(name = %request.name, %error, "DNS-01 can't be tried");
                    kinds.retain(|kind| *kind != ChallengeKind::Dns01);
                }
            }
        }
        Ok(kinds)
    }

    async fn abandon(&self, journal: &dyn Journal) -> Result<(), Failure> {
        let at = At { stage: Stage::Challenge, directory: "", name: "an abandoned order" };
        let order = journal.order().await.map_err(|error| at.journal(error))?;
        let Some(mut order) = order else { return Ok(()) };
        let cleared = clear(&*self.dns, journal, &mut order).await;
        order.url.clear();
        order.key_pem = Secret::default();
        let directory = order.directory.clone();
        let at = At { directory: &directory, ..at };
        if is_nothing(&order) {
            journal.forget_order().await.map_err(|error| at.journal(error))?;
        } else {
            journal.keep_order(&order).await.map_err(|error| at.journal(error))?;
        }
        cleared.map_err(|obstacle| match obstacle {
            Obstacle::Dns(error) => at.dns(error),
            Obstacle::Journal(error) => at.journal(error),
        })
    }
}

impl Issuer for AcmeIssuer {
    fn issue<'a>(
        &'a self,
        request: &'a Request,
        journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<CertRecord, Failure>> {
        Box::pin(self.issue(request, journal))
    }

    fn renewal_window<'a>(
        &'a self,
        chain_pem: &'a str,
    ) -> BoxFuture<'a, Result<Option<RenewalWindow>, Failure>> {
        Box::pin(ari::renewal_window(&self.authorities, chain_pem))
    }

    fn abandon<'a>(&'a self, journal: &'a dyn Journal) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.abandon(journal))
    }
}

impl fmt::Debug for AcmeIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcmeIssuer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn prepare(
    authority: &Authority,
    settings: &AcmeSettings,
    clock: &Clock,
) -> Result<Prepared, Error> {
    let uri: Option<http::Uri> = authority.directory.parse().ok();
    if uri.is_none_or(|uri| uri.scheme_str() != Some("https") || uri.host().is_none()) {
        return Err(Error::Insecure { url: authority.directory.clone() });
    }
    Ok(Prepared {
        settings: authority.clone(),
        eab: authority.eab.as_ref().map(|eab| binding(authority, eab)).transpose()?,
        tls: crate::tls::config(authority)?,
        patience: settings.timeouts.request,
        clock: clock.clone(),
    })
}

/// Decodes the key of an external account binding: base64url, or plain base64, padded or not.
fn binding(authority: &Authority, eab: &Eab) -> Result<Binding, Error> {
    let text = eab.hmac.expose().trim().trim_end_matches('=');
    let key = URL_SAFE_NO_PAD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text));
    match key {
        Ok(key) if !key.is_empty() => Ok((eab.kid.clone(), Secret::new(key.into()))),
        // The cause would quote a part of the secret.
        _ => Err(Error::Settings {
            directory: authority.directory.clone(),
            setting: "external account key",
            reason: "it is not base64url".to_owned(),
            source: None,
        }),
    }
}

/// What a certificate for this pattern covers; `None` when none can, or no public authority would.
fn names(request: &Request) -> Option<Vec<String>> {
    let name = request.name.as_str();
    let base = name.strip_prefix("*.");
    let rest = base.unwrap_or(name);
    let is_name = rest.parse::<model::Hostname>().is_ok()
        && !rest.contains('*')
        && rest.parse::<std::net::IpAddr>().is_err()
        && !rest.starts_with('[');
    is_name.then(|| std::iter::once(name).chain(base).map(str::to_owned).collect())
}

fn uncoverable(request: &Request) -> String {
    format!("no certificate can be ordered for {}: only for names and for *.name", request.name)
}

fn nothing() -> OrderState {
    OrderState {
        directory: String::new(),
        url: String::new(),
        key_pem: Secret::default(),
        txt: Vec::new(),
        challenges: Vec::new(),
    }
}

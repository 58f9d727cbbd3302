//! Proving that the names of an order are ours.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certs::{Failure, Stage, TxtValue, codes};
use instant_acme::{AuthorizationStatus, ChallengeStatus, Identifier, Order, OrderStatus};
use model::{Challenge, Timestamp};
use serde_json::Value;
use tokio::time::Instant;

use crate::ChallengeKind;
use crate::attempt::{Attempt, with_nonce};
use crate::failure::is_passing;

/// How often the authority is asked how an order stands, if it does not say itself.
const POLL_FIRST: Duration = Duration::from_millis(250);
const POLL_LAST: Duration = Duration::from_secs(5);

/// What proves one name, by one kind of challenge.
struct Proof {
    /// Which authorisation of the order it is for.
    index: usize,
    kind: ChallengeKind,
    domain: String,
    token: String,
    key_authorisation: String,
    /// Whether the authority waits for us, and is not checking already.
    open: bool,
}

impl Proof {
    /// RFC 8555 §8.4.
    fn txt_value(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.key_authorisation.as_bytes()))
    }
}

impl Attempt<'_> {
    /// Puts up the proofs, has the authority look, and waits until it has.
    pub(crate) async fn prove(&mut self, order: &mut Order) -> Result<(), Failure> {
        self.reach(Stage::Challenge);
        let proofs = self.proofs(order).await?;
        match proofs.first().map(|proof| proof.kind) {
            Some(ChallengeKind::Dns01) => self.put_into_dns(&proofs).await?,
            Some(_) => self.publish(&proofs).await?,
            None => {}
        }
        self.reach(Stage::Validation);
        for proof in proofs.iter().filter(|proof| proof.open) {
            self.set_ready(order, proof).await?;
        }
        let patience = self.issuer.settings.timeouts.validation;
        match self.poll(order, patience, &[OrderStatus::Pending]).await? {
            OrderStatus::Invalid => Err(self.verdict(order).await),
            _ => Ok(()),
        }
    }

    /// The proofs that the authority still wants, all by the best kind that it offers for all of them.
    async fn proofs(&mut self, order: &mut Order) -> Result<Vec<Proof>, Failure> {
        let offered = with_nonce!(self.offered(order).await);
        let (offered, wanted) = offered.map_err(|error| self.acme(error))?;
        let all = |kind: &&ChallengeKind| {
            offered.iter().filter(|proof| proof.kind == **kind).count() == wanted
        };
        let begun =
            |kind: &&ChallengeKind| offered.iter().any(|proof| proof.kind == **kind && !proof.open);
        let mut kinds = self.kinds.iter().filter(all);
        // One that somebody has begun is gone on with.
        let kind = kinds.clone().find(begun).or_else(|| kinds.next());
        let Some(kind) = kind.copied() else {
            let kinds: Vec<_> = self.kinds.iter().map(|kind| kind.name()).collect();
            let detail = format!(
                "{} offers none of {} for {}",
                self.authority.directory(),
                kinds.join(", "),
                self.request.name
            );
            return Err(self.at().failure(codes::CONFIGURATION, detail));
        };
        self.tried = Some(kind);
        tracing::debug!(%kind, "proving by");
        Ok(offered.into_iter().filter(|proof| proof.kind == kind).collect())
    }

    /// What is offered by the kinds that may be tried, and for how many names a proof is wanted.
    async fn offered(&self, order: &mut Order) -> Result<(Vec<Proof>, usize), instant_acme::Error> {
        let (mut offered, mut wanted, mut index) = (Vec::new(), 0, 0);
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let authorization = authorization?;
            if authorization.status == AuthorizationStatus::Pending {
                wanted += 1;
                let domain = match authorization.identifier().identifier {
                    Identifier::Dns(name) => name.clone(),
                    _ => String::new(),
                };
                for challenge in &authorization.challenges {
                    let kinds = self.kinds.iter();
                    let kind = kinds.copied().find(|kind| kind.acme() == challenge.r#type);
                    offered.extend(kind.map(|kind| Proof {
                        index,
                        kind,
                        domain: domain.clone(),
                        token: challenge.token.clone(),
                        key_authorisation: self.key_authorisation(&challenge.token),
                        open: challenge.status == ChallengeStatus::Pending,
                    }));
                }
            }
            index += 1;
        }
        Ok((offered, wanted))
    }

    /// RFC 8555 §8.1.
    fn key_authorisation(&self, token: &str) -> String {
        format!("{token}.{}", self.session.account.key_thumbprint())
    }

    /// Has every proxy answer the challenges.
    async fn publish(&mut self, proofs: &[Proof]) -> Result<(), Failure> {
        let now = Timestamp::from(self.issuer.clock.now());
        let challenges = proofs.iter().map(|proof| {
            Some(Challenge {
                domain: proof.domain.parse().ok()?,
                token: proof.token.clone(),
                key_authorisation: proof.key_authorisation.clone(),
                expires_at: now.plus(self.issuer.settings.timeouts.challenge),
            })
        });
        let Some(challenges) = challenges.collect::<Option<Vec<_>>>() else {
            let detail = format!("{} wants proofs for other names", self.authority.directory());
            return Err(self.at().failure(codes::UNREACHABLE, detail));
        };
        for one in &challenges {
            let entry = (one.domain.as_str().to_owned(), one.token.clone());
            if !self.order.challenges.contains(&entry) {
                self.order.challenges.push(entry);
            }
        }
        self.keep().await?;
        for challenge in &challenges {
            let published = self.journal.publish(challenge).await;
            published.map_err(|error| self.at().journal(error))?;
        }
        Ok(())
    }

    /// Has the DNS show the TXT values, everywhere.
    async fn put_into_dns(&mut self, proofs: &[Proof]) -> Result<(), Failure> {
        let mut places = Vec::new();
        for proof in proofs {
            let place = self.issuer.place(&proof.domain).await;
            let place = place.map_err(|error| self.at().dns(error))?;
            let Some((name, found)) = place else {
                return Err(self.issuer.no_provider(self.at(), &proof.domain));
            };
            let value = TxtValue {
                provider: found.id.clone(),
                zone: found.zone.name.clone(),
                name,
                value: proof.txt_value(),
            };
            if !self.order.txt.contains(&value) {
                self.order.txt.push(value.clone());
            }
            places.push((value, found));
        }
        self.keep().await?;
        for (value, found) in &places {
            let appended = found.provider.append_txt(&found.zone, &value.name, &value.value).await;
            appended.map_err(|error| self.at().dns(error))?;
        }
        // A provider knows of no lease. Who has lost it meanwhile hears it now, and removes what it has just put there.
        self.keep().await?;
        self.reach(Stage::Propagation);
        self.issuer.propagated(self.at(), &places).await
    }

    async fn set_ready(&mut self, order: &mut Order, proof: &Proof) -> Result<(), Failure> {
        let asked = with_nonce!(ready(order, proof).await);
        asked.map_err(|error| {
            // An authority that checks at once says here what it found, in a challenge that is no problem document itself.
            let last = self.session.client.last();
            let found = last.filter(|seen| seen.status.is_success());
            let found = found.and_then(|seen| serde_json::from_slice::<Value>(&seen.body).ok());
            match found.as_ref().map(|challenge| &challenge["error"]) {
                Some(problem) if problem.is_object() => self.at().problem(problem, None),
                _ => self.acme(error),
            }
        })
    }

    /// Asks how the order stands until it stands otherwise than `waiting`. What passes by itself does not end the waiting.
    pub(crate) async fn poll(
        &self,
        order: &mut Order,
        patience: Duration,
        waiting: &[OrderStatus],
    ) -> Result<OrderStatus, Failure> {
        let begun = Instant::now();
        let mut delay = POLL_FIRST;
        let mut trouble = None;
        if !waiting.contains(&order.state().status) {
            return Ok(order.state().status);
        }
        loop {
            let asked = with_nonce!(order.refresh().await.map(|state| state.status));
            let wait = match asked {
                Ok(status) if !waiting.contains(&status) => return Ok(status),
                Ok(_) => self.session.client.last().and_then(|seen| seen.retry_after),
                Err(error) => {
                    let failure = self.acme(error);
                    if !is_passing(&failure) {
                        return Err(failure);
                    }
                    let wait = failure.retry_after;
                    tracing::debug!(%failure, "asking again");
                    trouble = Some(failure);
                    wait
                }
            };
            let wait = wait.unwrap_or(delay).max(POLL_FIRST);
            if begun.elapsed() + wait > patience {
                let timeout = || {
                    let detail = format!(
                        "{} has not come to an end with {} within {} s",
                        self.authority.directory(),
                        self.request.name,
                        patience.as_secs()
                    );
                    self.at().failure(codes::TIMEOUT, detail)
                };
                return Err(trouble.unwrap_or_else(timeout));
            }
            tokio::time::sleep(wait).await;
            delay = (delay * 2).min(POLL_LAST);
        }
    }

    /// Why an order is invalid: what the authority found at the name, else what it says of the order.
    pub(crate) async fn verdict(&self, order: &mut Order) -> Failure {
        let of_order = self.last_json()["error"].take();
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            if with_nonce!(authorization.refresh().await.map(drop)).is_err() {
                continue;
            }
            let read = self.last_json();
            let errors = read["challenges"].as_array().into_iter().flatten();
            if let Some(found) = errors.map(|it| &it["error"]).find(|error| error.is_object()) {
                return self.at().problem(found, None);
            }
        }
        if of_order.is_object() {
            return self.at().problem(&of_order, None);
        }
        let detail = format!(
            "{} gives up the order for {} and does not say why",
            self.authority.directory(),
            self.request.name
        );
        self.at().failure(codes::UNREACHABLE, detail)
    }

    fn last_json(&self) -> Value {
        let last = self.session.client.last();
        last.and_then(|seen| serde_json::from_slice(&seen.body).ok()).unwrap_or_default()
    }
}

/// Tells the authority that a proof stands.
async fn ready(order: &mut Order, proof: &Proof) -> Result<(), instant_acme::Error> {
    let mut authorizations = order.authorizations();
    let mut index = 0;
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if index == proof.index
            && let Some(mut challenge) = authorization.challenge(proof.kind.acme())
        {
            return challenge.set_ready().await;
        }
        index += 1;
    }
    Ok(())
}

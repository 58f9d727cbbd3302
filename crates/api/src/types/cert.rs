use control::{Attempt, AttemptFailure, Issuance, Window};
use model::{CertSource, CertStatus, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::schema;

/// A certificate, or a name that there is none for yet. Its private key is never in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertView {
    /// The name it is kept under: a name or `*.name`.
    pub name: String,
    /// How it stands: `pending` and `failed` when there is none yet, `expired` and `failed` when it is past its end.
    #[schema(schema_with = schema::certificate_status)]
    pub status: CertStatus,
    /// Where it came from; null while there is none, as all that follows.
    #[schema(required = true, schema_with = schema::certificate_source_or_null)]
    pub source: Option<CertSource>,
    /// The names that it covers; empty when it can't be read.
    pub names: Vec<String>,
    /// Who issued it, as a distinguished name.
    #[schema(required = true)]
    pub issuer: Option<String>,
    /// Its serial number, in hexadecimal digits.
    #[schema(required = true)]
    pub serial: Option<String>,
    /// SHA-256 of the certificate, in hexadecimal digits.
    #[schema(required = true)]
    pub sha256: Option<String>,
    /// The kind of its key, such as `ECDSA P-256`.
    #[schema(required = true)]
    pub key_kind: Option<String>,
    /// Start of its validity (RFC 3339).
    #[schema(required = true, format = DateTime)]
    pub not_before: Option<String>,
    /// End of its validity (RFC 3339).
    #[schema(required = true, format = DateTime)]
    pub not_after: Option<String>,
    /// When it is to be replaced (RFC 3339); null also for one that nobody replaces, because it was uploaded.
    #[schema(required = true, format = DateTime)]
    pub renew_at: Option<String>,
    /// How it is come by; null when no authority elsewhere was asked.
    #[schema(required = true)]
    pub issuance: Option<IssuanceView>,
    /// The entity tag for `If-Match`, without quotes; absent while there is no certificate and after a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub etag: Option<String>,
    /// Everything up to this revision of the store is included in this answer: `epoch:number`.
    pub revision: String,
}

/// A certificate with its chain, and the last attempts to get one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertDetail {
    /// The certificate.
    #[serde(flatten)]
    pub cert: CertView,
    /// The chain, PEM, leaf first; null while there is none.
    #[schema(required = true)]
    pub chain: Option<String>,
    /// The last attempts to get one of an authority elsewhere, oldest first.
    pub attempts: Vec<CertAttempt>,
}

/// How a certificate of an authority elsewhere is come by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IssuanceView {
    /// How many attempts failed since the last that did not.
    pub failures: u32,
    /// Why the last attempt failed; null when it did not.
    #[schema(required = true)]
    pub failure: Option<CertFailure>,
    /// Not to be tried again before (RFC 3339).
    #[schema(required = true, format = DateTime)]
    pub retry_at: Option<String>,
    /// Since when an order is under way (RFC 3339); null when none is.
    #[schema(required = true, format = DateTime)]
    pub started_at: Option<String>,
    /// How far that order is: `account`, `order`, `challenge`, `propagation`, `validation`, `finalize`, `download` or `store`.
    #[schema(required = true)]
    pub stage: Option<String>,
    /// When somebody asked for a new one that is not there yet (RFC 3339).
    #[schema(required = true, format = DateTime)]
    pub requested_at: Option<String>,
    /// When the authority wants the present certificate replaced; null when it was not asked yet.
    #[schema(required = true)]
    pub window: Option<RenewalWindow>,
}

/// When an authority wants a certificate replaced, as it last said (RFC 9773).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RenewalWindow {
    /// From when on (RFC 3339); null, as the end, when it has no opinion.
    #[schema(required = true, format = DateTime)]
    pub start: Option<String>,
    /// Until when (RFC 3339).
    #[schema(required = true, format = DateTime)]
    pub end: Option<String>,
    /// When it is asked again (RFC 3339).
    #[schema(format = DateTime)]
    pub ask_at: String,
}

/// One attempt to get a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertAttempt {
    /// When it ended (RFC 3339).
    #[schema(format = DateTime)]
    pub at: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Which control plane made it.
    pub holder: String,
    /// The directory of the authority; null if it did not come so far.
    #[schema(required = true)]
    pub directory: Option<String>,
    /// Why it failed; null when it did not.
    #[schema(required = true)]
    pub failure: Option<CertFailure>,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertFailure {
    /// How far it came, as the stages of an order.
    pub stage: String,
    /// What kind of failure: the last part of the authority's problem type (`dns`, `rateLimited`, …), or a word of our own.
    pub code: String,
    /// The same for people.
    pub detail: String,
    /// What to do about it.
    pub action: String,
    /// The authority's problem document (RFC 8555 §6.7), as it came; null when the failure is not of its making.
    #[schema(required = true, value_type = Option<Object>)]
    pub problem: Option<Value>,
}

/// Some certificates, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertList {
    /// The certificates.
    pub results: Vec<CertView>,
    /// What to give as `after` for the next page; null at the end.
    #[schema(required = true)]
    pub next: Option<String>,
}

/// A certificate of one's own to be served.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CertUpload {
    /// The chain, PEM: the certificate first, each one issued by the one behind it.
    #[schema(schema_with = schema::chain_pem)]
    pub chain: String,
    /// The private key of the first certificate, PEM, not encrypted. It is never shown again, but to an administrator who exports it.
    #[schema(schema_with = schema::key_pem)]
    pub key: String,
}

/// A certificate with its private key.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct CertExport {
    /// The name it is kept under.
    pub name: String,
    /// The chain, PEM, leaf first.
    pub chain: String,
    /// The private key, PEM.
    #[schema(format = Password)]
    pub key: String,
}

impl CertView {
    fn of(view: &control::CertView) -> Self {
        let cert = view.cert.as_ref();
        let told = cert.and_then(|it| it.description.as_ref());
        Self {
            name: view.name.clone(),
            status: view.status,
            source: cert.map(|it| it.source),
            names: told.map(|it| it.inspected.names.clone()).unwrap_or_default(),
            issuer: told.map(|it| it.issuer.clone()),
            serial: told.map(|it| it.serial.clone()),
            sha256: told.map(|it| it.sha256.clone()),
            key_kind: told.map(|it| it.key.clone()),
            not_before: cert.map(|it| it.not_before.to_string()),
            not_after: cert.map(|it| it.not_after.to_string()),
            renew_at: text(cert.and_then(|it| it.renew_at)),
            issuance: view.issuance.as_ref().map(IssuanceView::of),
            etag: cert.map(|it| it.etag.as_str().to_owned()),
            revision: view.revision.to_string(),
        }
    }
}

impl From<control::CertView> for CertView {
    fn from(view: control::CertView) -> Self {
        Self::of(&view)
    }
}

impl From<control::CertView> for CertDetail {
    fn from(view: control::CertView) -> Self {
        let attempts = view.issuance.iter().flat_map(|it| &it.attempts);
        let attempts = attempts.map(CertAttempt::of).collect();
        Self { cert: CertView::of(&view), attempts, chain: view.cert.map(|it| it.chain_pem) }
    }
}

impl IssuanceView {
    fn of(issuance: &Issuance) -> Self {
        let window = |it: &Window| RenewalWindow {
            start: text(it.start),
            end: text(it.end),
            ask_at: it.ask_at.to_string(),
        };
        Self {
            failures: issuance.failures,
            failure: issuance.last_failure().map(CertFailure::of),
            retry_at: text(issuance.retry_at),
            started_at: text(issuance.started_at),
            stage: issuance.stage.clone(),
            requested_at: text(issuance.forced_at),
            window: issuance.window.as_ref().map(window),
        }
    }
}

impl CertAttempt {
    fn of(attempt: &Attempt) -> Self {
        Self {
            at: attempt.at.to_string(),
            took_ms: attempt.took_ms,
            holder: attempt.holder.clone(),
            directory: attempt.directory.clone(),
            failure: attempt.failure.as_ref().map(CertFailure::of),
        }
    }
}

impl CertFailure {
    fn of(failure: &AttemptFailure) -> Self {
        Self {
            stage: failure.stage.clone(),
            code: failure.code.clone(),
            detail: failure.detail.clone(),
            action: action(&failure.code).to_owned(),
            problem: failure.problem.as_deref().map(problem),
        }
    }
}

fn text(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

/// The document as it came; what is no object is kept as the text that it is.
fn problem(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Object(members)) => members.into(),
        _ => Map::from_iter([("text".to_owned(), text.into())]).into(),
    }
}

/// What to do about a failure of this code, for an operator. `docs/operations.md` says more of each.
pub(super) fn action(code: &str) -> &'static str {
    ACTIONS.iter().find(|(known, _)| *known == code).map_or(OTHERWISE, |(_, action)| action)
}

const OTHERWISE: &str = "Read what the authority says. It is tried again by itself.";
const REACH: &str = "Have the name lead to a proxy of this installation, whose port 80 (HTTP-01) or 443 (TLS-ALPN-01) the authority \
     can reach from the Internet.";
const WAIT: &str =
    "Nothing: it is tried again when the limit allows. Do not ask for a renewal by hand.";

/// By code: those of authorities (RFC 8555 §6.7) first, then our own.
const ACTIONS: [(&str, &str); 20] = [
    ("connection", REACH),
    (
        "dns",
        "Give the name an A or AAAA record, and for DNS-01 mend the zone's name servers, DNSSEC included.",
    ),
    ("unauthorized", REACH),
    ("tls", REACH),
    ("incorrectResponse", REACH),
    ("caa", "Let the CAA record of the name, or of a parent, name this authority, or remove it."),
    ("rateLimited", WAIT),
    (
        "rejectedIdentifier",
        "Use another authority (ACME_DIRECTORY), a certificate of your own, or another name: this one refuses it.",
    ),
    (
        "externalAccountRequired",
        "Set ACME_EAB_KID and ACME_EAB_HMAC to what the authority gave you.",
    ),
    (
        "userActionRequired",
        "Follow the link in the authority's problem document, such as to agree to new terms.",
    ),
    (
        "unreachable",
        "Let the control plane reach the authority and the DNS provider: firewall, proxy, DNS, ACME_ROOT_CA.",
    ),
    (
        "timeout",
        "Nothing at first: it is tried again. If it stays, see whether the authority has a known disturbance.",
    ),
    (
        "noDnsProvider",
        "Add the DNS provider that has the zone: gatewright dns add. A wildcard can be proved only by DNS-01.",
    ),
    (
        "dnsProvider",
        "Mend the provider's credentials or their rights; gatewright dns test tries them.",
    ),
    (
        "dnsPropagation",
        "See that all name servers of the zone follow the primary; or name the ones to ask in the provider's nameservers.",
    ),
    (
        "challengeNotServed",
        "Bring the proxies that are named back, or wait until their reports end: gatewright status shows them.",
    ),
    ("ledger", WAIT),
    ("store", "Bring the store back; gatewright status says how it stands."),
    ("configuration", "Mend the setting that is named, and start the control plane again."),
    (
        "badCertificate",
        "Ask the authority: what it handed out is not what was asked for. It is tried again by itself.",
    ),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn operators_find_every_code_in_the_manual() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
        let manual = std::fs::read_to_string(path).unwrap();
        for (code, _) in ACTIONS {
            assert!(manual.contains(&format!("`{code}`")), "{code} is not in docs/operations.md");
        }
        assert_eq!(action("badNonce"), OTHERWISE);
    }

    #[test]
    fn a_document_that_is_no_object_is_kept_as_text() {
        assert_eq!(problem(r#"{"type":"x"}"#)["type"], "x");
        assert_eq!(problem("<html>")["text"], "<html>");
        assert_eq!(problem("[1]")["text"], "[1]");
    }
}

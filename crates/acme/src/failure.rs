//! What went wrong, as a fact to keep: [`certs::Failure`] out of everything that can fail here.

use certs::{Failure, JournalError, Stage, codes};
use http::StatusCode;
use serde_json::Value;

use crate::client::Seen;

/// The authority is asked for too much; its own word (RFC 8555 §6.7).
pub(crate) const RATE_LIMITED: &str = "rateLimited";
/// The nonce of a request was not good (RFC 8555 §6.5).
const BAD_NONCE: &str = "badNonce";

/// Where a failure happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'a> {
    pub(crate) stage: Stage,
    /// The URL of the directory.
    pub(crate) directory: &'a str,
    /// The name that a certificate is wanted for.
    pub(crate) name: &'a str,
}

impl At<'_> {
    /// A failure that the authority said nothing about.
    pub(crate) fn failure(self, code: &str, detail: String) -> Failure {
        Failure {
            stage: self.stage,
            code: code.to_owned(),
            detail,
            problem: None,
            directory: Some(self.directory.to_owned()),
            retry_after: None,
            source: None,
        }
    }

    /// What the ACME library ran into, with what the answer to the last request had to say.
    pub(crate) fn acme(self, error: instant_acme::Error, last: Option<Seen>) -> Failure {
        let retry_after = last.as_ref().and_then(|seen| seen.retry_after);
        let refused = last.filter(|seen| !seen.status.is_success());
        let mut failure = match (error, refused) {
            (instant_acme::Error::Api(problem), refused) => {
                let raw = refused.as_ref().map(|seen| seen.body.as_ref());
                let raw = raw.and_then(|body| serde_json::from_slice(body).ok());
                let raw = raw.unwrap_or_else(|| rebuilt(&problem));
                self.problem(&raw, refused.map(|seen| seen.status))
            }
            // An answer that is no problem document: of a proxy in front of it, or of one that breaks down.
            (error, Some(seen)) => {
                let code = match seen.status {
                    StatusCode::TOO_MANY_REQUESTS => RATE_LIMITED,
                    _ => codes::UNREACHABLE,
                };
                let detail = format!(
                    "{}: it answered {} and no problem document, {}",
                    self.directory,
                    seen.status.as_u16(),
                    self.doing(),
                );
                Failure { source: Some(error.into()), ..self.failure(code, detail) }
            }
            (error, None) => {
                let detail = format!("{}: no sensible answer, {}", self.directory, self.doing());
                let source = match error {
                    instant_acme::Error::Other(source) => source,
                    error => error.into(),
                };
                Failure { source: Some(source), ..self.failure(codes::UNREACHABLE, detail) }
            }
        };
        failure.retry_after = retry_after;
        failure
    }

    /// What a problem document says (RFC 8555 §6.7).
    pub(crate) fn problem(self, problem: &Value, status: Option<StatusCode>) -> Failure {
        let code = match problem["type"].as_str().and_then(|it| it.rsplit(':').next()) {
            Some(code) if code != "about:blank" && !code.is_empty() => code,
            _ if status == Some(StatusCode::TOO_MANY_REQUESTS) => RATE_LIMITED,
            _ => codes::UNREACHABLE,
        };
        let said = problem["detail"].as_str().unwrap_or(code);
        let mut detail = format!("{}: \"{said}\", {}", self.directory, self.doing());
        for one in problem["subproblems"].as_array().into_iter().flatten() {
            let of = one["identifier"]["value"].as_str().unwrap_or("another");
            let said = one["detail"].as_str().or(one["type"].as_str()).unwrap_or("no reason");
            detail += &format!("; {of}: \"{said}\"");
        }
        let problem = Some(problem.to_string());
        Failure { problem, ..self.failure(code, detail) }
    }

    /// What could not be kept or asked of the shared state.
    pub(crate) fn journal(self, error: JournalError) -> Failure {
        let code = match &error {
            JournalError::Lost => codes::LOST,
            JournalError::Limited { .. } => codes::LEDGER,
            JournalError::NotServed { .. } => codes::NOT_SERVED,
            _ => codes::STORE,
        };
        let detail = format!("{}: {error}", self.name);
        let retry_after = match &error {
            JournalError::Limited { retry_after, .. } => Some(*retry_after),
            _ => None,
        };
        let source = std::error::Error::source(&error).is_some().then(|| error.into());
        Failure { retry_after, source, ..self.failure(code, detail) }
    }

    /// What a DNS provider did not do.
    pub(crate) fn dns(self, error: dns::Error) -> Failure {
        let retry_after = match &error {
            dns::Error::RateLimited { retry_after, .. } => *retry_after,
            _ => None,
        };
        let detail = format!("{}: {error}", self.name);
        let failure = self.failure(codes::PROVIDER, detail);
        Failure { retry_after, source: Some(error.into()), ..failure }
    }

    /// The end of the sentence.
    fn doing(self) -> String {
        let doing = match self.stage {
            Stage::Account => "asked for an account",
            Stage::Order => "asked for an order",
            Stage::Challenge | Stage::Propagation => "asked for challenges",
            Stage::Validation => "asked to check challenges",
            Stage::Finalize => "handed the certificate request",
            _ => "asked for the certificate",
        };
        format!("when {doing} for {}", self.name)
    }
}

/// Whether the library gave up because the nonces were refused: nothing has happened then, and it may ask again.
pub(crate) fn is_bad_nonce(error: &instant_acme::Error) -> bool {
    code(error) == BAD_NONCE
}

/// The last part of a problem's type; empty when it is none.
pub(crate) fn code(error: &instant_acme::Error) -> &str {
    let instant_acme::Error::Api(problem) = error else { return "" };
    problem.r#type.as_deref().and_then(|it| it.rsplit(':').next()).unwrap_or_default()
}

/// Whether the next authority of the list may do better. Not when the name could not be proved: it could not there either.
pub(crate) fn falls_over(failure: &Failure) -> bool {
    match failure.code.as_str() {
        // Ours, and the same for every authority.
        codes::LOST
        | codes::STORE
        | codes::NO_PROVIDER
        | codes::PROVIDER
        | codes::PROPAGATION
        | codes::NOT_SERVED => false,
        // Its own state or its own policy, at whatever stage it shows.
        codes::UNREACHABLE
        | codes::TIMEOUT
        | codes::LEDGER
        | codes::CONFIGURATION
        | codes::BAD_CERTIFICATE
        | RATE_LIMITED
        | BAD_NONCE
        | "serverInternal"
        | "caa" => true,
        // Else what it found when it looked at the name.
        _ => failure.stage != Stage::Validation,
    }
}

/// Whether another kind of proof, in another order, may do better.
pub(crate) fn is_of_the_proof(failure: &Failure) -> bool {
    failure.stage == Stage::Validation
        && !falls_over(failure)
        && ![codes::LOST, codes::STORE].contains(&failure.code.as_str())
}

/// Whether it may be over by the next time that the same is asked.
pub(crate) fn is_passing(failure: &Failure) -> bool {
    matches!(
        failure.code.as_str(),
        codes::UNREACHABLE | RATE_LIMITED | BAD_NONCE | "serverInternal"
    )
}

/// A problem document from what the library kept of it.
fn rebuilt(problem: &instant_acme::Problem) -> Value {
    serde_json::json!({ "type": problem.r#type, "detail": problem.detail, "status": problem.status })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: At<'_> =
        At { stage: Stage::Order, directory: "https://ca.test/dir", name: "*.a.test" };

    fn problem(text: &str) -> instant_acme::Error {
        instant_acme::Error::Api(serde_json::from_str(text).unwrap())
    }

    fn seen(status: u16, retry_after: Option<u64>, body: &str) -> Option<Seen> {
        Some(Seen {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: retry_after.map(std::time::Duration::from_secs),
            body: body.to_owned().into(),
        })
    }

    #[test]
    fn a_failure_has_the_authoritys_words_whole() {
        let text = r#"{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"no","extra":1,
            "subproblems":[{"type":"urn:ietf:params:acme:error:caa","detail":"not us",
            "identifier":{"type":"dns","value":"a.test"}}]}"#;
        let failure = AT.acme(problem(text), seen(403, Some(7), text));
        assert_eq!(failure.code, "rejectedIdentifier");
        let expected =
            "https://ca.test/dir: \"no\", when asked for an order for *.a.test; a.test: \"not us\"";
        assert_eq!(failure.to_string(), expected);
        let whole: Value = serde_json::from_str(&failure.problem.unwrap()).unwrap();
        assert_eq!(
            (&whole["extra"], whole["subproblems"].as_array().unwrap().len()),
            (&1.into(), 1)
        );
        assert_eq!(failure.retry_after.unwrap().as_secs(), 7);
        assert_eq!(failure.directory.unwrap(), AT.directory);
    }

    #[test]
    fn what_is_no_problem_document_is_told_by_its_status() {
        let garbage =
            || instant_acme::Error::Json(serde_json::from_str::<()>("<html>").unwrap_err());
        for (status, code) in
            [(500, codes::UNREACHABLE), (429, RATE_LIMITED), (403, codes::UNREACHABLE)]
        {
            let failure = AT.acme(garbage(), seen(status, None, "<html>"));
            assert_eq!((failure.code.as_str(), failure.problem), (code, None));
            assert!(failure.detail.contains(&status.to_string()), "{}", failure.detail);
        }
        assert_eq!(AT.acme(garbage(), seen(200, None, "<html>")).code, codes::UNREACHABLE);
        assert_eq!(AT.acme(garbage(), None).code, codes::UNREACHABLE);
        // Without a type it is about:blank (RFC 9457 §4.2.1).
        let bare = r#"{"detail":"slow down"}"#;
        assert_eq!(AT.acme(problem(bare), seen(429, None, bare)).code, RATE_LIMITED);
    }

    #[test]
    fn the_next_authority_is_asked_where_it_may_do_better() {
        let failure = |stage, code: &str| At { stage, ..AT }.failure(code, String::new());
        for code in ["rateLimited", "serverInternal", "caa", "unreachable", "timeout", "ledger"] {
            for stage in [Stage::Account, Stage::Order, Stage::Validation, Stage::Finalize] {
                assert!(falls_over(&failure(stage, code)), "{stage} {code}");
                assert!(!is_of_the_proof(&failure(stage, code)), "{stage} {code}");
            }
        }
        for code in ["dns", "connection", "unauthorized", "tls", "incorrectResponse"] {
            let failure = failure(Stage::Validation, code);
            assert!(!falls_over(&failure) && is_of_the_proof(&failure), "{code}");
        }
        for code in ["rejectedIdentifier", "externalAccountRequired", "unauthorized"] {
            assert!(falls_over(&failure(Stage::Order, code)), "{code}");
        }
        for code in ["leaseLost", "store", "noDnsProvider", "dnsPropagation", "challengeNotServed"]
        {
            let failure = failure(Stage::Validation, code);
            assert!(!falls_over(&failure), "{code}");
        }
        assert!(!is_of_the_proof(&failure(Stage::Validation, codes::LOST)));
    }
}

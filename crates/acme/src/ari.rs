//! When an authority wants a certificate replaced (RFC 9773).

use std::time::{Duration, SystemTime};

use certs::{Failure, RenewalWindow, Stage, codes};
use http::StatusCode;
use instant_acme::{CertificateIdentifier, RenewalInfo};
use model::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::Error;
use crate::failure::At;
use crate::issuer::Prepared;
use crate::session::Directory;

/// When to ask again if the authority does not say (RFC 9773 §4.3.3 gives six hours as its example), and the longest it may say.
const ASK_AGAIN: Duration = Duration::from_secs(6 * 60 * 60);
const ASK_AGAIN_LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Asks the authorities in turn: a chain does not say which one made it, and the others do not know it.
pub(crate) async fn renewal_window(
    authorities: &[Prepared],
    chain_pem: &str,
) -> Result<Option<RenewalWindow>, Failure> {
    let Some(id) = identifier(chain_pem) else { return Ok(None) };
    let mut failure = None;
    for authority in authorities {
        match ask(authority, &id).await {
            Ok(Some(window)) => return Ok(Some(window)),
            Ok(None) => {}
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(None), Err)
}

/// A chain without one (of the local authority, say) is nothing that an authority could be asked about.
fn identifier(chain_pem: &str) -> Option<String> {
    let leaf = CertificateDer::from_pem_slice(chain_pem.as_bytes()).ok()?;
    CertificateIdentifier::try_from(&leaf).ok().map(|id| id.to_string())
}

/// `None` when it has no opinion, or does not know the certificate.
async fn ask(authority: &Prepared, id: &str) -> Result<Option<RenewalWindow>, Failure> {
    let at = At { stage: Stage::Order, directory: authority.directory(), name: id };
    let client = authority.client();
    let index = client.get(at.directory).await.map_err(|error| unreached(at, error))?;
    let index: Directory = match serde_json::from_slice(&index.body) {
        Ok(directory) if index.status.is_success() => directory,
        _ => return Err(unclear(at, index.status, index.retry_after)),
    };
    let Some(url) = index.renewal_info else { return Ok(None) };
    let url = format!("{}/{id}", url.trim_end_matches('/'));
    let answer = client.get(&url).await.map_err(|error| unreached(at, error))?;
    if answer.status.is_client_error() && answer.status != StatusCode::TOO_MANY_REQUESTS {
        return Ok(None);
    }
    let info: RenewalInfo = match serde_json::from_slice(&answer.body) {
        Ok(info) if answer.status.is_success() => info,
        _ => return Err(unclear(at, answer.status, answer.retry_after)),
    };
    let [start, end] = [info.suggested_window.start, info.suggested_window.end]
        .map(|time| Timestamp::from(SystemTime::from(time)));
    if end <= start {
        // To be treated as no answer (RFC 9773 §4.2).
        tracing::warn!(directory = at.directory, id, "the renewal window ends before it begins");
        return Ok(None);
    }
    let ask_again = answer.retry_after.unwrap_or(ASK_AGAIN).min(ASK_AGAIN_LONGEST);
    Ok(Some(RenewalWindow { start, end, ask_again }))
}

fn unclear(at: At<'_>, status: StatusCode, retry_after: Option<Duration>) -> Failure {
    let detail = format!("{}: it answered {} about a renewal", at.directory, status.as_u16());
    Failure { retry_after, ..at.failure(codes::UNREACHABLE, detail) }
}

fn unreached(at: At<'_>, error: Error) -> Failure {
    let detail = format!("{}: not reached about a renewal", at.directory);
    Failure { source: Some(error.into()), ..at.failure(codes::UNREACHABLE, detail) }
}

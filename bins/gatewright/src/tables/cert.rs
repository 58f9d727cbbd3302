use api::types::{CertDetail, CertFailure, CertView, IssuanceView, StatusView};

use super::{fields, finish, table, word};

/// How many failing certificates `status` tells of.
const TOLD: usize = 10;

/// All certificates, a line each.
pub(crate) fn certs(certs: &[CertView]) -> String {
    if certs.is_empty() {
        return "no certificates yet\n".to_owned();
    }
    let mut table = table(["NAME", "STATUS", "SOURCE", "ENDS", "RENEWED", "NOTE"]);
    for cert in certs {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_default();
        table.add_row([
            cert.name.clone(),
            word(&cert.status),
            cert.source.map(|source| word(&source)).unwrap_or_default(),
            or_none(&cert.not_after),
            or_none(&cert.renew_at),
            cert.issuance.as_ref().map(note).unwrap_or_default(),
        ]);
    }
    finish(&table)
}

/// What there is to say of how a certificate is come by, in a few words.
fn note(issuance: &IssuanceView) -> String {
    if issuance.started_at.is_some() {
        return format!("under way: {}", issuance.stage.as_deref().unwrap_or("begun"));
    }
    match &issuance.failure {
        Some(failure) if issuance.failures > 0 => {
            format!("{}, {} times; {}", failure.code, issuance.failures, again(&issuance.retry_at))
        }
        _ if issuance.requested_at.is_some() => "wanted".to_owned(),
        _ => String::new(),
    }
}

fn again(at: &Option<String>) -> String {
    at.as_ref().map_or("again soon".to_owned(), |at| format!("again at {at}"))
}

/// One certificate: what it says, how it is come by, and the last attempts.
pub(crate) fn cert(detail: &CertDetail) -> String {
    let cert = &detail.cert;
    let mut lines = vec![("name", cert.name.clone()), ("status", word(&cert.status))];
    if let Some(source) = &cert.source {
        let valid = [&cert.not_before, &cert.not_after].map(|at| at.clone().unwrap_or_default());
        lines.extend([
            ("source", word(source)),
            ("names", cert.names.join(", ")),
            ("issuer", cert.issuer.clone().unwrap_or_default()),
            ("serial", cert.serial.clone().unwrap_or_default()),
            ("sha256", cert.sha256.clone().unwrap_or_default()),
            ("key", cert.key_kind.clone().unwrap_or_default()),
            ("valid", valid.join(" to ")),
            ("renewed", cert.renew_at.clone().unwrap_or("by nobody: it was uploaded".to_owned())),
        ]);
    }
    if let Some(issuance) = &cert.issuance {
        lines.extend(issued(issuance));
    }
    lines.extend(cert.etag.clone().map(|etag| ("etag", etag)));
    lines.push(("revision", cert.revision.clone()));
    let mut out = fields(&lines);
    if !detail.attempts.is_empty() {
        out.push('\n');
        out.push_str(&attempts(detail));
    }
    if let Some(failure) = cert.issuance.as_ref().and_then(|it| it.failure.as_ref()) {
        out.push_str(&format!("\n{}\n{}\n", failure.detail, failure.action));
        let problem = failure.problem.as_ref().and_then(|it| serde_json::to_string_pretty(it).ok());
        out.extend(problem.map(|text| format!("the authority says: {text}\n")));
    }
    out
}

fn issued(issuance: &IssuanceView) -> Vec<(&'static str, String)> {
    let stage = issuance.stage.as_deref().unwrap_or("begun");
    let under_way = issuance.started_at.iter().map(|at| ("order", format!("{stage}, since {at}")));
    let wanted = issuance.requested_at.iter().map(|at| ("wanted", format!("by hand at {at}")));
    let failed = (issuance.failures > 0).then(|| {
        ("failing", format!("{} attempts; {}", issuance.failures, again(&issuance.retry_at)))
    });
    let window = issuance.window.as_ref().and_then(|it| it.start.clone().zip(it.end.clone()));
    let window = window.map(|(start, end)| ("window", format!("{start} to {end}")));
    under_way.chain(wanted).chain(failed).chain(window).collect()
}

fn attempts(detail: &CertDetail) -> String {
    let mut table = table(["ATTEMPT", "SECONDS", "BY", "OUTCOME", "AUTHORITY"]);
    for attempt in &detail.attempts {
        let outcome = |it: &CertFailure| format!("{} at {}", it.code, it.stage);
        table.add_row([
            attempt.at.clone(),
            format!("{}.{}", attempt.took_ms / 1000, attempt.took_ms % 1000 / 100),
            attempt.holder.clone(),
            attempt.failure.as_ref().map_or("issued".to_owned(), outcome),
            attempt.directory.clone().unwrap_or_default(),
        ]);
    }
    finish(&table)
}

/// The certificates that can't be got, each with what to do.
pub(super) fn failing(status: &StatusView) -> String {
    let mut out = String::new();
    for one in status.failing.iter().take(TOLD) {
        let (code, stage, failures) = (&one.code, &one.stage, one.failures);
        let again = again(&one.retry_at);
        out.push_str(&format!(
            "failing       {}: {} ({code} at {stage}, {failures} times; {again})\n              {}\n",
            one.name, one.detail, one.action
        ));
    }
    if status.certificates_failing > TOLD {
        let more = status.certificates_failing - TOLD;
        out.push_str(&format!("              and {more} more: gatewright cert list\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn detail() -> CertDetail {
        let failure = json!({
            "stage": "validation", "code": "dns", "detail": "no A record", "action": "Add one.",
            "problem": { "type": "urn:x" },
        });
        let mut cert = json!({
            "name": "a.example", "status": "failed", "names": [], "revision": "e:1",
            "issuance": {
                "failures": 2, "failure": failure, "retry_at": "2026-01-01T01:00:00Z",
                "started_at": null, "stage": null, "requested_at": null, "window": null,
            },
            "attempts": [{
                "at": "2026-01-01T00:00:00Z", "took_ms": 1250, "holder": "api-1",
                "directory": "https://ca.test/d", "failure": failure,
            }],
        });
        for member in [
            "source",
            "issuer",
            "serial",
            "sha256",
            "key_kind",
            "not_before",
            "not_after",
            "renew_at",
            "chain",
        ] {
            cert[member] = Value::Null;
        }
        serde_json::from_value(cert).unwrap()
    }

    #[test]
    fn one_that_fails_says_why_and_what_to_do() {
        assert_eq!(certs(&[]), "no certificates yet\n");
        assert_eq!(
            certs(&[detail().cert]),
            "NAME       STATUS  SOURCE  ENDS  RENEWED  NOTE\n\
             a.example  failed                         dns, 2 times; again at 2026-01-01T01:00:00Z\n"
        );
        let text = cert(&detail());
        for wanted in
            ["failing   2 attempts", "1.2", "dns at validation", "no A record\nAdd one.", "urn:x"]
        {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
    }
}

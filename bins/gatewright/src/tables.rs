//! Answers as people read them.

mod cert;
mod dns;

use api::types::{HistoryDetail, HistoryEntry, HostView, ImportAnswer, LookupAnswer, StatusView};
use comfy_table::{Table, presets};
use serde::Serialize;

pub(crate) use cert::{cert, certs};
pub(crate) use dns::{dns_domains, dns_kinds, dns_provider, dns_providers};

/// All hosts, a line each.
pub(crate) fn hosts(hosts: &[HostView]) -> String {
    if hosts.is_empty() {
        return "no hosts yet\n".to_owned();
    }
    let mut table = table(["HOST", "UPSTREAMS", "HTTPS", "CERTIFICATE", "ENABLED"]);
    for host in hosts {
        table.add_row([
            host.host.clone(),
            host.upstreams.join(", "),
            if host.force_https { "forced" } else { "optional" }.to_owned(),
            format!("{} ({})", word(&host.certificate), word(&host.certificate_status)),
            yes(host.enabled),
        ]);
    }
    finish(&table)
}

/// One host, a line per field.
pub(crate) fn host(host: &HostView) -> String {
    fields(&[
        ("host", host.host.clone()),
        ("upstreams", host.upstreams.join(", ")),
        ("upstream_tls", word(&host.upstream_tls)),
        ("preserve_host", yes(host.preserve_host)),
        ("force_https", yes(host.force_https)),
        (
            "certificate",
            format!("{} ({})", word(&host.certificate), word(&host.certificate_status)),
        ),
        ("enabled", yes(host.enabled)),
        ("etag", host.etag.clone().unwrap_or_default()),
        ("revision", host.revision.clone()),
        (
            "created",
            format!("{} by {}", host.created_at, host.created_by.as_deref().unwrap_or("?")),
        ),
        ("updated", host.updated_at.clone()),
    ])
}

/// One thing, a line per field.
fn fields(fields: &[(&str, String)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, value) in fields {
        table.add_row([*name, value]);
    }
    finish(&table)
}

/// Where a name leads, and what lost.
pub(crate) fn lookup(answer: &LookupAnswer) -> String {
    let mut table = table(["PATTERN", "WHY"]);
    for candidate in &answer.candidates {
        table.add_row([&candidate.pattern, &candidate.why]);
    }
    let pattern = answer.matched.as_deref().unwrap_or("nothing");
    format!("{} leads to {pattern}\n\n{}", answer.name, finish(&table))
}

/// What was written, a line each.
pub(crate) fn events(events: &[HistoryEntry]) -> String {
    if events.is_empty() {
        return "nothing was written\n".to_owned();
    }
    let mut table = table(["N", "AT", "BY", "WHAT", "RECORD", "WHY"]);
    for event in events {
        table.add_row([
            event.number.to_string(),
            event.at.clone(),
            event.by.clone().unwrap_or_default(),
            event.verb.clone(),
            format!("{} {}", event.collection, event.id),
            event.why.clone().unwrap_or_default(),
        ]);
    }
    finish(&table)
}

/// One write and what it changed.
pub(crate) fn event(detail: &HistoryDetail) -> String {
    let entry = &detail.entry;
    let by = entry.by.as_deref().unwrap_or("the program");
    let why = entry.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    let mut out = format!(
        "{}  {} {} {} by {by} at {}{why}\n",
        entry.number, entry.verb, entry.collection, entry.id, entry.at
    );
    let mut table = table(["FIELD", "BEFORE", "AFTER"]);
    let text = |value: &Option<serde_json::Value>| match value {
        None => String::new(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    for change in &detail.changes {
        let field = change.pointer.trim_start_matches('/').to_owned();
        table.add_row([field, text(&change.before), text(&change.after)]);
    }
    for secret in &entry.secrets {
        table.add_row([secret.clone(), "(secret)".to_owned(), "(changed)".to_owned()]);
    }
    if !table.is_empty() {
        out.push('\n');
        out.push_str(&finish(&table));
    }
    out
}

/// What an import did or would do.
pub(crate) fn imported(answer: &ImportAnswer, dry_run: bool) -> String {
    let mut out = String::new();
    if dry_run {
        for change in &answer.changes {
            out.push_str(&format!("{} {} {}\n", change.verb, change.collection, change.id));
        }
        if answer.more > 0 {
            out.push_str(&format!("and {} more\n", answer.more));
        }
        out.push('\n');
    }
    let mut table = table(["COLLECTION", "CREATED", "UPDATED", "DELETED", "UNCHANGED"]);
    for (name, counts) in &answer.counts {
        let numbers = [counts.created, counts.updated, counts.deleted, counts.unchanged];
        let numbers = numbers.map(|number| number.to_string());
        table.add_row(std::iter::once(name.clone()).chain(numbers));
    }
    out.push_str(&finish(&table));
    out
}

/// How everything stands.
pub(crate) fn status(status: &StatusView) -> String {
    let store = match &status.store.revision {
        Some(revision) => format!("reachable, revision {revision}"),
        None => "not reachable".to_owned(),
    };
    let mut out = format!(
        "version       {}\nstore         {store}\ncertificates  {} ({} due, {} failing)\n",
        status.version, status.certificates, status.certificates_due, status.certificates_failing
    );
    out.push_str(&cert::failing(status));
    for proxy in &status.proxies {
        if let Some(guard) = &proxy.guard {
            let (reason, detail) = (&guard.reason, &guard.detail);
            out.push_str(&format!("guard         up at {}: {detail} ({reason})\n", proxy.instance));
        }
    }
    if let Some(guard) = &status.guard {
        out.push_str(&format!("              {}\n", guard.action));
    }
    let mut proxies = table([
        "PROXY", "ADDRESS", "VERSION", "REVISION", "BEHIND", "WORKERS", "HOSTS", "CERTS",
        "REJECTED",
    ]);
    for proxy in &status.proxies {
        proxies.add_row([
            proxy.instance.clone(),
            proxy.address.clone(),
            proxy.version.clone(),
            proxy.revision.clone(),
            proxy.lag.map_or("another store".to_owned(), |lag| lag.to_string()),
            proxy.workers.to_string(),
            proxy.hosts.to_string(),
            proxy.certificates.to_string(),
            proxy.rejected.len().to_string(),
        ]);
    }
    let mut tasks = table(["TASK", "RUNS", "LAST", "OUTCOME"]);
    for task in &status.tasks {
        let outcome =
            task.error.as_ref().map(|error| format!("failed: {error}")).or(task.done.clone());
        tasks.add_row([
            task.name.clone(),
            task.activations.to_string(),
            task.last_finished.clone().unwrap_or_default(),
            outcome.unwrap_or_default(),
        ]);
    }
    for table in [proxies, tasks] {
        if !table.is_empty() {
            out.push('\n');
            out.push_str(&finish(&table));
        }
    }
    for rejected in status.proxies.iter().flat_map(|proxy| &proxy.rejected) {
        out.push_str(&format!("\nrejected {}: {}", rejected.key, rejected.reason));
    }
    for proxy in &status.proxies {
        for it in &proxy.ailing {
            let (host, upstream, state, since) = (&it.host, &it.upstream, &it.state, &it.since);
            out.push_str(&format!(
                "\n{state} {upstream} of {host} at {} since {since}",
                proxy.instance
            ));
        }
    }
    out
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

/// The lines without the blanks that fill them up.
fn finish(table: &Table) -> String {
    let mut out = table.trim_fmt();
    out = out
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n");
    out.push('\n');
    out
}

fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// The word that JSON has for one of several.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn example() -> HostView {
        let host = json!({
            "host": "*.a.test", "upstreams": ["127.0.0.1:1", "app:80"], "upstream_tls": "off",
            "preserve_host": true, "force_https": false, "certificate": "local", "enabled": true,
            "revision": "e:1", "created_at": "2026-01-01T00:00:00.000Z",
            "updated_at": "2026-01-01T00:00:00.000Z", "certificate_status": "pending",
        });
        serde_json::from_value(host).unwrap()
    }

    #[test]
    fn hosts_are_aligned_without_trailing_blanks() {
        assert_eq!(hosts(&[]), "no hosts yet\n");
        assert_eq!(
            hosts(&[example()]),
            "HOST      UPSTREAMS            HTTPS     CERTIFICATE      ENABLED\n\
             *.a.test  127.0.0.1:1, app:80  optional  local (pending)  yes\n"
        );
    }

    #[test]
    fn a_host_shows_every_field() {
        let text = host(&example());
        for wanted in ["upstream_tls   off", "force_https    no", "created        2026", "by ?"] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
    }
}

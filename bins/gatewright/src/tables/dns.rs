use api::types::{DnsDomain, DnsKind, DnsProviderView};

use super::{fields, finish, table};

/// The kinds of providers, with their settings.
pub(crate) fn dns_kinds(kinds: &[DnsKind]) -> String {
    let mut out = String::new();
    for kind in kinds {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&format!("{}: {}\n{}\n", kind.id, kind.title, kind.help));
        for field in &kind.fields {
            let need = if field.required { "" } else { ", optional" };
            let secret = if field.secret { "credential" } else { "setting" };
            out.push_str(&format!("  {} ({secret}{need}): {}\n", field.name, field.help));
        }
    }
    out
}

/// All providers, a line each.
pub(crate) fn dns_providers(providers: &[DnsProviderView]) -> String {
    if providers.is_empty() {
        return "no DNS providers yet\n".to_owned();
    }
    let mut table = table(["ID", "KIND", "ZONES", "CHANGED"]);
    for provider in providers {
        table.add_row([
            provider.id.clone(),
            provider.kind.clone(),
            provider.zones.len().to_string(),
            provider.updated_at.clone(),
        ]);
    }
    finish(&table)
}

/// One provider, a line per field.
pub(crate) fn dns_provider(provider: &DnsProviderView) -> String {
    let by = provider.created_by.as_deref().unwrap_or("?");
    let settings = provider.settings.iter().map(|(name, value)| format!("{name}={value}"));
    let secrets = provider.credentials_set.iter().map(|name| format!("{name} (set)"));
    fields(&[
        ("id", provider.id.clone()),
        ("kind", provider.kind.clone()),
        ("settings", settings.collect::<Vec<_>>().join(" ")),
        ("credentials", secrets.collect::<Vec<_>>().join(", ")),
        ("nameservers", provider.nameservers.join(", ")),
        ("zones", provider.zones.join(", ")),
        ("etag", provider.etag.clone().unwrap_or_default()),
        ("revision", provider.revision.clone()),
        ("created", format!("{} by {by}", provider.created_at)),
        ("updated", provider.updated_at.clone()),
    ])
}

/// All zones, a line each.
pub(crate) fn dns_domains(domains: &[DnsDomain]) -> String {
    if domains.is_empty() {
        return "no zones are known\n".to_owned();
    }
    let mut table = table(["ZONE", "PROVIDER", "SEEN SINCE"]);
    for domain in domains {
        table.add_row([&domain.name, &domain.provider, &domain.seen_at]);
    }
    finish(&table)
}

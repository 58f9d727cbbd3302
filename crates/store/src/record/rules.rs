//! The rules of a host, in the fields of the older layout where those can say them, and beside them in one of our own.

use std::collections::BTreeMap;

use model::{HostRules, HstsRules, RateRules};

use super::{Reader, Writer};
use crate::BadRecord;

pub(super) fn write(rules: Option<&HostRules>, writer: Writer) -> Writer {
    let Some(rules) = rules else { return writer };
    // Password hashes stand by themselves, so that what is shown and told of a host need not show them.
    let told = HostRules { basic_auth: None, ..rules.clone() };
    let mut writer = writer;
    if told != HostRules::default() {
        writer = writer.set_json("gw_rules", &told);
    }
    if let Some(basic) = &rules.basic_auth {
        writer = writer.set_json("gw_basic_auth", basic);
    }
    if !rules.allow.is_empty() {
        writer = writer.set_json("ip_allow", &rules.allow);
    }
    if !rules.deny.is_empty() {
        writer = writer.set_json("ip_deny", &rules.deny);
    }
    if !rules.request_headers.set.is_empty() {
        writer = writer.set_json("req_headers", &rules.request_headers.set);
    }
    if !rules.response_headers.set.is_empty() {
        writer = writer.set_json("resp_headers", &rules.response_headers.set);
    }
    if rules.hsts.is_some() {
        writer = writer.set("hsts_enabled", true);
    }
    if let [rate] = &rules.rate_limit[..]
        && let Some((rate, burst)) = older_rate(rate)
    {
        writer = writer
            .set("ratelimit_enabled", true)
            .set("ratelimit_rate", rate)
            .set("ratelimit_burst", burst);
    }
    writer
}

/// The rules as they are. What the older fields say, they say last: somebody who knows only those may have changed
/// them since.
pub(super) fn read(reader: &Reader<'_>) -> Result<HostRules, BadRecord> {
    let mut rules: HostRules = reader.json("gw_rules")?;
    rules.basic_auth = reader.json("gw_basic_auth")?;
    if reader.text("ip_allow").is_some() {
        rules.allow = reader.json("ip_allow")?;
    }
    if reader.text("ip_deny").is_some() {
        rules.deny = reader.json("ip_deny")?;
    }
    if reader.text("req_headers").is_some() {
        rules.request_headers.set = reader.json::<BTreeMap<String, String>>("req_headers")?;
    }
    if reader.text("resp_headers").is_some() {
        rules.response_headers.set = reader.json::<BTreeMap<String, String>>("resp_headers")?;
    }
    if reader.flag("hsts_enabled", false) {
        rules.hsts.get_or_insert(HstsRules::default());
    }
    if reader.flag("ratelimit_enabled", false) {
        let (rate, burst) = (reader.parse("ratelimit_rate")?, reader.parse("ratelimit_burst")?);
        let told = match &rules.rate_limit[..] {
            [own] => older_rate(own) == Some((rate, burst)),
            _ => false,
        };
        if !told {
            rules.rate_limit = vec![of_older(rate, burst)];
        }
    }
    Ok(rules)
}

/// What guards a host that only the older data plane knows how to ask.
pub(super) fn foreign_gate(reader: &Reader<'_>) -> Option<&'static str> {
    if reader.flag("basicauth_enabled", false) {
        return Some("basicauth_enabled");
    }
    reader.flag("sso_enabled", false).then_some("sso_enabled")
}

/// Requests in a second and how many more at once, as the older fields say them; `None` for what they can't say.
fn older_rate(rate: &RateRules) -> Option<(u32, u32)> {
    let says =
        rate.per_seconds == 1 && rate.by == "client" && rate.name == RateRules::default().name;
    let burst = rate.burst.unwrap_or(rate.requests);
    (says && burst >= 1).then_some((rate.requests, burst - 1))
}

/// The older bound lets `burst` requests pass at once beyond the one that is always due.
fn of_older(rate: u32, burst: u32) -> RateRules {
    RateRules { requests: rate, burst: Some(burst.saturating_add(1)), ..RateRules::default() }
}

use model::{Host, HostPattern, Timestamp, Upstream, UpstreamTls};

use super::{Reader, Record, Writer, rules};
use crate::{BadRecord, Collection, Error, Fields, Sealer};

/// The fields of the older layout tell the truth wherever they can: an older control plane, its lookup script and
/// `redis-cli` read and write them. What they can't say stands beside them in `gw_*` fields, which are believed only
/// as long as they agree.
///
/// * `ip`, `targetPort` — the first upstream; **no `ip`, no route** for an older reader. So a disabled host has none,
///   and neither has one whose upstreams an older reader can't use (it splits addresses at the first colon).
/// * `targets` — the other upstreams, a JSON list of `address:port`; without a port: that of the first.
/// * `targetssl` — HTTPS to the upstream with any certificate; `gw_upstream_tls` = `verify` asks for a valid one.
/// * `gw_upstreams` — all upstreams, only where `ip` and `targets` don't tell them.
/// * `gw_enabled` = `false`, `gw_preserve_host` = `false`, `gw_certificate` — only where not the default.
/// * `ip_allow`, `ip_deny`, `req_headers`, `resp_headers`, `hsts_enabled`, `ratelimit_*` — what they can say of the rules; `gw_rules`,
///   JSON, says all of them.
/// * `basicauth_enabled`, `sso_enabled` — guards that only the older data plane knows: nobody is let in here.
/// * `is_cache` — a copy that an older lookup left behind: reads as disabled, since the pattern it was copied from
///   answers.
/// * `is_wildcard` — the older control plane keeps a certificate for this pattern; never written here.
///   Without `wildcard_matchAny` that is all the pattern is for: reads as disabled. An enabled pattern is written with it.
impl Record for Host {
    const COLLECTION: Collection = Collection::Host;
    const FIELDS: &'static [&'static str] = &[
        "host",
        "ip",
        "targetPort",
        "targets",
        "targetssl",
        "forcessl",
        "is_cache",
        "wildcard_matchAny",
        "created_on",
        "updated_on",
        "gw_upstreams",
        "gw_upstream_tls",
        "gw_preserve_host",
        "gw_certificate",
        "gw_enabled",
        "gw_rules",
        "gw_basic_auth",
        "ip_allow",
        "ip_deny",
        "req_headers",
        "resp_headers",
        "hsts_enabled",
        "ratelimit_enabled",
        "ratelimit_rate",
        "ratelimit_burst",
    ];

    fn id(&self) -> String {
        self.pattern.as_str().to_owned()
    }

    fn to_fields(&self, _: &Sealer) -> Result<Fields, Error> {
        let old = OldTargets::of(self);
        let told =
            old.as_ref().map_or(self.upstreams.is_empty(), |old| old.all() == self.upstreams);
        let default = Self::new(self.pattern.clone());
        let mut writer = Writer::default()
            .set("host", self.pattern.as_str())
            .set("targetssl", self.upstream_tls != UpstreamTls::Off)
            .set("forcessl", self.force_https)
            .set_some("created_by", self.created_by.as_ref())
            .set_millis("created_on", self.created_at)
            .set_millis("updated_on", self.updated_at);
        if let Some(old) = old {
            writer = writer
                .set("ip", old.first.host().to_string())
                .set("targetPort", old.first.port())
                .set_json("targets", &old.others);
        }
        if self.pattern.is_wildcard() && self.enabled {
            writer = writer.set("wildcard_matchAny", true);
        }
        if !told {
            writer = writer.set_json("gw_upstreams", &self.upstreams);
        }
        if self.upstream_tls == UpstreamTls::Verify {
            writer = writer.set_json("gw_upstream_tls", &self.upstream_tls);
        }
        if self.preserve_host != default.preserve_host {
            writer = writer.set("gw_preserve_host", self.preserve_host);
        }
        if self.certificate != default.certificate {
            writer = writer.set_json("gw_certificate", &self.certificate);
        }
        if !self.enabled {
            writer = writer.set("gw_enabled", false);
        }
        Ok(rules::write(self.rules.as_deref(), writer).done())
    }

    fn from_fields(id: &str, fields: &Fields, _: &Sealer) -> Result<Self, BadRecord> {
        let reader = Reader::new::<Self>(id, fields);
        let pattern: HostPattern = id.parse().map_err(|cause| reader.wrong("host", cause))?;
        // A name in another spelling would be a second record of the same host.
        reader.same_as_id("host", pattern.as_str())?;
        if let Some(host) = reader.text("host") {
            reader.same_as_id("host", host)?;
        }
        let mut host = Self::new(pattern);
        host.force_https = reader.flag("forcessl", host.force_https);
        host.upstream_tls = upstream_tls(&reader)?;
        host.preserve_host = reader.flag("gw_preserve_host", host.preserve_host);
        host.certificate = reader.word("gw_certificate")?;
        host.created_by = reader.text("created_by").and_then(|name| name.parse().ok());
        host.created_at = moment(&reader, "created_on");
        host.updated_at = moment(&reader, "updated_on");
        read_targets(&reader, &mut host)?;
        let certificate_only = host.pattern.is_wildcard()
            && reader.flag("is_wildcard", false)
            && !reader.flag("wildcard_matchAny", false);
        host.enabled &= !reader.flag("is_cache", false) && !certificate_only;
        host.set_rules(rules::read(&reader)?);
        host.foreign_gate = rules::foreign_gate(&reader);
        Ok(host)
    }
}

/// What `ip`, `targetPort` and `targets` say.
#[derive(Debug, PartialEq, Eq)]
struct OldTargets {
    first: Upstream,
    others: Vec<Upstream>,
}

impl OldTargets {
    /// What they have to say of a host: nothing when an older reader must not or can't route it.
    fn of(host: &Host) -> Option<Self> {
        let mut usable = host.upstreams.iter().filter(|upstream| is_usable(upstream)).cloned();
        let first = usable.next().filter(|_| host.enabled)?;
        Some(Self { first, others: usable.collect() })
    }

    fn read(reader: &Reader<'_>) -> Result<Option<Self>, BadRecord> {
        let Some(ip) = reader.text("ip") else { return Ok(None) };
        let port: u16 = reader.parse("targetPort")?;
        let upstream = |field: &str, text: &str| {
            text.parse::<Upstream>().map_err(|cause| reader.wrong(field, cause))
        };
        let first = upstream("ip", &with_port(ip, port))?;
        let others: Vec<String> = reader.json("targets")?;
        let others = others.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
        let others = others.map(|text| match text.contains(':') {
            true => upstream("targets", text),
            false => upstream("targets", &with_port(text, port)),
        });
        Ok(Some(Self { first, others: others.collect::<Result<_, _>>()? }))
    }

    fn all(&self) -> Vec<Upstream> {
        std::iter::once(&self.first).chain(&self.others).cloned().collect()
    }
}

/// Fills in `upstreams` and `enabled`.
fn read_targets(reader: &Reader<'_>, host: &mut Host) -> Result<(), BadRecord> {
    let old = OldTargets::read(reader)?;
    let told = old.as_ref().map(OldTargets::all).unwrap_or_default();
    host.enabled = reader.flag("gw_enabled", true);
    host.upstreams = match reader.text("gw_upstreams") {
        Some(_) => reader.json("gw_upstreams")?,
        None => told.clone(),
    };
    if OldTargets::of(host) != old {
        // Somebody who knows the older fields only has changed them since.
        host.enabled = true;
        host.upstreams = told;
    }
    Ok(())
}

fn upstream_tls(reader: &Reader<'_>) -> Result<UpstreamTls, BadRecord> {
    if !reader.flag("targetssl", false) {
        return Ok(UpstreamTls::Off);
    }
    Ok(match reader.word("gw_upstream_tls")? {
        UpstreamTls::Verify => UpstreamTls::Verify,
        _ => UpstreamTls::Insecure,
    })
}

/// Whether an older reader, which splits `address:port` at the first colon, can use it.
fn is_usable(upstream: &Upstream) -> bool {
    !upstream.host().to_string().contains(':')
}

fn with_port(host: &str, port: u16) -> String {
    format!("{host}:{port}")
}

/// A moment for people to read; one that can't be read costs nothing else.
fn moment(reader: &Reader<'_>, name: &str) -> Timestamp {
    reader.millis(name).unwrap_or(Timestamp::from_millis(0))
}

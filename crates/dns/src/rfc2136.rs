//! One's own name servers, by dynamic updates (RFC 2136) signed with a TSIG (RFC 8945): BIND, Knot, PowerDNS, Windows and others.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hickory_resolver::net::runtime::{Time, TokioTime};
use hickory_resolver::proto::op::{Message, OpCode, Query, ResponseCode, update_message};
use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordSet, RecordType, TSigner};
use http::uri::Authority;
use tokio::net::lookup_host;

use crate::exchange::{Reply, Transport, exchange};
use crate::form::Form;
use crate::resolver::parse;
use crate::{BoxFuture, DnsProvider, Error, Field, Kind, Options, Zone};

pub(crate) const KIND: Kind = Kind {
    id: "rfc2136",
    title: "RFC 2136 (own name servers)",
    help: "A TSIG key that the primary server allows to update TXT records in the zones: allow-update or update-policy in BIND, an \
           acl with action update in Knot.",
    fields: &[
        Field::text("server", "Primary server", "host:port; port 53 when left out"),
        Field::text("zones", "Zones", "Those that the key may update, separated by commas"),
        Field::text("key_name", "Key name", "As the server knows it"),
        Field::secret("key_secret", "Key secret", "Base64, as in the server's configuration"),
        Field::text(
            "algorithm",
            "Algorithm",
            "hmac-sha256, hmac-sha384 or hmac-sha512; hmac-sha256 when left out",
        )
        .optional(),
        Field::text(
            "transport",
            "Transport",
            "udp (then tcp, when no answer comes) or tcp alone; udp when left out",
        )
        .optional(),
    ],
    build,
};

const TTL: u32 = 60;
/// How far the clocks may differ, in seconds (RFC 8945 §10).
const FUDGE: u16 = 300;
const DNS_PORT: u16 = 53;
/// What fits into one of the strings of a TXT record (RFC 1035 §3.3).
const STRING: usize = 255;

struct Rfc2136 {
    host: String,
    port: u16,
    zones: Vec<Zone>,
    signer: TSigner,
    transport: Transport,
    options: Options,
}

fn build(mut form: Form<'_>, options: Options) -> Result<Arc<dyn DnsProvider>, Error> {
    let server = server(&mut form);
    let zones = form.names("zones").into_iter().map(|name| Zone { id: name.clone(), name });
    let zones = zones.collect();
    let signer = signer(&mut form);
    let transport = match form.get("transport") {
        None | Some("udp") => Transport::UdpThenTcp,
        Some("tcp") => Transport::Tcp,
        Some(_) => {
            form.fault("transport", "must be udp or tcp");
            Transport::UdpThenTcp
        }
    };
    let ((host, port), signer) = form.finish(server.zip(signer))?;
    Ok(Arc::new(Rfc2136 { host, port, zones, signer, transport, options }))
}

fn server(form: &mut Form<'_>) -> Option<(String, u16)> {
    let text = form.get("server")?;
    match text.parse::<Authority>() {
        Ok(it) if !it.as_str().contains('@') && !it.host().is_empty() => {
            let host = it.host().trim_matches(['[', ']']).to_owned();
            Some((host, it.port_u16().unwrap_or(DNS_PORT)))
        }
        _ => {
            form.fault("server", "must be host:port, an IPv6 address in brackets");
            None
        }
    }
}

fn signer(form: &mut Form<'_>) -> Option<TSigner> {
    let algorithm = match form.get("algorithm") {
        None | Some("hmac-sha256") => Some(TsigAlgorithm::HmacSha256),
        Some("hmac-sha384") => Some(TsigAlgorithm::HmacSha384),
        Some("hmac-sha512") => Some(TsigAlgorithm::HmacSha512),
        Some(_) => {
            form.fault("algorithm", "must be hmac-sha256, hmac-sha384 or hmac-sha512");
            None
        }
    };
    let secret = form.get("key_secret").and_then(|it| match STANDARD.decode(it) {
        Ok(secret) => Some(secret),
        Err(_) => {
            form.fault("key_secret", "is not base64");
            None
        }
    });
    let name = form.get("key_name").and_then(|it| match parse(it) {
        Ok(name) => Some(name.to_lowercase()),
        Err(_) => {
            form.fault("key_name", "is not a DNS name");
            None
        }
    });
    TSigner::new(secret?, algorithm?, name?, FUDGE).ok()
}

impl DnsProvider for Rfc2136 {
    fn kind(&self) -> &'static str {
        KIND.id
    }

    /// Those of the settings, each proved by an update that changes nothing.
    fn zones(&self) -> BoxFuture<'_, Result<Vec<Zone>, Error>> {
        Box::pin(async {
            for zone in &self.zones {
                let mut nothing = Message::query();
                nothing.metadata.op_code = OpCode::Update;
                nothing.metadata.recursion_desired = false;
                nothing.add_query(Query::query(parse(&zone.name)?, RecordType::SOA));
                self.update(zone, nothing).await?;
            }
            Ok(self.zones.clone())
        })
    }

    fn append_txt<'a>(
        &'a self,
        zone: &'a Zone,
        name: &'a str,
        value: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let (origin, set) = set(zone, name, value)?;
            self.update(zone, update_message::append(set, origin, false, false)).await
        })
    }

    fn remove_txt<'a>(
        &'a self,
        zone: &'a Zone,
        name: &'a str,
        value: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let (origin, set) = set(zone, name, value)?;
            self.update(zone, update_message::delete_by_rdata(set, origin, false)).await
        })
    }
}

impl Rfc2136 {
    /// Sends an update until the server takes or refuses it. The same update twice is the same as once (RFC 2136 §3.4.2).
    async fn update(&self, zone: &Zone, message: Message) -> Result<(), Error> {
        let mut tried = 1;
        loop {
            let error = match self.try_once(zone, &message).await {
                Err(error @ Error::Unreachable { .. }) if tried < self.options.attempts => error,
                done => return done,
            };
            tracing::debug!(server = self.host, zone = zone.name, %error, tried, "update");
            tokio::time::sleep(self.options.backoff(tried)).await;
            tried += 1;
        }
    }

    async fn try_once(&self, zone: &Zone, message: &Message) -> Result<(), Error> {
        let addrs = lookup_host((self.host.as_str(), self.port)).await;
        let addrs: Vec<_> = addrs.map_err(|it| self.unreachable("no address", it))?.collect();
        let mut failure = None;
        for addr in addrs {
            match self.ask(addr, message.clone()).await {
                Ok((reply, mut verifier)) => {
                    self.judge(zone, &reply)?;
                    let verified = verifier.as_mut().map(|it| it.verify(&reply.bytes).map(drop));
                    return verified.unwrap_or(Ok(())).map_err(|it| {
                        self.unreachable("the answer does not carry the key's signature", it)
                    });
                }
                Err(error) => failure = Some(error),
            }
        }
        let failure = failure.unwrap_or_else(|| ErrorKind::NotFound.into());
        Err(self.unreachable("no answer", failure))
    }

    async fn ask(
        &self,
        addr: SocketAddr,
        mut message: Message,
    ) -> std::io::Result<(Reply, Option<hickory_resolver::proto::rr::TSigVerifier>)> {
        // A new id each time, so that a late answer to the last try is not taken for one to this.
        message.metadata.id = Message::query().metadata.id;
        let verifier = message.finalize(&self.signer, TokioTime::current_time());
        let verifier = verifier.map_err(std::io::Error::other)?;
        let bytes = message.to_vec().map_err(std::io::Error::other)?;
        let patience = self.options.timeout / 2;
        let reply = exchange(addr, self.transport, &message, &bytes, patience).await?;
        Ok((reply, verifier))
    }

    /// What the server says of the update (RFC 2136 §2.2, RFC 8945 §5).
    fn judge(&self, zone: &Zone, reply: &Reply) -> Result<(), Error> {
        let provider = KIND.id;
        let code = reply.message.metadata.response_code;
        let tsig = reply.message.signature().and_then(|it| it.data.error);
        let words = format!("{code} for the zone {}", zone.name);
        match (code, tsig) {
            (ResponseCode::NoError, None) => Ok(()),
            (_, Some(error)) => {
                let message = format!("{words}, the key is answered with {error:?}");
                Err(Error::Credentials { provider, message })
            }
            (ResponseCode::Refused, None) => Err(Error::Credentials { provider, message: words }),
            (ResponseCode::ServFail, None) => {
                Err(Error::Unreachable { provider, message: words, source: None })
            }
            _ => Err(Error::Refused { provider, message: words }),
        }
    }

    fn unreachable(
        &self,
        what: &str,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Error {
        Error::Unreachable {
            provider: KIND.id,
            message: format!("{}:{}: {what}", self.host, self.port),
            source: Some(Box::new(source)),
        }
    }
}

/// One TXT value as a set of records, and the zone's name.
fn set(zone: &Zone, name: &str, value: &str) -> Result<(Name, RecordSet), Error> {
    let (origin, owner) = (parse(&zone.name)?, parse(name)?);
    if !origin.zone_of(&owner) {
        let message = format!("{name} is not in the zone {}", zone.name);
        return Err(Error::Refused { provider: KIND.id, message });
    }
    let strings = value.as_bytes().chunks(STRING).collect();
    let record = Record::from_rdata(owner, TTL, RData::TXT(TXT::from_bytes(strings)));
    Ok((origin, record.into()))
}

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use hickory_resolver::proto::op::{Edns, Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::time::Instant;

use crate::exchange::{MAX_DATAGRAM, Transport, exchange};
use crate::resolver::parse;
use crate::{Error, Resolver};

/// Between two rounds of questions, doubling from the first to the second.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];
/// How long one server may take for an answer, on UDP and on TCP each.
const PATIENCE: Duration = Duration::from_secs(2);
/// Rounds after which a server that gave no useful answer is passed over, if another shows the values.
const TRIES: u32 = 3;
const DNS_PORT: u16 = 53;

/// Asks the authoritative name servers of a zone, and no cache, whether TXT values have arrived.
///
/// An authority asks any one of them, so all must show the values. A server that refuses, does not answer or is not
/// authoritative is of no use to the authority either, which goes on to the next: after three rounds it is passed over, provided
/// that another server shows the values, and is named in the [`Report`]. One that answers and lacks a value is waited for to the end.
#[derive(Clone)]
pub struct Propagation {
    resolver: Resolver,
}

impl Propagation {
    /// The name servers of zones are looked up through `resolver`.
    pub fn new(resolver: Resolver) -> Self {
        Self { resolver }
    }

    /// The authoritative servers of a zone: each address of each name in its NS records, port 53.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when they can't be found.
    pub async fn name_servers(&self, zone: &str) -> Result<Vec<NameServer>, Error> {
        let names = self.resolver.name_servers(zone).await?;
        let lookups = names.iter().map(async |name| (name, self.resolver.addresses(name).await));
        let mut servers = Vec::new();
        let mut failure = None;
        for (name, addresses) in join_all(lookups).await {
            match addresses {
                Ok(addresses) => servers.extend(addresses.into_iter().map(|ip| NameServer {
                    name: Some(name.clone()),
                    addr: SocketAddr::new(ip, DNS_PORT),
                })),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            _ if !servers.is_empty() => Ok(servers),
            Some(failure) => Err(failure),
            None => Err(Error::Unreachable {
                provider: "DNS",
                message: format!("{zone} has no name servers with an address"),
                source: None,
            }),
        }
    }

    /// Waits until every name server shows all `values` at `name`, at most until `deadline`, and tells which did not.
    ///
    /// `servers` are those that a provider's settings fix; empty: those of [`name_servers`](Self::name_servers).
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the name servers of the zone can't be found by the deadline; that values did not arrive is no
    /// error but a [`Report`].
    pub async fn wait(
        &self,
        zone: &str,
        servers: &[SocketAddr],
        name: &str,
        values: &[&str],
        deadline: Instant,
    ) -> Result<Report, Error> {
        let question = question(name)?;
        let servers = if servers.is_empty() {
            let found = tokio::time::timeout_at(deadline, self.name_servers(zone)).await;
            found.unwrap_or_else(|_| {
                Err(Error::Unreachable {
                    provider: "DNS",
                    message: format!("the name servers of {zone} were not found in time"),
                    source: None,
                })
            })?
        } else {
            servers.iter().map(|addr| NameServer { name: None, addr: *addr }).collect()
        };
        let mut asked: Vec<_> = servers.into_iter().map(Asked::new).collect();
        let mut pause = PAUSES[0];
        loop {
            let open = asked.iter_mut().filter(|it| it.state != State::Shows);
            join_all(open.map(|it| it.ask(&question, values, deadline))).await;
            let report = Report::of(name, &asked);
            if report.arrived() || Instant::now() + pause >= deadline {
                return Ok(report);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES[1]);
        }
    }
}

/// One address of an authoritative server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServer {
    /// By NS records; `None` when a setting named the address.
    pub name: Option<String>,
    /// Where it is asked.
    pub addr: SocketAddr,
}

impl fmt::Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} ({})", self.addr),
            None => write!(f, "{}", self.addr),
        }
    }
}

/// What the name servers said last. Reads as a sentence for an error message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The name that was asked for.
    pub name: String,
    /// Those that show every value.
    pub showing: Vec<NameServer>,
    /// Those that answer and lack a value.
    pub lacking: Vec<NameServer>,
    /// Those of no use, and why.
    pub silent: Vec<(NameServer, String)>,
    tries: u32,
}

impl Report {
    /// Whether the authority can be told to look.
    pub fn arrived(&self) -> bool {
        let passed_over = self.silent.is_empty() || self.tries >= TRIES;
        !self.showing.is_empty() && self.lacking.is_empty() && passed_over
    }

    fn of(name: &str, asked: &[Asked]) -> Self {
        let mut report = Self {
            name: name.to_owned(),
            showing: Vec::new(),
            lacking: Vec::new(),
            silent: Vec::new(),
            tries: u32::MAX,
        };
        for Asked { server, state, silent_tries } in asked {
            match state {
                State::Shows => report.showing.push(server.clone()),
                State::Lacks => report.lacking.push(server.clone()),
                State::Silent(why) => {
                    report.tries = report.tries.min(*silent_tries);
                    report.silent.push((server.clone(), why.clone()));
                }
            }
        }
        report
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the TXT values of {}: {} servers show them", self.name, self.showing.len())?;
        self.lacking.iter().try_for_each(|it| write!(f, "; {it} does not"))?;
        self.silent.iter().try_for_each(|(it, why)| write!(f, "; {it} is of no use: {why}"))
    }
}

/// A server and what came of asking it.
struct Asked {
    server: NameServer,
    state: State,
    /// Rounds in a row that it was of no use.
    silent_tries: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Shows,
    Lacks,
    Silent(String),
}

impl Asked {
    fn new(server: NameServer) -> Self {
        Self { server, state: State::Silent("not asked".to_owned()), silent_tries: 0 }
    }

    async fn ask(&mut self, question: &Message, values: &[&str], deadline: Instant) {
        // A new id each time; the rest of the question is the same.
        let mut question = question.clone();
        question.metadata.id = Message::query().metadata.id;
        self.state = match tokio::time::timeout_at(deadline, self.answer(&question)).await {
            Ok(Ok(reply)) => judge(&reply, values),
            Ok(Err(error)) => State::Silent(error.to_string()),
            Err(_) => State::Silent("no answer by the deadline".to_owned()),
        };
        let silent = matches!(self.state, State::Silent(_));
        self.silent_tries = if silent { self.silent_tries + 1 } else { 0 };
    }

    async fn answer(&self, question: &Message) -> std::io::Result<Message> {
        let bytes = question.to_vec().map_err(std::io::Error::other)?;
        let both = Transport::UdpThenTcp;
        let reply = exchange(self.server.addr, both, question, &bytes, PATIENCE).await?;
        Ok(reply.message)
    }
}

/// What a reply says of the values. Only an authoritative one can say that they are not there (RFC 1034 §4.3.1).
fn judge(reply: &Message, values: &[&str]) -> State {
    let shown = reply.answers.iter().filter_map(|record| match &record.data {
        RData::TXT(txt) => Some(txt.txt_data.concat()),
        _ => None,
    });
    let shown: Vec<_> = shown.collect();
    if values.iter().all(|value| shown.iter().any(|it| it == value.as_bytes())) {
        return State::Shows;
    }
    match reply.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain if reply.metadata.authoritative => {
            State::Lacks
        }
        ResponseCode::NoError | ResponseCode::NXDomain => {
            State::Silent("it is not authoritative for the name".to_owned())
        }
        code => State::Silent(format!("it answers {code}")),
    }
}

/// The question for TXT at a name: not recursive, room for many values.
fn question(name: &str) -> Result<Message, Error> {
    let mut message = Message::query();
    message.metadata.recursion_desired = false;
    message.add_query(Query::query(parse(name)?, RecordType::TXT));
    let mut edns = Edns::new();
    edns.set_max_payload(MAX_DATAGRAM);
    message.set_edns(edns);
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(state: State, silent_tries: u32) -> Asked {
        let addr = SocketAddr::from(([192, 0, 2, 1], 53));
        Asked { server: NameServer { name: Some("ns.test".into()), addr }, state, silent_tries }
    }

    #[test]
    fn a_silent_server_is_passed_over_only_after_its_tries_and_beside_another() {
        let silent = |tries| asked(State::Silent("timed out".into()), tries);
        let arrived = |asked: &[Asked]| Report::of("x.test", asked).arrived();
        assert!(arrived(&[asked(State::Shows, 0)]));
        assert!(!arrived(&[]));
        assert!(!arrived(&[asked(State::Shows, 0), asked(State::Lacks, 0)]));
        assert!(!arrived(&[asked(State::Shows, 0), silent(TRIES - 1)]));
        assert!(arrived(&[asked(State::Shows, 0), silent(TRIES)]));
        assert!(!arrived(&[asked(State::Shows, 0), silent(TRIES), silent(TRIES - 1)]));
        assert!(!arrived(&[silent(TRIES + 1)]), "nobody shows it");
        assert!(!arrived(&[asked(State::Lacks, 0), silent(TRIES)]));
    }

    #[test]
    fn the_report_names_who_lacks_what() {
        let report = Report::of(
            "_acme-challenge.x.test",
            &[
                asked(State::Shows, 0),
                asked(State::Lacks, 0),
                asked(State::Silent("timed out".into()), 1),
            ],
        );
        assert_eq!(
            report.to_string(),
            "the TXT values of _acme-challenge.x.test: 1 servers show them; ns.test (192.0.2.1:53) does not; \
             ns.test (192.0.2.1:53) is of no use: timed out"
        );
    }
}

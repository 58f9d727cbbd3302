use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{TokioResolver, lookup::Lookup, system_conf};

use crate::Error;

const PATIENCE: Duration = Duration::from_secs(3);
const ATTEMPTS: usize = 2;

/// Recursive resolvers, asked without a cache: a value that was just written must not be hidden by an old answer.
#[derive(Clone)]
pub struct Resolver(TokioResolver);

impl Resolver {
    /// Those of the machine (`/etc/resolv.conf`).
    ///
    /// # Errors
    /// [`Error::Settings`] when that can't be read.
    pub fn system() -> Result<Self, Error> {
        let (config, options) =
            system_conf::read_system_conf().map_err(|error| settings(&error))?;
        Self::build(config, options)
    }

    /// These, each with its port. Empty: those of the machine.
    ///
    /// # Errors
    /// As [`system`](Self::system).
    pub fn of(servers: &[SocketAddr]) -> Result<Self, Error> {
        if servers.is_empty() {
            return Self::system();
        }
        let servers = servers.iter().map(|server| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut it| {
                it.port = server.port();
                it
            });
            NameServerConfig::new(server.ip(), true, connections.into())
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        Self::build(config, ResolverOpts::default())
    }

    fn build(config: ResolverConfig, mut options: ResolverOpts) -> Result<Self, Error> {
        options.cache_size = 0;
        options.timeout = PATIENCE;
        options.attempts = ATTEMPTS;
        options.use_hosts_file = ResolveHosts::Never;
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        builder.build().map(Self).map_err(|error| settings(&error))
    }

    /// Where the name's CNAME points, if it has one.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when no resolver says yes or no.
    pub async fn cname(&self, name: &str) -> Result<Option<String>, Error> {
        let owner = parse(name)?;
        let records = self.records(&owner, RecordType::CNAME).await?;
        Ok(records.iter().flat_map(Lookup::answers).find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == owner => Some(text(&target.0)),
            _ => None,
        }))
    }

    /// The name servers of a zone by its NS records, without a dot at the end. Empty when there are none.
    ///
    /// # Errors
    /// As [`cname`](Self::cname).
    pub async fn name_servers(&self, zone: &str) -> Result<BTreeSet<String>, Error> {
        let records = self.records(&parse(zone)?, RecordType::NS).await?;
        let names = records.iter().flat_map(Lookup::answers).filter_map(|it| match &it.data {
            RData::NS(target) => Some(text(&target.0)),
            _ => None,
        });
        Ok(names.collect())
    }

    /// The addresses of a name, IPv4 and IPv6. Empty when it has none.
    ///
    /// # Errors
    /// As [`cname`](Self::cname).
    pub async fn addresses(&self, name: &str) -> Result<BTreeSet<IpAddr>, Error> {
        let name = parse(name)?;
        let (v4, v6) =
            tokio::join!(self.records(&name, RecordType::A), self.records(&name, RecordType::AAAA));
        let of_record = |data: &RData| match data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        };
        let both = [v4?, v6?];
        let answers = both.iter().flatten().flat_map(Lookup::answers);
        Ok(answers.filter_map(|it| of_record(&it.data)).collect())
    }

    /// `None` when the name or the type does not exist there.
    async fn records(&self, name: &Name, kind: RecordType) -> Result<Option<Lookup>, Error> {
        match self.0.lookup(name.clone(), kind).await {
            Ok(lookup) => Ok(Some(lookup)),
            Err(error) if error.is_no_records_found() => Ok(None),
            Err(error) => Err(Error::Unreachable {
                provider: "DNS resolver",
                message: format!("no answer to {kind} of {name}"),
                source: Some(Box::new(error)),
            }),
        }
    }
}

/// A name for a question, absolute whether it ends in a dot or not.
pub(crate) fn parse(name: &str) -> Result<Name, Error> {
    let mut parsed = Name::from_ascii(name).map_err(|error| Error::Settings {
        field: "name",
        message: format!("{name} is no DNS name: {error}"),
    })?;
    parsed.set_fqdn(true);
    Ok(parsed)
}

/// As names are written everywhere else here: lower case, no dot at the end.
pub(crate) fn text(name: &Name) -> String {
    let mut text = name.to_lowercase().to_ascii();
    if text.len() > 1 && text.ends_with('.') {
        text.pop();
    }
    text
}

fn settings(error: &NetError) -> Error {
    Error::Settings {
        field: "DNS_RESOLVERS",
        message: format!("the machine's resolvers can't be used: {error}; name some"),
    }
}

use std::fmt;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};

use crate::{CertTable, Error};

/// The cryptography that everything here uses: X25519MLKEM768 before the classical key exchanges.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Chooses a certificate by the name in the ClientHello: from the table, else its fallback.
pub fn resolver(table: Arc<CertTable>) -> Arc<dyn ResolvesServerCert> {
    Arc::new(Resolver(table))
}

/// How TLS is served: TLS 1.2 and 1.3, HTTP/2 and HTTP/1 by ALPN, resumption by one stateless ticket, no early data.
///
/// # Errors
/// [`Error::Tls`] when the system has no randomness for ticket keys.
pub fn server_config(table: &Arc<CertTable>) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(Error::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(resolver(table.clone()));
    config.alpn_protocols = ["h2", "http/1.1", "http/1.0"].map(|name| name.into()).to_vec();
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(Error::Tls)?;
    // One is enough for a client that resumes; each more costs every handshake. And no cache, which all workers would
    // share.
    config.send_tls13_tickets = 1;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // Early data can be replayed, and nothing here could tell.
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

struct Resolver(Arc<CertTable>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls gives the name in lower case.
        let name = hello.server_name().map(|name| name.strip_suffix('.').unwrap_or(name));
        let found = name.and_then(|name| self.0.find(name));
        let ready = found.and_then(|entry| entry.key());
        Some(ready.unwrap_or_else(|| self.0.fallback().clone()))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

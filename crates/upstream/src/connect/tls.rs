use std::io;
use std::sync::Arc;

use model::{UpstreamHttp, UpstreamTls};
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::danger_accept_any::AcceptAny;
use crate::Endpoint;

/// The client side of TLS. Configurations are made when first needed: reading the system's certificate
/// authorities takes milliseconds, and most upstreams are plain.
#[derive(Debug)]
pub(crate) struct ClientTls {
    extra_roots: Vec<CertificateDer<'static>>,
    verifying: Configs,
    insecure: Configs,
}

/// One for each version of HTTP.
#[derive(Debug, Default)]
struct Configs {
    one: OnceCell<Arc<ClientConfig>>,
    two: OnceCell<Arc<ClientConfig>>,
}

impl Configs {
    fn of(&self, http: UpstreamHttp) -> &OnceCell<Arc<ClientConfig>> {
        match http {
            UpstreamHttp::Two => &self.two,
            _ => &self.one,
        }
    }
}

impl ClientTls {
    pub(crate) fn new(extra_roots: Vec<CertificateDer<'static>>) -> Self {
        Self { extra_roots, verifying: Configs::default(), insecure: Configs::default() }
    }

    /// Shakes hands; the name sent and verified is the endpoint's own.
    pub(crate) async fn handshake(
        &self,
        endpoint: &Endpoint,
        mode: UpstreamTls,
        http: UpstreamHttp,
        tcp: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let config = match mode {
            UpstreamTls::Insecure => {
                self.insecure.of(http).get_or_try_init(|| async { insecure(http) }).await?
            }
            _ => self.verifying.of(http).get_or_try_init(|| self.verifying(http)).await?,
        };
        let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "no name TLS can verify");
        let name = endpoint.server_name().ok_or_else(no_name)?;
        TlsConnector::from(config.clone()).connect(name.clone(), tcp).await
    }

    async fn verifying(&self, http: UpstreamHttp) -> io::Result<Arc<ClientConfig>> {
        let roots = self.extra_roots.clone();
        // Reads and parses files: not on a thread that serves.
        let made = tokio::task::spawn_blocking(move || {
            let provider = Arc::new(aws_lc_rs::default_provider());
            let verifier =
                rustls_platform_verifier::Verifier::new_with_extra_roots(roots, provider.clone())
                    .map_err(io::Error::other)?;
            config(provider, Arc::new(verifier), http)
        });
        made.await.map_err(io::Error::other)?
    }
}

fn insecure(http: UpstreamHttp) -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    config(provider.clone(), Arc::new(AcceptAny::new(&provider)), http)
}

fn config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    http: UpstreamHttp,
) -> io::Result<Arc<ClientConfig>> {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        // rustls' word for a verifier of one's own; what this one does is its own module's business.
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![match http {
        UpstreamHttp::Two => b"h2".to_vec(),
        _ => b"http/1.1".to_vec(),
    }];
    Ok(Arc::new(config))
}

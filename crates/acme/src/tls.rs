use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use crate::settings::Roots;
use crate::{Authority, Error};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// How TLS is spoken with an authority.
pub(crate) fn config(authority: &Authority) -> Result<Arc<ClientConfig>, Error> {
    let wrong = |reason: String, source: Option<Cause>| Error::Settings {
        directory: authority.directory.clone(),
        setting: "root CA",
        reason,
        source,
    };
    let pem = match &authority.roots {
        Roots::System => None,
        Roots::Pem(pem) => Some(pem.clone()),
        Roots::File(path) => Some(std::fs::read_to_string(path).map_err(|source| {
            wrong(format!("{} can't be read", path.display()), Some(source.into()))
        })?),
    };
    let provider = certs::provider();
    let verifier: Arc<dyn ServerCertVerifier> = match pem {
        None => Arc::new(
            Verifier::new(provider.clone())
                .map_err(|error| wrong("the system has no roots".into(), Some(error.into())))?,
        ),
        Some(pem) => {
            let roots = roots(&pem).map_err(|error| {
                wrong("not PEM with certificates and nothing wrong".into(), Some(error))
            })?;
            let builder =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            builder
                .build()
                .map_err(|error| wrong("holds no certificate".into(), Some(error.into())))?
        }
    };
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config
        .map_err(|error| wrong("TLS could not be set up".into(), Some(error.into())))?
        // rustls' word for a verifier that one names; both are complete ones.
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Every certificate of a PEM text.
fn roots(pem: &str) -> Result<RootCertStore, Cause> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(root?)?;
    }
    Ok(roots)
}

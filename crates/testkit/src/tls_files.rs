use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// An authority of the test's own and a certificate by it for 127.0.0.1 and `localhost`, as PEM files.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    pub(crate) ca: PathBuf,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl TlsFiles {
    /// Makes them in this directory as `<prefix>-ca.pem`, `<prefix>.pem` and `<prefix>.key`, for these names.
    pub(crate) fn make(dir: &Path, prefix: &str, names: &[&str]) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("the library makes keys");
        let ca = CertifiedIssuer::self_signed(params, key).expect("the parameters are right");
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("the names are right");
        let key = KeyPair::generate().expect("the library makes keys");
        let cert = params.signed_by(&key, &ca).expect("the authority signs");
        let write = |suffix: &str, pem: String| {
            let path = dir.join(format!("{prefix}{suffix}"));
            std::fs::write(&path, pem).expect("the directory is writable");
            path
        };
        Self {
            ca: write("-ca.pem", ca.pem()),
            cert: write(".pem", cert.pem()),
            key: write(".key", key.serialize_pem()),
        }
    }

    /// What speaks TLS by them: HTTP/1.1 only.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let chain = CertificateDer::from_pem_file(&self.cert).expect("it was written");
        let key = PrivateKeyDer::from_pem_file(&self.key).expect("it was written");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider speaks TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("they are a pair");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

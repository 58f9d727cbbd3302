use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// An authority of the test's own and a certificate by it for 127.0.0.1 and `localhost`, as PEM files.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    pub(crate) ca: PathBuf,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl TlsFiles {
    /// Makes them in this directory, for these names.
    pub(crate) fn make(dir: &Path, names: &[&str]) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("the library makes keys");
        let ca = CertifiedIssuer::self_signed(params, key).expect("the parameters are right");
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("the names are right");
        let key = KeyPair::generate().expect("the library makes keys");
        let cert = params.signed_by(&key, &ca).expect("the authority signs");
        let write = |name: &str, pem: String| {
            let path = dir.join(name);
            std::fs::write(&path, pem).expect("the directory is writable");
            path
        };
        Self {
            ca: write("redis-ca.pem", ca.pem()),
            cert: write("redis.pem", cert.pem()),
            key: write("redis.key", key.serialize_pem()),
        }
    }
}

use std::sync::Arc;
use std::time::Duration;

use model::{Hostname, Timestamp};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version;

use crate::local_ca::set_validity;
use crate::{Error, provider};

/// The protocol by which an authority asks for the proof of TLS-ALPN-01 (RFC 8737 §4).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// How long the certificate is good: much longer than a challenge.
const LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// TLS as it is spoken with an authority that asks for the proof of TLS-ALPN-01 (RFC 8737 §3): by a certificate, made here and kept
/// nowhere, that lists the one name and carries the SHA-256 of the key authorisation. Nothing but [`ACME_TLS`] is spoken
/// over it, and no session resumed.
///
/// # Errors
/// [`Error::Make`], [`Error::Tls`].
pub fn acme_tls_config(
    name: &Hostname,
    key_authorisation: &str,
    now: Timestamp,
) -> Result<Arc<ServerConfig>, Error> {
    let failed = |source| Error::Make { name: name.to_string(), source };
    let mut params = CertificateParams::new([name.as_str().to_owned()]).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    set_validity(&mut params, now, now.plus(LIFE));
    let digest =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key_authorisation.as_bytes());
    params.custom_extensions.push(CustomExtension::new_acme_identifier(digest.as_ref()));
    let key = KeyPair::generate().map_err(failed)?;
    let leaf = params.self_signed(&key).map_err(failed)?;
    let key = any_supported_type(&PrivateKeyDer::Pkcs8(key.serialize_der().into()));
    // Not `CertifiedKey::from_der`: that reads the leaf and refuses its critical extension, which it does not know.
    let key = CertifiedKey::new(vec![leaf.der().clone()], key.map_err(Error::Tls)?);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(Error::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    /// RFC 8737 §3: one name, and a critical acmeIdentifier that holds the digest as an OCTET STRING.
    #[test]
    fn the_certificate_says_what_is_asked_and_nothing_else() {
        let now = Timestamp::from_millis(1_790_000_000_000);
        let name: Hostname = "a.test".parse().unwrap();
        let config = acme_tls_config(&name, "token.thumbprint", now).unwrap();
        assert_eq!(config.alpn_protocols, [ACME_TLS]);
        let leaf = served(config);
        assert_eq!(crate::inspect::inspect_der("a.test", &leaf).unwrap().names, ["a.test"]);
        let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
        let found: Vec<_> = leaf
            .extensions()
            .iter()
            .filter(|it| it.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")
            .collect();
        assert_eq!(found.len(), 1);
        assert!(found[0].critical);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"token.thumbprint");
        assert_eq!(found[0].value, [&[4, 32], digest.as_ref()].concat());
    }

    /// The leaf that a client sees, whatever it thinks of it.
    fn served(config: Arc<ServerConfig>) -> Vec<u8> {
        let mut client = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS12])
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        client.alpn_protocols = vec![ACME_TLS.to_vec()];
        let name = "a.test".try_into().unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = rustls::ServerConnection::new(config).unwrap();
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets().unwrap();
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        // On TLS 1.2 the chain is in the clear, in the handshake message of type 11.
        let mut records = &wire[..];
        let mut handshake = Vec::new();
        while let [22, _, _, high, low, rest @ ..] = records {
            let (record, more) = rest.split_at(usize::from(*high) << 8 | usize::from(*low));
            handshake.extend_from_slice(record);
            records = more;
        }
        let mut messages = &handshake[..];
        while let [kind, a, b, c, rest @ ..] = messages {
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            if *kind == 11 {
                let length =
                    usize::from(rest[3]) << 16 | usize::from(rest[4]) << 8 | usize::from(rest[5]);
                return rest[6..6 + length].to_vec();
            }
            messages = &rest[length..];
        }
        panic!("no certificate message");
    }
}

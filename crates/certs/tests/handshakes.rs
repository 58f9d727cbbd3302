//! Real handshakes in memory: which certificate a client gets, by which version, and what happens when none fits.

#![expect(clippy::unwrap_used, reason = "a test may fail this way, in its helpers too")]

use std::sync::Arc;

use certs::{CertTable, Error, LocalCa, provider, server_config};
use model::{CertRecord, Secret, Timestamp};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection, SupportedProtocolVersion, version,
};

/// A moment inside the validity of what the tests make: rustls compares with the system's clock.
fn now() -> Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "rustls judges certificates by the system's clock"
    )]
    std::time::SystemTime::now().into()
}

struct World {
    ca: LocalCa,
    table: Arc<CertTable>,
    server: Arc<ServerConfig>,
}

impl World {
    fn new(names: &[&str]) -> Self {
        let ca = LocalCa::generate(now()).unwrap();
        let table = Arc::new(CertTable::new(now()).unwrap());
        let server = server_config(&table).unwrap();
        let world = Self { ca, table, server };
        for name in names {
            world.table.apply(name, Some(&world.record(name))).unwrap();
        }
        world
    }

    fn record(&self, name: &str) -> CertRecord {
        self.ca.issue(&name.parse().unwrap(), now()).unwrap()
    }

    fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        self.client_of(provider(), versions)
    }

    fn client_of(
        &self,
        provider: Arc<CryptoProvider>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.root_pem().as_bytes()).unwrap()).unwrap();
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(client)
    }

    /// Shakes hands; the error is the side's that failed first.
    fn connect(
        &self,
        client: &Arc<ClientConfig>,
        name: &str,
    ) -> Result<(ClientConnection, ServerConnection), String> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(client.clone(), name).unwrap();
        let mut server = ServerConnection::new(self.server.clone()).unwrap();
        for _ in 0..10 {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            let mut wire = &wire[..];
            while !wire.is_empty() {
                server.read_tls(&mut wire).unwrap();
                server.process_new_packets().map_err(|error| format!("server: {error}"))?;
            }
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut wire = &wire[..];
            while !wire.is_empty() {
                client.read_tls(&mut wire).unwrap();
                client.process_new_packets().map_err(|error| format!("client: {error}"))?;
            }
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        Ok((client, server))
    }

    fn served(&self, name: &str) -> Result<Vec<CertificateDer<'static>>, String> {
        let (client, _) = self.connect(&self.client(rustls::ALL_VERSIONS), name)?;
        Ok(client.peer_certificates().unwrap().to_vec())
    }
}

fn leaf(record: &CertRecord) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(record.chain_pem.as_bytes()).unwrap()
}

#[test]
fn the_name_chooses_the_certificate() {
    let world = World::new(&["a.test", "*.a.test", "www.a.test", "10.0.0.1"]);
    let of = |name: &str| world.table.find(name).unwrap().key().unwrap().cert[0].clone();
    for name in ["a.test", "www.a.test", "x.a.test"] {
        assert_eq!(world.served(name).unwrap(), [of(name)], "{name}");
    }
    assert_ne!(of("www.a.test"), of("x.a.test"));
    // rustls hands the name on in lower case; with a trailing dot it is the same name.
    assert_eq!(world.served("X.A.Test").unwrap(), [of("x.a.test")]);
}

#[test]
fn a_name_without_a_certificate_gets_the_fallback() {
    let world = World::new(&["*.a.test"]);
    for name in ["b.test", "x.y.a.test", "test", "10.0.0.1"] {
        let error = world.served(name).unwrap_err();
        assert!(error.contains("invalid peer certificate"), "{name}: {error}");
    }
    assert!(world.table.find("b.test").is_none());
}

#[test]
fn both_versions_and_the_hybrid_key_exchange_and_alpn() {
    let world = World::new(&["a.test"]);
    for (version, is) in
        [(&version::TLS12, ProtocolVersion::TLSv1_2), (&version::TLS13, ProtocolVersion::TLSv1_3)]
    {
        let (client, server) = world.connect(&world.client(&[version]), "a.test").unwrap();
        assert_eq!(client.protocol_version(), Some(is));
        assert_eq!(server.alpn_protocol(), Some(&b"h2"[..]));
        if is == ProtocolVersion::TLSv1_3 {
            let group = server.negotiated_key_exchange_group().unwrap().name();
            assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
        }
    }
}

#[test]
fn sessions_resume_in_both_versions() {
    let world = World::new(&["a.test"]);
    for version in [&version::TLS12, &version::TLS13] {
        let client = world.client(&[version]);
        let kind = |_| world.connect(&client, "a.test").unwrap().1.handshake_kind();
        let kinds: Vec<_> = (0..2).map(kind).collect();
        assert_eq!(kinds[1], Some(HandshakeKind::Resumed), "{version:?}: {kinds:?}");
    }
}

#[test]
fn a_client_that_knows_rsa_only_is_refused_politely() {
    let world = World::new(&["a.test"]);
    let mut rsa = CryptoProvider::clone(&provider());
    rsa.cipher_suites.retain(|suite| format!("{:?}", suite.suite()).contains("ECDHE_RSA"));
    let client = world.client_of(Arc::new(rsa), &[&version::TLS12]);
    let error = world.connect(&client, "a.test").unwrap_err();
    assert!(error.starts_with("server: "), "{error}");
    // The next client is served as ever.
    world.served("a.test").unwrap();
}

#[test]
fn a_change_is_seen_by_the_next_handshake() {
    let world = World::new(&["a.test"]);
    let first = world.served("a.test").unwrap();
    let record = world.record("a.test");
    world.table.apply("a.test", Some(&record)).unwrap();
    assert_eq!(world.served("a.test").unwrap(), [leaf(&record)]);
    assert_ne!(world.served("a.test").unwrap(), first);
    world.table.apply("a.test", None).unwrap();
    assert!(world.served("a.test").is_err());
    assert!(world.table.is_empty());
}

#[test]
fn the_authority_survives_its_storage() {
    let world = World::new(&[]);
    let again = LocalCa::from_pem(world.ca.root_pem(), &world.ca.key_pem()).unwrap();
    let record = again.issue(&"a.test".parse().unwrap(), now()).unwrap();
    world.table.apply("a.test", Some(&record)).unwrap();
    world.served("a.test").unwrap();

    let other = LocalCa::generate(now()).unwrap();
    let error = LocalCa::from_pem(world.ca.root_pem(), &other.key_pem()).unwrap_err();
    assert!(matches!(error, Error::Pair { .. }), "{error:?}");
    assert!(LocalCa::from_pem("", &world.ca.key_pem()).is_err());
    assert!(LocalCa::from_pem(world.ca.root_pem(), &Secret::default()).is_err());
}

//! The ways to prove a name.

use std::sync::Arc;
use std::time::{Duration, Instant};

use acme::AcmeIssuer;
use acme::ChallengeKind::{self, Dns01, Http01, TlsAlpn01};
use certs::{Issuer, KeyKind, Request, Stage, codes};
use model::Secret;
use testkit::name_server::{NameServer, Software, TsigKey, ZoneFile};

use crate::world::{OneProvider, World, issue, request};

#[tokio::test]
async fn a_name_is_proved_by_http() {
    let world = World::start().await;
    let (issuer, holder) = (world.issuer(), world.journal());
    let begun = Instant::now();
    let record = issue(&issuer, "www.a.test", &holder).await.unwrap();
    println!("HTTP-01: {:?}", begun.elapsed());
    world.check(&record, &["www.a.test"]).await;
    holder.check_empty().await;
    let stages = holder.stages.lock().unwrap().clone();
    let expected = [
        Stage::Account,
        Stage::Order,
        Stage::Challenge,
        Stage::Validation,
        Stage::Finalize,
        Stage::Download,
    ];
    assert_eq!(stages, expected);
    let again = issue(&issuer, "www.a.test", &holder).await.unwrap();
    assert_ne!(again.chain_pem, record.chain_pem);
    assert_ne!(again.key_pem, record.key_pem);
    assert_eq!((world.pebble.orders(), world.pebble.certificates()), (2, 2));
}

#[tokio::test]
async fn a_name_is_proved_by_a_handshake() {
    let world = World::start().await;
    let issuer = world.issuer_by(vec![world.authority()], |it| it.challenges = vec![TlsAlpn01]);
    let begun = Instant::now();
    let record = issue(&issuer, "www.b.test", &world.journal()).await.unwrap();
    println!("TLS-ALPN-01: {:?}", begun.elapsed());
    world.check(&record, &["www.b.test"]).await;
    assert_eq!(world.visits(), 0);
}

/// Both names are proved at `_acme-challenge.w.a.test`, by two values at once.
#[tokio::test]
async fn a_wildcard_and_its_parent_are_proved_by_the_dns_in_one_order() {
    let world = World::start().await;
    let (issuer, holder) = (world.issuer(), world.journal());
    let begun = Instant::now();
    let record = issue(&issuer, "*.w.a.test", &holder).await.unwrap();
    println!("DNS-01: {:?}", begun.elapsed());
    world.check(&record, &["*.w.a.test", "w.a.test"]).await;
    holder.check_empty().await;
    assert!(holder.stages.lock().unwrap().contains(&Stage::Propagation));
    assert_eq!((world.pebble.orders(), world.visits()), (1, 0));
}

/// The zone is on a server of one's own, which takes updates with a key and which the authority asks.
#[tokio::test]
async fn a_wildcard_is_proved_in_a_zone_on_real_name_servers() {
    for software in [Software::Bind, Software::Knot] {
        let zone = ZoneFile::new("a.test", "_acme-challenge.d CNAME proofs.a.test.");
        let key = TsigKey::new("acme", "hmac-sha256");
        let server = NameServer::start(software, &[zone], std::slice::from_ref(&key)).await;
        let world = World::with(|options| options.dns = server.addr()).await;
        let settings = [
            ("server", server.addr().to_string()),
            ("zones", "a.test".to_owned()),
            ("key_name", key.name),
            ("key_secret", key.secret),
            ("algorithm", key.algorithm),
        ];
        let settings = settings.into_iter().map(|(name, it)| (name.to_owned(), Secret::new(it)));
        let provider = dns::build("rfc2136", &settings.collect(), dns::Options::default()).unwrap();
        let directory = OneProvider { provider, nameservers: vec![server.addr()] };
        let mut settings = world.settings(vec![world.authority()]);
        settings.resolvers = vec![server.addr()];
        let clock = runtime::Clock::system();
        let issuer = AcmeIssuer::new(settings, Arc::new(directory), clock).unwrap();
        for (name, proof) in
            [("*.w.a.test", "_acme-challenge.w.a.test"), ("*.d.a.test", "proofs.a.test")]
        {
            let begun = Instant::now();
            let record = issue(&issuer, name, &world.journal()).await.unwrap();
            println!("DNS-01 by {software:?}: {:?}", begun.elapsed());
            world.check(&record, &[name, &name[2..]]).await;
            assert_eq!(server.txt(proof), [""; 0]);
        }
    }
}

/// Its zone is nobody's, but its challenge name points into one of ours.
#[tokio::test]
async fn a_name_whose_proof_is_delegated_is_proved_there() {
    let world = World::start().await;
    world.dns.set_cname("_acme-challenge.z.example", "proofs.a.test").await;
    let record = issue(&world.issuer(), "*.z.example", &world.journal()).await.unwrap();
    world.check(&record, &["*.z.example", "z.example"]).await;
}

#[tokio::test]
async fn a_wildcard_without_a_provider_is_told_so_before_there_is_an_order() {
    let world = World::start().await;
    let holder = world.journal();
    let failure = issue(&world.issuer(), "*.b.test", &holder).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.stage), (codes::NO_PROVIDER, Stage::Challenge));
    assert!(failure.detail.contains("_acme-challenge.b.test"), "{failure}");
    assert_eq!(world.pebble.orders(), 0);
    // For a name there are other ways.
    let any = |kinds: Vec<ChallengeKind>| {
        world.issuer_by(vec![world.authority()], |it| it.challenges = kinds)
    };
    issue(&any(vec![Dns01, Http01]), "b.test", &holder).await.unwrap();
    let failure = issue(&any(vec![Dns01]), "b.test", &holder).await.unwrap_err();
    assert_eq!(failure.code, codes::NO_PROVIDER);
    let failure = issue(&any(vec![Http01]), "*.a.test", &holder).await.unwrap_err();
    assert_eq!(failure.code, codes::CONFIGURATION);
    for name in ["**.a.test", "a.*.test", "10.0.0.1", "[::1]"] {
        let failure = issue(&any(vec![Http01]), name, &holder).await.unwrap_err();
        assert_eq!(failure.code, codes::CONFIGURATION, "{name}");
    }
    assert_eq!(world.pebble.orders(), 1);
}

/// Nothing answers on port 80: the next kind of proof gets an order of its own, and the journal is clean in between.
#[tokio::test]
async fn where_one_kind_of_proof_fails_the_next_is_tried() {
    let closed = testkit::free_port();
    let world = World::with(|options| options.http_port = closed).await;
    let holder = world.journal();
    let record = issue(&world.issuer(), "b.test", &holder).await.unwrap();
    world.check(&record, &["b.test"]).await;
    assert_eq!((world.pebble.orders(), world.pebble.certificates()), (2, 1));
}

#[tokio::test]
async fn a_name_that_can_be_proved_in_no_way_is_told_why() {
    let closed = [testkit::free_port(), testkit::free_port()];
    let world = World::with(|options| [options.http_port, options.tls_port] = closed).await;
    let holder = world.journal();
    let failure = issue(&world.issuer(), "b.test", &holder).await.unwrap_err();
    assert_eq!((failure.stage, failure.code.as_str()), (Stage::Validation, "connection"));
    assert!(failure.detail.contains("b.test"), "{failure}");
    let problem = failure.problem.unwrap();
    assert!(problem.contains("urn:ietf:params:acme:error:connection"), "{problem}");
    assert_eq!(failure.directory, Some(world.pebble.directory()));
    // One order for each way, and the next authority would have found the same.
    assert_eq!(world.pebble.orders(), 2);
    world.check_clear();
    holder.check_empty().await;
}

#[tokio::test]
async fn a_key_is_rsa_where_that_is_wanted() {
    let world = World::start().await;
    let wanted = Request { key_kind: KeyKind::Rsa2048, ..request("b.test") };
    let record = Issuer::issue(&world.issuer(), &wanted, &world.journal()).await.unwrap();
    world.check(&record, &["b.test"]).await;
    let key = certs::Entry::new(&record).unwrap().key().unwrap().key.algorithm();
    assert_eq!(key, rustls::SignatureAlgorithm::RSA);
}

/// A value that does not get to every name server keeps the authority from being asked.
#[tokio::test]
async fn without_propagation_nothing_is_validated() {
    let world = World::start().await;
    world.dns.fail("_acme-challenge.w.a.test").await;
    let issuer = world.issuer_by(vec![world.authority()], |it| {
        it.timeouts.propagation = Duration::from_secs(2);
    });
    let holder = world.journal();
    let failure = issue(&issuer, "*.w.a.test", &holder).await.unwrap_err();
    // The look-up of a CNAME fails already.
    assert!([codes::PROVIDER, codes::PROPAGATION].contains(&failure.code.as_str()), "{failure:?}");
    world.check_clear();
    assert_eq!(world.pebble.certificates(), 0);
}

/// The example of the crate, as a person would run it.
#[tokio::test]
async fn the_example_gets_a_certificate() {
    let port = testkit::free_port();
    let world = World::with(|options| options.http_port = port).await;
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(std::path::Path::parent).unwrap().join("examples/issue");
    assert!(program.is_file(), "cargo test -p gatewright-acme builds the example");
    let dir = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(program);
    command.args(["www.b.test", &format!("127.0.0.1:{port}"), &world.pebble.directory()]);
    command.arg(world.pebble.api_root());
    let mut run = testkit::Process::spawn("example", command, dir.path());
    let exit = run.exit(Duration::from_secs(20)).await;
    assert!(exit.success(), "{exit}: {}", run.stderr());
    assert_eq!(run.stdout().matches("BEGIN CERTIFICATE").count(), 2);
    assert_eq!(run.stdout().matches("BEGIN PRIVATE KEY").count(), 1);
    assert_eq!(world.pebble.certificates(), 1);
}

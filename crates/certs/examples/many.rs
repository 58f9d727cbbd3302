//! What many certificates cost: memory and time to load, and the CPU of a handshake against that with a single one.
//!
//! `cargo run --release -p gatewright-certs --example many -- 100000`
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "it is an example that measures")]

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use certs::{CertTable, LocalCa, provider, server_config};
use model::{CertRecord, Timestamp};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

/// As the daemons have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HANDSHAKES: usize = 2_000;

fn main() {
    let count: usize = std::env::args().nth(1).map_or(10_000, |text| text.parse().unwrap());
    // A fixed day, which the certificates and the client both believe in.
    let now = Timestamp::from_millis(1_790_000_000_000);
    let ca = LocalCa::generate(now).unwrap();
    println!("making {count} certificates");
    let records: Vec<CertRecord> =
        (0..count).map(|number| ca.issue(&name(number).parse().unwrap(), now).unwrap()).collect();

    let table = Arc::new(CertTable::new(now).unwrap());
    let before = resident();
    let start = Instant::now();
    for record in &records {
        table.apply(record.name.as_str(), Some(record)).unwrap();
    }
    let (took, after) = (start.elapsed(), resident());
    let each = after.saturating_sub(before) / count;
    println!(
        "loaded in {took:.2?}, {:.1?} each; {each} bytes resident each",
        took / u32::try_from(count).unwrap()
    );

    let single = Arc::new(CertTable::new(now).unwrap());
    single.apply(&name(0), Some(&records[0])).unwrap();
    let client = client(&ca, now);
    let (one, many) = (server_config(&single).unwrap(), server_config(&table).unwrap());
    // In turns, so that whatever else the machine does befalls all three.
    let mut cpu = [Duration::ZERO; 3];
    for turn in 0..5 {
        cpu[0] += handshakes(&client, &one, |_| 0);
        cpu[1] += handshakes(&client, &many, |number| (turn * HANDSHAKES + number) * 7_919 % count);
        cpu[2] += handshakes(&client, &many, |number| (turn * HANDSHAKES + number) * 7_919 % count);
    }
    let each = |total: Duration| total.as_secs_f64() * 1e6 / (5 * HANDSHAKES) as f64;
    let [one, first, again] = cpu.map(each);
    println!("handshake, both sides, one certificate: {one:.1} µs CPU");
    println!("of many, asked for the first time: {first:.1} µs, {:.2}", first / one);
    println!("of many, asked for again: {again:.1} µs, {:.2}", again / one);
    println!("{} bytes resident each after that", resident().saturating_sub(before) / count);
}

fn name(number: usize) -> String {
    format!("host{number}.customers.example.test")
}

fn client(ca: &LocalCa, now: Timestamp) -> Arc<ClientConfig> {
    #[derive(Debug)]
    struct Then(u64);
    impl rustls::time_provider::TimeProvider for Then {
        fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
            Some(rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_millis(self.0)))
        }
    }
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.root_pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(Then(now.as_millis())));
    let mut config = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// The CPU time of full handshakes, each for the certificate of the number that `which` says.
fn handshakes(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    which: impl Fn(usize) -> usize,
) -> Duration {
    let names: Vec<_> =
        (0..HANDSHAKES).map(|number| ServerName::try_from(name(which(number))).unwrap()).collect();
    let start = cpu();
    for name in names {
        let mut client = ClientConnection::new(client.clone(), name).unwrap();
        let mut server = ServerConnection::new(server.clone()).unwrap();
        let mut bytes = Vec::new();
        while client.is_handshaking() || server.is_handshaking() {
            bytes.clear();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            feed(&bytes, |reader| server.read_tls(reader).unwrap());
            server.process_new_packets().unwrap();
            bytes.clear();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            feed(&bytes, |reader| client.read_tls(reader).unwrap());
            client.process_new_packets().unwrap();
        }
        server.writer().flush().unwrap();
    }
    cpu() - start
}

fn feed(mut bytes: &[u8], mut read: impl FnMut(&mut dyn Read) -> usize) {
    while !bytes.is_empty() {
        read(&mut bytes);
    }
}

/// The CPU time of this thread.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// Bytes resident.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

//! What reading a head costs. Not a test of speed, which depends on the machine: it prints.
//!
//! `cargo test --release -p gatewright-http-proxy http1::tests::cost -- --ignored --nocapture`

use std::hint::black_box;
use std::time::Instant;

use super::super::requests::Requests;

const CURL: &str = "GET /index.html HTTP/1.1\r\nHost: www.example.test\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";
const BROWSER: &str = "GET /assets/app.js?v=3 HTTP/1.1\r\nHost: www.example.test\r\nConnection: keep-alive\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\n\
    Referer: https://www.example.test/index.html\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n\r\n";

#[test]
#[ignore = "a measurement"]
fn a_head() {
    for (name, head) in [("curl", CURL), ("browser", BROWSER)] {
        const ROUNDS: u32 = 2_000_000;
        let mut requests = Requests::default();
        let start = Instant::now();
        for _ in 0..ROUNDS {
            assert_eq!(requests.head(black_box(head.as_bytes())), Ok(Some(head.len())));
            requests.next();
        }
        println!(
            "{name}: {} bytes, {:.0} ns",
            head.len(),
            start.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
        );
    }
}

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use http::Uri;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::process::Command;

use crate::client::Front;

/// Requests by the real `curl`, which trusts the local authority and finds every name at the proxy.
///
/// Ports in URLs are ignored: `http://` goes to the plain listener, `https://` to the TLS one.
pub struct Curl {
    front: Front,
    options: Vec<String>,
}

/// What `curl` got.
#[derive(Debug)]
pub struct Fetched {
    /// The status of the last answer.
    pub status: u16,
    /// `1.1` or `2`.
    pub version: String,
    /// The last answer's fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Curl {
    /// A client of this proxy.
    pub fn new(front: &Front) -> Self {
        Self { front: front.clone(), options: Vec::new() }
    }

    /// Adds command line options.
    pub fn with(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(ToString::to_string));
        self
    }

    /// Fetches `url`; panics when curl fails.
    pub async fn get(&self, url: &str) -> Fetched {
        self.try_get(url).await.unwrap_or_else(|error| panic!("curl {url}: {error}"))
    }

    /// Fetches `url`; an error is what curl said.
    pub async fn try_get(&self, url: &str) -> Result<Fetched, String> {
        let uri: Uri = url.parse().expect("a URL");
        let secure = uri.scheme_str() == Some("https");
        let (at, port) = if secure { (self.front.https, 443) } else { (self.front.http, 80) };
        let host = uri.host().expect("a host");
        let output = self
            .command(at)
            .arg("--connect-to")
            .arg(format!("{host}:{}:{}:{}", uri.port_u16().unwrap_or(port), at.ip(), at.port()))
            .arg(url)
            .output()
            .await
            .expect("curl is installed");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(parse(&output.stdout, &String::from_utf8_lossy(&output.stderr)))
    }

    fn command(&self, at: SocketAddr) -> Command {
        debug_assert!(at.ip().is_loopback(), "tests stay on this machine");
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--include", "--noproxy", "*"])
            .args(["--max-time", &Duration::from_secs(30).as_secs().to_string()])
            .args(["--write-out", "%{stderr}%{http_version}"])
            .arg("--cacert")
            .arg(&self.front.ca_file)
            .args(&self.options)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

/// Takes `--include` output apart: heads of interim answers come before the last one.
fn parse(output: &[u8], version: &str) -> Fetched {
    let mut rest = output;
    loop {
        let end = rest.windows(4).position(|it| it == b"\r\n\r\n").expect("a whole head");
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 4..];
        let status: u16 = head.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
        if status < 200 && status != 101 {
            continue;
        }
        let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let headers = fields.map(|(name, value)| {
            let name: HeaderName = name.parse().expect("a field name");
            (name, HeaderValue::from_str(value.trim()).expect("a field value"))
        });
        let version = version.trim().to_owned();
        return Fetched { status, version, headers: headers.collect(), body: rest.to_vec() };
    }
}

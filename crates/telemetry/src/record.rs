use std::fmt::{self, Display, Write as _};
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use crate::datetime;

/// How an access-log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// One JSON object per line with the fields of [`AccessRecord`].
    Json,
    /// Apache's combined format, which fail2ban, CrowdSec and GoAccess read.
    Combined,
    /// No access log.
    Off,
}

/// One answered request. Byte fields are what the client sent, whatever it was.
///
/// There is no place for cookies or credentials; the query is kept.
#[derive(Clone, Copy)]
pub struct AccessRecord<'a> {
    /// When the request's head had arrived. JSON: `ts`, RFC 3339 in UTC.
    pub time: SystemTime,
    /// The id that the answer and the upstream carry too.
    pub request_id: &'a str,
    /// The connection's other end. JSON: `remote_ip`, `remote_port`.
    pub remote: SocketAddr,
    /// Who asked, as far as trusted proxies tell.
    pub client_ip: IpAddr,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    pub proto: &'a str,
    /// The method.
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The requested host, normalised when it could be.
    pub host: &'a [u8],
    /// Path and query as requested.
    pub uri: &'a [u8],
    /// The pattern of the host record that answered.
    pub host_pattern: Option<&'a str>,
    /// The upstream that answered.
    pub upstream: Option<&'a dyn Display>,
    /// The status sent to the client; 0 when none was.
    pub status: u16,
    /// Bytes of the request's body.
    pub bytes_read: u64,
    /// Bytes of the answer's body.
    pub bytes_sent: u64,
    /// From the request's head to the last byte of the answer. JSON: `duration_ms`.
    pub duration: Duration,
    /// From sending the request to the upstream to the head of its answer. JSON: `upstream_ms`.
    pub upstream_time: Option<Duration>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub tls_version: Option<&'a str>,
    /// The cipher suite.
    pub tls_cipher: Option<&'a str>,
    /// The name in the TLS handshake.
    pub server_name: Option<&'a str>,
    /// The header of that name.
    pub user_agent: Option<&'a [u8]>,
    /// The header of that name.
    pub referer: Option<&'a [u8]>,
    /// Why the answer is not what the upstream meant.
    pub error: Option<&'a str>,
}

impl AccessRecord<'_> {
    /// Appends one line with its line end. Allocates nothing but the buffer's growth.
    pub fn write(&self, format: AccessFormat, out: &mut Vec<u8>) {
        match format {
            AccessFormat::Json => self.write_json(out),
            AccessFormat::Combined => self.write_combined(out),
            AccessFormat::Off => {}
        }
    }

    fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"ts\":\"");
        datetime::rfc3339(out, self.time);
        out.push(b'"');
        let mut json = Json(out);
        json.string("request_id", self.request_id.as_bytes());
        json.display("remote_ip", &self.remote.ip());
        json.number("remote_port", u64::from(self.remote.port()));
        json.display("client_ip", &self.client_ip);
        json.string("proto", self.proto.as_bytes());
        json.string("method", self.method.as_bytes());
        json.string("scheme", self.scheme.as_bytes());
        json.string("host", self.host);
        json.string("uri", self.uri);
        json.optional("host_pattern", self.host_pattern.map(str::as_bytes));
        if let Some(upstream) = self.upstream {
            json.display("upstream", upstream);
        }
        json.number("status", u64::from(self.status));
        json.number("bytes_read", self.bytes_read);
        json.number("bytes_sent", self.bytes_sent);
        json.millis("duration_ms", self.duration);
        if let Some(time) = self.upstream_time {
            json.millis("upstream_ms", time);
        }
        json.optional("tls_version", self.tls_version.map(str::as_bytes));
        json.optional("tls_cipher", self.tls_cipher.map(str::as_bytes));
        json.optional("server_name", self.server_name.map(str::as_bytes));
        json.optional("user_agent", self.user_agent);
        json.optional("referer", self.referer);
        json.optional("error", self.error.map(str::as_bytes));
        out.extend_from_slice(b"}\n");
    }

    fn write_combined(&self, out: &mut Vec<u8>) {
        let _ = write!(out, "{} - - [", self.client_ip);
        datetime::common_log(out, self.time);
        out.extend_from_slice(b"] \"");
        escape_combined(out, self.method.as_bytes());
        out.push(b' ');
        escape_combined(out, self.uri);
        out.push(b' ');
        escape_combined(out, self.proto.as_bytes());
        let _ = write!(out, "\" {} {} \"", self.status, self.bytes_sent);
        escape_combined(out, self.referer.unwrap_or(b"-"));
        out.extend_from_slice(b"\" \"");
        escape_combined(out, self.user_agent.unwrap_or(b"-"));
        out.extend_from_slice(b"\"\n");
    }
}

/// Writes the members of an object that has one already.
struct Json<'a>(&'a mut Vec<u8>);

impl Json<'_> {
    fn name(&mut self, name: &str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn string(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        self.0.push(b'"');
        escape_json(self.0, value);
        self.0.push(b'"');
    }

    fn optional(&mut self, name: &str, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.string(name, value);
        }
    }

    fn display(&mut self, name: &str, value: &dyn Display) {
        self.name(name);
        self.0.push(b'"');
        let _ = write!(EscapeJson(self.0), "{value}");
        self.0.push(b'"');
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        push_number(self.0, value);
    }

    /// Milliseconds with three places: what is measured is microseconds.
    fn millis(&mut self, name: &str, value: Duration) {
        self.name(name);
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        push_number(self.0, micros / 1000);
        let rest = micros % 1000;
        self.0.push(b'.');
        for place in [100, 10, 1] {
            self.0.push(digit(rest / place));
        }
    }
}

struct EscapeJson<'a>(&'a mut Vec<u8>);

impl fmt::Write for EscapeJson<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape_json(self.0, text.as_bytes());
        Ok(())
    }
}

fn push_number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = digit(value);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// The last decimal digit, as ASCII.
fn digit(value: u64) -> u8 {
    const DIGITS: &[u8; 10] = b"0123456789";
    DIGITS[usize::try_from(value % 10).unwrap_or(0)]
}

/// Appends the inside of a JSON string. What is not UTF-8 becomes U+FFFD.
fn escape_json(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid().as_bytes();
        let mut plain = 0;
        for (at, byte) in valid.iter().enumerate() {
            if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' && *byte != 0x7f {
                continue;
            }
            out.extend_from_slice(&valid[plain..at]);
            plain = at + 1;
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                control => {
                    let _ = write!(out, "\\u{control:04x}");
                }
            }
        }
        out.extend_from_slice(&valid[plain..]);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// Appends bytes as nginx does in its combined format: all but printable ASCII as `\xNN`, the quote and the backslash
/// too.
fn escape_combined(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => {
                let _ = write!(out, "\\x{byte:02X}");
            }
            plain => out.push(*plain),
        }
    }
}

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use crate::datetime::{self, Stamps};

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

/// What stands before the value of a member that is not the first.
macro_rules! member {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

/// Who asks for what on one connection: what all its requests for one host have in common.
#[derive(Clone, Copy, Debug)]
pub struct AccessOrigin<'a> {
    /// The connection's other end. JSON: `remote_ip`, `remote_port`.
    pub remote: SocketAddr,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The requested host, normalised when it could be.
    pub host: &'a [u8],
    /// The pattern of the host record that answered.
    pub host_pattern: Option<&'a str>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub tls_version: Option<&'a str>,
    /// The cipher suite.
    pub tls_cipher: Option<&'a str>,
    /// The name in the TLS handshake.
    pub server_name: Option<&'a str>,
}

/// An [`AccessOrigin`] as it stands in every line: written once, copied for each request.
#[derive(Clone, Debug)]
pub struct AccessContext {
    ip: IpAddr,
    ip_text: String,
    json: Vec<u8>,
}

impl AccessContext {
    /// Writes down what the lines of these requests share.
    pub fn new(origin: &AccessOrigin<'_>) -> Self {
        let ip = origin.remote.ip().to_canonical();
        let mut out = Vec::with_capacity(256);
        let mut json = Json(&mut out);
        json.ip(member!("remote_ip"), ip);
        json.number(member!("remote_port"), u64::from(origin.remote.port()));
        json.text(member!("scheme"), origin.scheme);
        json.string(member!("host"), origin.host);
        json.optional(member!("host_pattern"), origin.host_pattern.map(str::as_bytes));
        json.optional(member!("tls_version"), origin.tls_version.map(str::as_bytes));
        json.optional(member!("tls_cipher"), origin.tls_cipher.map(str::as_bytes));
        json.optional(member!("server_name"), origin.server_name.map(str::as_bytes));
        Self { ip, ip_text: ip.to_string(), json: out }
    }
}

/// One answered request. Byte fields are what the client sent, whatever it was. Of a request that was refused before its
/// head was complete, what is not known is empty.
///
/// There is no place for cookies or credentials; the query is kept.
#[derive(Clone, Copy, Debug)]
pub struct AccessRecord<'a> {
    /// When the request's head had arrived. JSON: `ts`, RFC 3339 in UTC.
    pub time: SystemTime,
    /// The id that the answer and the upstream carry too. Nothing in it needs escaping.
    pub request_id: &'a str,
    /// Who asked for what.
    pub context: &'a AccessContext,
    /// Who asked, as far as trusted proxies tell.
    pub client_ip: IpAddr,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    pub proto: &'a str,
    /// The method.
    pub method: &'a str,
    /// Path and query as requested.
    pub uri: &'a [u8],
    /// The address of the upstream that answered. Nothing in it needs escaping.
    pub upstream: Option<&'a str>,
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
    /// The header of that name.
    pub user_agent: Option<&'a [u8]>,
    /// The header of that name.
    pub referer: Option<&'a [u8]>,
    /// The trace that it belongs to. Nothing in it needs escaping.
    pub trace_id: Option<&'a str>,
    /// Why the answer is not what the upstream meant.
    pub error: Option<&'a str>,
}

impl AccessRecord<'_> {
    /// Appends one line with its line end. Allocates nothing but the buffer's growth. `stamps` are kept from line to line.
    pub(crate) fn write(&self, format: AccessFormat, stamps: &mut Stamps, out: &mut Vec<u8>) {
        match format {
            AccessFormat::Json => self.write_json(stamps, out),
            AccessFormat::Combined => self.write_combined(out),
            AccessFormat::Off => {}
        }
    }

    fn write_json(&self, stamps: &mut Stamps, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"ts\":\"");
        stamps.rfc3339(out, self.time);
        out.push(b'"');
        let mut json = Json(out);
        json.text(member!("request_id"), self.request_id);
        json.text(member!("proto"), self.proto);
        json.string(member!("method"), self.method.as_bytes());
        json.string(member!("uri"), self.uri);
        if let Some(upstream) = self.upstream {
            json.text(member!("upstream"), upstream);
        }
        json.number(member!("status"), u64::from(self.status));
        json.number(member!("bytes_read"), self.bytes_read);
        json.number(member!("bytes_sent"), self.bytes_sent);
        json.millis(member!("duration_ms"), self.duration);
        if let Some(time) = self.upstream_time {
            json.millis(member!("upstream_ms"), time);
        }
        if self.client_ip == self.context.ip {
            json.text(member!("client_ip"), &self.context.ip_text);
        } else {
            json.ip(member!("client_ip"), self.client_ip);
        }
        json.0.extend_from_slice(&self.context.json);
        json.optional(member!("user_agent"), self.user_agent);
        json.optional(member!("referer"), self.referer);
        if let Some(trace) = self.trace_id {
            json.text(member!("trace_id"), trace);
        }
        json.optional(member!("error"), self.error.map(str::as_bytes));
        out.extend_from_slice(b"}\n");
    }

    fn write_combined(&self, out: &mut Vec<u8>) {
        push_ip(out, self.client_ip);
        out.extend_from_slice(b" - - [");
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

/// Writes the members of an object that has one already. Each is named by [`member!`].
struct Json<'a>(&'a mut Vec<u8>);

impl Json<'_> {
    fn name(&mut self, member: &str) {
        self.0.extend_from_slice(member.as_bytes());
    }

    /// A value in which nothing needs escaping.
    fn text(&mut self, member: &str, value: &str) {
        self.name(member);
        self.0.push(b'"');
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'"');
    }

    fn string(&mut self, member: &str, value: &[u8]) {
        self.name(member);
        self.0.push(b'"');
        escape_json(self.0, value);
        self.0.push(b'"');
    }

    fn optional(&mut self, member: &str, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.string(member, value);
        }
    }

    fn ip(&mut self, member: &str, value: IpAddr) {
        self.name(member);
        self.0.push(b'"');
        push_ip(self.0, value);
        self.0.push(b'"');
    }

    fn number(&mut self, member: &str, value: u64) {
        self.name(member);
        push_number(self.0, value);
    }

    /// Milliseconds with three places: what is measured is microseconds.
    fn millis(&mut self, member: &str, value: Duration) {
        self.name(member);
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        push_number(self.0, micros / 1000);
        let rest = micros % 1000;
        self.0.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
    }
}

fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        // By hand, since it is in every line.
        IpAddr::V4(ip) => {
            let [first, rest @ ..] = ip.octets();
            push_number(out, first.into());
            for octet in rest {
                out.push(b'.');
                push_number(out, octet.into());
            }
        }
        IpAddr::V6(ip) => {
            let _ = write!(out, "{ip}");
        }
    }
}

fn push_number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The last decimal digit, as ASCII.
fn digit(value: u64) -> u8 {
    const DIGITS: &[u8; 10] = b"0123456789";
    DIGITS[usize::try_from(value % 10).unwrap_or(0)]
}

/// Appends the inside of a JSON string. What is not UTF-8 becomes U+FFFD.
fn escape_json(out: &mut Vec<u8>, bytes: &[u8]) {
    // Nearly always nothing is special.
    if !has_special(bytes) {
        return out.extend_from_slice(bytes);
    }
    escape_special(out, bytes);
}

/// Whether there is a byte that JSON escapes or that is no ASCII. Eight are looked at together.
fn has_special(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let (words, rest) = bytes.as_chunks();
    let words = words.iter().fold(0, |found, word| {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let marks = has_zero(word ^ (ONES * u64::from(b'"')))
            | has_zero(word ^ (ONES * u64::from(b'\\')))
            | has_zero(word ^ (ONES * 0x7f));
        found | ((control | marks | word) & HIGH)
    });
    let special = |byte: &u8| !(0x20..0x7f).contains(byte) || matches!(byte, b'"' | b'\\');
    words != 0 || rest.iter().any(special)
}

fn escape_special(out: &mut Vec<u8>, bytes: &[u8]) {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn context() -> AccessContext {
        AccessContext::new(&AccessOrigin {
            remote: "[2001:db8::1]:4711".parse().unwrap(),
            scheme: "https",
            host: b"a.test",
            host_pattern: Some("*.test"),
            tls_version: Some("TLSv1.3"),
            tls_cipher: Some("TLS13_AES_128_GCM_SHA256"),
            server_name: Some("a.test"),
        })
    }

    fn record<'a>(context: &'a AccessContext, uri: &'a [u8], agent: &'a [u8]) -> AccessRecord<'a> {
        AccessRecord {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_414_527_123),
            request_id: "01J",
            context,
            client_ip: "203.0.113.9".parse().unwrap(),
            proto: "HTTP/1.1",
            method: "GET",
            uri,
            upstream: Some("127.0.0.1:9000"),
            status: 200,
            bytes_read: 0,
            bytes_sent: 512,
            duration: Duration::from_micros(1_250),
            upstream_time: Some(Duration::from_micros(999)),
            user_agent: Some(agent),
            referer: None,
            trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
            error: None,
        }
    }

    fn line(uri: &[u8], agent: &[u8], format: AccessFormat) -> Vec<u8> {
        let mut out = Vec::new();
        record(&context(), uri, agent).write(format, &mut Stamps::default(), &mut out);
        out
    }

    #[test]
    fn a_json_line() {
        let text = String::from_utf8(line(b"/x?y=1", b"curl/8", AccessFormat::Json)).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"ts":"2026-11-23T06:15:27.123Z","request_id":"01J","proto":"HTTP/1.1","#,
                r#""method":"GET","uri":"/x?y=1","upstream":"127.0.0.1:9000","status":200,"#,
                r#""bytes_read":0,"bytes_sent":512,"duration_ms":1.250,"upstream_ms":0.999,"#,
                r#""client_ip":"203.0.113.9","remote_ip":"2001:db8::1","remote_port":4711,"#,
                r#""scheme":"https","host":"a.test","host_pattern":"*.test","#,
                r#""tls_version":"TLSv1.3","tls_cipher":"TLS13_AES_128_GCM_SHA256","#,
                r#""server_name":"a.test","user_agent":"curl/8","#,
                r#""trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_combined_line() {
        let text = line(b"/\"\n\xff", b"curl/8", AccessFormat::Combined);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "203.0.113.9 - - [23/Nov/2026:06:15:27 +0000] \"GET /\\x22\\x0A\\xFF HTTP/1.1\" 200 512 \
             \"-\" \"curl/8\"\n"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_make_one_json_line(uri: Vec<u8>, agent: Vec<u8>) {
            let line = line(&uri, &agent, AccessFormat::Json);
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            let value: Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(value["uri"].as_str().unwrap(), &*String::from_utf8_lossy(&uri));
            prop_assert_eq!(value["user_agent"].as_str().unwrap(), &*String::from_utf8_lossy(&agent));
        }

        #[test]
        fn any_text_survives_json(text: String) {
            let line = line(text.as_bytes(), b"", AccessFormat::Json);
            let value: Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(value["uri"].as_str().unwrap(), text);
        }

        #[test]
        fn any_bytes_make_one_printable_combined_line(uri: Vec<u8>, agent: Vec<u8>) {
            let line = line(&uri, &agent, AccessFormat::Combined);
            let (end, text) = line.split_last().unwrap();
            prop_assert_eq!(*end, b'\n');
            prop_assert!(text.iter().all(|byte| (0x20..0x7f).contains(byte)));
            prop_assert_eq!(text.iter().filter(|byte| **byte == b'"').count(), 6);
        }

        #[test]
        fn what_is_special_is_found(bytes: Vec<u8>) {
            let one = |byte: &u8| *byte < 0x20 || *byte >= 0x7f || *byte == b'"' || *byte == b'\\';
            prop_assert_eq!(has_special(&bytes), bytes.iter().any(one));
        }

        #[test]
        fn addresses_are_as_everywhere(ip: IpAddr) {
            let mut out = Vec::new();
            push_ip(&mut out, ip);
            prop_assert_eq!(String::from_utf8(out).unwrap(), ip.to_string());
        }

        #[test]
        fn numbers_are_written_whole(number: u64) {
            let mut out = Vec::new();
            push_number(&mut out, number);
            prop_assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }
}

//! The access-log line of a request that was refused before it was one.

use std::time::Duration;

use http::StatusCode;
use telemetry::AccessRecord;

use crate::conn::{Conn, Tls};
use crate::guard::Begun;

/// Writes the line of a request whose head was bad or never came to its end: whoever reads the log for attackers must
/// see those first of all. `waited` is how long its head was waited for.
pub(crate) fn log(conn: &Conn, status: StatusCode, why: &str, begun: &Begun, waited: Duration) {
    let worker = &*conn.worker;
    if !worker.logs_access() {
        return;
    }
    let tls = conn.tls.as_ref();
    worker.log_access(&AccessRecord {
        time: worker.time.date(worker.time.now()),
        request_id: &worker.next_id().text(),
        remote: conn.remote,
        client_ip: conn.peer.ip(),
        proto: begun.proto,
        method: &begun.method,
        scheme: if tls.is_some() { "https" } else { "http" },
        host: b"",
        uri: &begun.target,
        host_pattern: None,
        upstream: None,
        status: status.as_u16(),
        bytes_read: 0,
        bytes_sent: 0,
        duration: waited,
        upstream_time: None,
        tls_version: tls.map(|tls| tls.version),
        tls_cipher: tls.map(|tls| tls.cipher),
        server_name: tls.and_then(Tls::server_name),
        user_agent: None,
        referer: None,
        error: Some(why),
    });
}

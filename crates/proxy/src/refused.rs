//! The access-log line of a request that was refused before it was one.

use std::time::Duration;

use http::StatusCode;
use telemetry::AccessRecord;

use crate::conn::Conn;
use crate::http1::Begun;
use crate::matched;

/// Writes the line of a request whose head was bad or never came to its end: whoever reads the log for attackers must
/// see those first of all. `waited` is how long its head was waited for.
pub(crate) fn log(conn: &Conn, status: StatusCode, why: &str, begun: &Begun, waited: Duration) {
    let worker = &*conn.worker;
    if !worker.logs_access() {
        return;
    }
    worker.log_access(&AccessRecord {
        time: worker.time.date(worker.time.now()),
        request_id: &worker.ids.next(),
        context: &matched::access(conn, b"", None),
        client_ip: conn.peer.ip(),
        proto: begun.proto,
        method: &begun.method,
        uri: &begun.target,
        upstream: None,
        status: status.as_u16(),
        bytes_read: 0,
        bytes_sent: 0,
        duration: waited,
        upstream_time: None,
        user_agent: None,
        referer: None,
        trace_id: None,
        error: Some(why),
    });
}

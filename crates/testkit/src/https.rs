use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};

use crate::client::{self, Front};
use crate::within;

/// How long one small exchange with a server of the test may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Fetches `path` from a TLS server of the test on a connection of its own; `None` when there is no answer.
pub(crate) async fn get(addr: SocketAddr, ca_pem: &str, path: &str) -> Option<Response<Bytes>> {
    let request = Request::get(format!("https://{addr}{path}")).body(client::empty());
    let request = request.expect("a test uses valid paths");
    within(path, PATIENCE, async {
        let front = Front {
            http: addr,
            https: addr,
            ca_pem: ca_pem.to_owned(),
            ca_file: std::path::PathBuf::new(),
        };
        client::h1(&front, "localhost").await.ok()?.fetch(request).await.ok()
    })
    .await
}

/// Sends JSON to a plain server of the test; panics when it does not take it.
pub(crate) async fn post(addr: SocketAddr, path: &str, json: &serde_json::Value) {
    let request = Request::post(format!("http://{addr}{path}"))
        .body(client::full(json.to_string()))
        .expect("a test uses valid paths");
    let answer = within(path, PATIENCE, async {
        client::plain(addr).await.expect("it listens").fetch(request).await
    });
    let answer = answer.await.expect("it answers");
    assert!(answer.status().is_success(), "{path}: {answer:?}");
}

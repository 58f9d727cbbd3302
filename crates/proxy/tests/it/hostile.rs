//! What hostile clients and apps have tried.

use crate::common::origin::Origin;
use crate::common::{Gateway, host};

/// An app that speaks HTTP/2 in clear switched to it, and its client then spoke to it past the gateway.
#[tokio::test]
async fn no_tunnel_is_asked_for_that_carries_requests() {
    let app = Origin::start(|mut visit| async move {
        while let Some(head) = visit.request().await {
            if head.to_lowercase().contains("upgrade:") {
                visit.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n").await;
            } else {
                visit.answer("plain").await;
            }
        }
    })
    .await;
    let gateway = Gateway::start(vec![host("a.test", app.address)]).await;
    for protocol in ["h2c", "websocket, h2c", "HTTP/2.0", "TLS/1.0"] {
        let mut client = gateway.client().await;
        client
            .send(format!(
                "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\n\
                 Upgrade: {protocol}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
            ))
            .await;
        assert_eq!(client.answer().await.text(), "plain", "{protocol}");
        assert_eq!(client.get("a.test", "/").await.status, 200, "the connection goes on");
    }
}

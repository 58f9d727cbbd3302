use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::{Parts, router};

/// Serves the API until `until` is done, then lets the requests under way finish; drop it to cut them off.
///
/// # Errors
/// Never in practice: errors of single connections are theirs alone.
pub async fn serve(
    listener: TcpListener,
    parts: Parts,
    until: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let service = router(parts).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(until).await
}

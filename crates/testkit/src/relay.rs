use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A port that is known before what stands behind it: connections go on to its targets, in turn. Without targets they are
/// closed.
pub struct Relay {
    addr: SocketAddr,
    targets: Arc<Mutex<Vec<SocketAddr>>>,
    /// Ends with it.
    _tasks: JoinSet<()>,
}

impl Relay {
    /// Listens on a free port of loopback.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let targets = Arc::<Mutex<Vec<SocketAddr>>>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, targets.clone()));
        Self { addr, targets, _tasks: tasks }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where connections go from now on.
    pub fn lead_to(&self, targets: &[SocketAddr]) {
        *self.targets.lock().unwrap_or_else(PoisonError::into_inner) = targets.to_vec();
    }
}

async fn serve(listener: TcpListener, targets: Arc<Mutex<Vec<SocketAddr>>>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((mut downstream, _)) = accepted else { continue };
        let target = {
            let mut targets = targets.lock().unwrap_or_else(PoisonError::into_inner);
            if !targets.is_empty() {
                targets.rotate_left(1);
            }
            targets.last().copied()
        };
        let Some(target) = target else { continue };
        connections.spawn(async move {
            if let Ok(mut upstream) = TcpStream::connect(target).await {
                // Whoever ends it first ends it.
                let _ = copy_bidirectional(&mut downstream, &mut upstream).await;
            }
        });
    }
}

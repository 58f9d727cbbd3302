//! HTTP/1.1 spoken by hyper's client connection, in a task of its own: the second opinion the codec is held
//! against, and a setting to fall back to.
//!
//! Known to be weaker than the codec: a request whose connection died under it is repeated only if it has no body
//! or hyper never took it; a response cut within its head can't be told from none at all.

mod answer_body;
mod exchange;
mod request_body;

use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use runtime::Tasks;

pub(crate) use self::answer_body::AnswerBody;
pub(crate) use self::exchange::send;
use self::request_body::RequestBody;
use crate::pool::Reusable;
use crate::stream::Stream;
use crate::{Endpoint, Error, Settings};

/// What all connections of a worker share.
#[derive(Debug)]
pub(crate) struct HyperClient {
    builder: Builder,
    tasks: Tasks,
    idle_timeout: Option<Duration>,
    continue_timeout: Duration,
}

/// A handle on a connection that its task drives.
#[derive(Debug)]
pub(crate) struct Connection(SendRequest<RequestBody>, u64);

impl HyperClient {
    pub(crate) fn new(settings: &Settings, tasks: Tasks) -> Rc<Self> {
        let mut builder = Builder::new();
        builder.max_headers(settings.max_headers).max_header_size(settings.max_head);
        Rc::new(Self {
            builder,
            tasks,
            idle_timeout: settings.idle_timeout,
            continue_timeout: settings.continue_timeout,
        })
    }

    async fn open(
        &self,
        endpoint: &Endpoint,
        stream: Stream,
        generation: u64,
    ) -> Result<Connection, Error> {
        let (sender, connection) =
            self.builder.handshake(TokioIo::new(stream)).await.map_err(|error| {
                let source = std::io::Error::other(error);
                Error::Connect { endpoint: endpoint.clone(), source }
            })?;
        self.tasks.spawn_local("hyper upstream connection", async move {
            // Whoever waits for an answer hears of an error by itself.
            let _ = connection.with_upgrades().await;
        });
        Ok(Connection(sender, generation))
    }
}

impl Reusable for Connection {
    fn is_quiet(&mut self) -> bool {
        self.0.is_ready()
    }

    fn is_quiet_in_kernel(&mut self) -> bool {
        self.is_quiet()
    }

    fn generation(&self) -> u64 {
        self.1
    }
}

//! Upstream connections: one request sent, its answer read.
#![forbid(unsafe_code)]

mod alarm;
mod body;
mod codec;
mod connect;
mod endpoint;
mod error;
mod framing;
mod hyper_client;
mod message;
mod pool;
mod request_head;
mod settings;
mod stream;
mod upgraded;
mod upstreams;

pub use body::UpBody;
pub use endpoint::{Endpoint, Endpoints};
pub use error::{BoxError, Error, Problem};
pub use message::{Answer, Outgoing};
pub use settings::{ExchangeKind, Settings};
pub use upgraded::UpgradedIo;
pub use upstreams::Upstreams;

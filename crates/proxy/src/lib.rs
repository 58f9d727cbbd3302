//! The data plane's request path: listeners, TLS, HTTP/1.1 and HTTP/2 in, HTTP/1.1 out, upgrades, the drain.
//!
//! It answers requests from [`Tables`] in memory, which somebody else fills, record by record, while it serves; it
//! reads no store. One thread per core, each with its own listeners, upstream connections and counters: a request
//! touches nothing that another core writes.
//!
//! ```
//! use std::sync::Arc;
//! use model::Host;
//! use proxy::{Listen, Proxy, Settings, Surroundings, TableState, Tables};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let clock = runtime::Clock::system();
//! let tables = Arc::new(Tables::new(Arc::new(certs::CertTable::new(clock.now().into())?)));
//! let mut host = Host::new("*.example.test".parse()?);
//! host.upstreams.push("127.0.0.1:9000".parse()?);
//! tables.apply_host(&host.pattern.clone(), Some(host))?;
//! tables.set_state(TableState { loaded: true, ..TableState::default() });
//!
//! let settings =
//!     Settings { http: vec![Listen::Address("127.0.0.1:0".parse()?)], ..Settings::default() };
//! let around = Surroundings {
//!     metrics: telemetry::Metrics::new(),
//!     access: telemetry::AccessLog::off()?,
//!     clock,
//! };
//! let proxy = Proxy::bind(settings, tables, around)?;
//! println!("http://{}", proxy.addresses().http[0]);
//!
//! let shutdown = runtime::Shutdown::new();
//! let serving = proxy.run(shutdown.clone());
//! shutdown.drain();
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! let cut_off = runtime.block_on(serving)?;
//! assert_eq!(cut_off, 0);
//! # Ok(())
//! # }
//! ```
//!
//! Where to read: `service.rs` decides what happens to a request, `forward.rs` takes it upstream, `http1/` runs a
//! connection of HTTP/1 and `http2/` one of HTTP/2, `server.rs` a worker, `respond.rs` makes the error pages.
#![forbid(unsafe_code)]

mod admin;
mod asks;
mod body;
mod clients;
mod compress;
mod conn;
mod copy;
mod digest;
mod downloads;
mod entry;
mod error;
mod explain;
mod forward;
mod gates;
mod gather;
mod gauge;
mod gone;
mod group;
mod health;
mod http1;
mod http2;
mod id;
mod incoming;
mod interim;
mod listen;
mod lookups;
mod matched;
mod meters;
mod pulse;
mod record;
mod refused;
mod respond;
mod scratch;
mod server;
mod service;
mod settings;
mod stream;
mod tables;
mod time;
mod trace;
mod transport;
mod upgrade;
mod wanted;
mod watch;
mod worker;

pub use admin::AlsoReady;
pub use asks::Asks;
pub use digest::Digest;
pub use error::Error;
pub use listen::Addresses;
pub use lookups::Lookups;
pub use model::Reach;
pub use server::{Proxy, Surroundings};
pub use settings::{Drain, Limits, Listen, MinimumRates, Settings, Timeouts};
pub use static_files::Roots;
pub use tables::{Hold, Route, StoreGuard, TableState, Tables};
pub use upstream::{Ailing, ExchangeKind};
pub use wanted::Wanted;

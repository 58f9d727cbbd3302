//! Upstream connections: one request sent, its answer read.
//!
//! [`Upstreams`] belongs to one worker thread and is not `Send`: nothing in it is shared, so nothing is locked. It
//! keeps connections alive per [`Endpoint`], opens new ones (names resolved, TLS verified), speaks HTTP and
//! knows when a request may be repeated. It doesn't choose hosts and rewrites no headers but those of the
//! connection itself.
//!
//! A [`Balancer`] shares the requests of a group of endpoints out among them, and knows for all workers how they fare:
//! [`Upstreams::walk`], [`Watch`].
//!
//! ```
//! use http::{HeaderMap, Method};
//! use http_body_util::{BodyExt, Full};
//! use runtime::Tasks;
//! use upstream::{Answer, Endpoint, Outgoing, Settings, Upstreams};
//! # use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # let mut runtime = tokio::runtime::Builder::new_current_thread();
//! # runtime.enable_all().build_local(Default::default())?.block_on(async {
//! # let origin = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let address = origin.local_addr()?.to_string();
//! # tokio::task::spawn_local(async move {
//! #     let (mut conn, _) = origin.accept().await?;
//! #     conn.read(&mut [0; 1024]).await?;
//! #     conn.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 4\r\n\r\nmade").await?;
//! #     std::io::Result::Ok(())
//! # });
//! let upstreams = Upstreams::new(Settings::default(), Tasks::new());
//! let endpoint = Endpoint::new(address.parse()?, model::UpstreamTls::Off);
//!
//! let body = Full::from("a thing");
//! let mut request = Outgoing::new(Method::POST, "/things".parse()?, HeaderMap::new(), body);
//! match upstreams.send(&endpoint, &mut request, |_interim, _headers| {}).await? {
//!     Answer::Response(response) => {
//!         assert_eq!(response.status(), 201);
//!         assert_eq!(response.into_body().collect().await?.to_bytes(), "made");
//!     }
//!     Answer::Upgraded(_head, _io) => unreachable!("no upgrade was asked for"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is repeated
//!
//! An application may close an idle connection at the very moment a request is written to it. Such a request is
//! sent once more, on a new connection, if its method is idempotent (RFC 9110 §9.2.2) and its body hasn't gone
//! beyond what was sent with the head; any other only if the connection took none of its bytes. Before what must
//! not be repeated is sent at all, the kernel is asked whether the connection has ended. Nothing is repeated once a
//! byte of an answer came, and nothing a second time.
//!
//! When no connection comes about, the request is untouched and may go to another endpoint:
//! [`Error::may_try_elsewhere`]. So may one that got no answer, once, if it may be repeated and is still
//! [whole](Outgoing::is_whole): [`Walk::goes_on`].
//!
//! # What is believed
//!
//! A response's length must be unambiguous (RFC 9112 §6): both `Content-Length` and `Transfer-Encoding`, differing
//! lengths, codings other than `chunked`, malformed chunks are errors. A body that ends early is an error, never a
//! clean end. Bytes behind a response cost the connection.
//!
//! # Who speaks
//!
//! [`ExchangeKind`] chooses between this crate's own codec, in the request's own task, and hyper's client
//! connection. One suite holds both to the same behaviour. Where they differ, the codec is the stricter one: a
//! line in a trailer section ends in CRLF only, interim responses have a limit, and a small idempotent body is
//! sent again.
//!
//! An [`Endpoint`] may speak HTTP/2 instead, which is a module of its own: many requests on one connection, what the
//! other end refused repeated. An upgrade goes to it by HTTP/1.1.
#![forbid(unsafe_code)]

mod alarm;
mod balance;
mod body;
mod codec;
mod connect;
mod endpoint;
mod error;
mod framing;
mod http2;
mod hyper_client;
mod message;
mod pool;
mod request_head;
mod settings;
mod spare;
mod stream;
mod upgraded;
mod upstreams;

pub use balance::{Ailing, Attempt, Balancer, Group, Permit, Refused, Vitals, Walk, Watch};
pub use body::UpBody;
pub use endpoint::{Endpoint, Endpoints};
pub use error::{BoxError, Error, Problem};
pub use message::{Answer, Outgoing, SharedFields};
pub use settings::{ExchangeKind, Settings};
pub use spare::Spare;
pub use upgraded::UpgradedIo;
pub use upstreams::Upstreams;

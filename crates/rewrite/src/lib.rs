//! Header rules of a reverse proxy: what of a message's head belongs to one connection, and what an upstream may
//! believe about where a request came from.
//!
//! Pure functions on [`http::HeaderMap`], in place: one pass over the names decides what there is to do, and a
//! request without anything unusual costs no allocation. The crate opens no connection and knows no host table.
//!
//! * [`request`] makes a client's head fit for the upstream: hop-by-hop fields go (RFC 9110 §7.6.1), forged
//!   forwarding fields go.
//! * [`first_hop`] and [`next_hop`] tell the upstream where the request came from: `X-Forwarded-For`, `-Proto`,
//!   `-Host`, `-Port` and `X-Real-IP`.
//! * [`request_trailers`] takes the same out of what follows a body, where nothing is set.
//! * [`response`] removes hop-by-hop fields from an upstream's head.
//! * [`answer`] puts the public URL in the place of the app's own address in `Location` and its like, and drops
//!   cookie domains and product names that a client has no use for.
//! * [`Operations`] and [`Security`] are what an operator wants changed or added beside.
//! * [`requested_upgrade`] says what protocol a request asks to switch to; ask it before [`request`], which
//!   removes `Upgrade`.
//!
//! # Whom to believe
//!
//! Nobody, by default: forwarding fields are overwritten. Only a peer listed in [`TrustedProxies`] has its
//! `X-Forwarded-For` continued and its `-Proto`, `-Host` and `-Port` kept; the client is then the rightmost
//! address of the chain that isn't trusted.
//!
//! ```
//! use http::{HeaderMap, HeaderValue};
//! use rewrite::{Arrival, Peer, Scheme, TrustedProxies};
//!
//! let trusted: TrustedProxies = "10.0.0.0/8, 192.0.2.1".parse()?;
//! let host = HeaderValue::from_static("app.example.com");
//!
//! // A stranger lies about its address.
//! let stranger = Peer::new("203.0.113.9".parse()?, &trusted);
//! let mut headers = HeaderMap::new();
//! headers.insert("x-forwarded-for", HeaderValue::from_static("127.0.0.1"));
//! headers.insert("x_forwarded_for", HeaderValue::from_static("127.0.0.1"));
//! rewrite::request(&mut headers, &stranger);
//! let arrival = Arrival { peer: &stranger, scheme: Scheme::Https, host: &host };
//! headers.extend(rewrite::first_hop(&arrival));
//! assert_eq!(headers["x-forwarded-for"], "203.0.113.9");
//! assert_eq!(headers["x-forwarded-proto"], "https");
//! assert_eq!(headers["x-forwarded-port"], "443");
//! assert!(!headers.contains_key("x_forwarded_for"));
//!
//! // A balancer of ours tells the truth.
//! let balancer = Peer::new("10.1.2.3".parse()?, &trusted);
//! let mut headers = HeaderMap::new();
//! headers.insert("x-forwarded-for", HeaderValue::from_static("198.51.100.7, 192.0.2.1"));
//! rewrite::request(&mut headers, &balancer);
//! let arrival = Arrival { peer: &balancer, scheme: Scheme::Http, host: &host };
//! let client = rewrite::next_hop(&mut headers, &arrival, &trusted);
//! assert_eq!(client.to_string(), "198.51.100.7");
//! assert_eq!(headers["x-forwarded-for"], "198.51.100.7, 192.0.2.1, 10.1.2.3");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # In whose name an app answers
//!
//! ```
//! use rewrite::{Internal, Public, Scheme};
//!
//! let internal = Internal::new([("10.0.0.5", 9000)], false);
//! let public = Public { scheme: Scheme::Https, authority: "shop.example" };
//! let mut headers = http::HeaderMap::new();
//! headers.insert("location", "http://localhost:9000/login?next=%2F".parse()?);
//! headers.insert("set-cookie", "id=1; Domain=localhost; HttpOnly".parse()?);
//! rewrite::answer(&mut headers, &internal, &public);
//! assert_eq!(headers["location"], "https://shop.example/login?next=%2F");
//! assert_eq!(headers["set-cookie"], "id=1; HttpOnly");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod cookie;
mod forwarded;
mod hop;
mod internal;
mod operation;
mod public;
mod request;
mod security;
mod trusted;

pub use hop::{requested_upgrade, response};
pub use internal::{Internal, Public};
pub use operation::{Change, OperationError, Operations, is_changeable};
pub use public::answer;
pub use request::{Arrival, Peer, Scheme, first_hop, next_hop, request, request_trailers};
pub use security::{Frames, Hsts, HstsError, Security};
pub use trusted::{TrustedProxies, TrustedProxiesError};

//! Checks the raw bytes of HTTP/1 requests before the HTTP library sees them.
//!
//! A parser that is kinder than another one down the line is how requests are smuggled: hyper takes bare LF as a line
//! end, two `Host` fields, none at all, and a request target that names another host than `Host` does. [`Guarded`]
//! wraps the client's side of a connection and follows the stream strictly by RFC 9112: head, body by its length or
//! chunks, next head. A head is held back until it is complete and checked, so a bad request never reaches the service
//! and nothing behind it passes either.
//!
//! # What the user of a `Guarded` does
//!
//! * Serve it with `half_close(true)`: the guard tells the server of a bad head as an end of stream, and without that
//!   hyper would drop the requests it still answers. With it hyper also reads only when it wants a head or a body, by
//!   which the guard knows that a request to upgrade was declined.
//! * Leave hyper its default number of headers, which is the guard's, and allow it [`MAX_HEAD`] bytes of buffer, so that
//!   the limits are the guard's.
//! * Call [`Handle::upgraded`] before the 101 is returned: bytes behind the request pass unread from then on.
//! * Let the server shut the transport down when it is done: a refusal is written then, behind all earlier answers,
//!   and the client is read out for a moment so that a reset does not take the answer away.
//! * A bad body is an error of that body. The service sees it as any failed upload; [`Handle::violation`] tells why.
//!
//! `CONNECT` is refused: this is not a forward proxy.

mod begun;
mod checker;
mod chunked;
mod fields;
mod head;
mod stream;
#[cfg(test)]
mod tests;
mod violation;

pub(crate) use begun::Begun;
pub(crate) use head::MAX_HEAD;
pub(crate) use stream::{Guarded, Handle};

use std::rc::Rc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body::Body;

use crate::codec::{self, Upload};
use crate::error::BoxError;
use crate::request_head::{BodyFraming, RequestHead};
use crate::{Endpoint, UpBody, UpgradedIo};

/// A request on its way to an upstream.
///
/// `headers` and `shared` are sent as they are but for what belongs to the connection: `Connection`, `Upgrade`,
/// `Transfer-Encoding` and `Content-Length` are written by this crate from `upgrade` and the body's size hint.
/// Without a host the endpoint's own name is sent. `Expect: 100-continue` holds the body back until the upstream asks for it.
#[derive(Debug)]
pub struct Outgoing<B> {
    /// The method. `CONNECT` is not supported.
    pub method: Method,
    /// The request target in origin form.
    pub target: PathAndQuery,
    /// What `Host` says, whatever `headers` have there; without it that, or else the endpoint's own name.
    pub host: Option<HeaderValue>,
    /// The header fields; gone once it is answered.
    pub headers: HeaderMap,
    /// Fields that many requests have in common, and none of `headers` is called like.
    pub shared: Option<Rc<SharedFields>>,
    /// What tells this request from all others: one more field that `headers` don't have, of visible ASCII.
    pub id: Option<(HeaderName, [u8; 32])>,
    /// The protocols to switch to, if that is asked for: the value of `Upgrade`.
    pub upgrade: Option<HeaderValue>,
    /// The body, and how much of it went. None once it can't be sent again.
    pub(crate) upload: Option<Upload<B>>,
}

impl<B> Outgoing<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// A request. A body that [`is_end_stream`](Body::is_end_stream) is none; one without an exact size hint is
    /// sent in chunks, and only then with its trailers.
    pub fn new(method: Method, target: PathAndQuery, headers: HeaderMap, body: B) -> Self {
        Self {
            method,
            target,
            host: None,
            headers,
            shared: None,
            id: None,
            upgrade: None,
            upload: Some(Upload::new(body)),
        }
    }
}

impl<B> Outgoing<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Whether all of it is still there to be sent, after a failure too: a body only if none of it went, or what went with
    /// the head was the beginning.
    pub fn is_whole(&self) -> bool {
        self.upload.as_ref().is_some_and(Upload::can_begin_again)
    }

    /// The head as `endpoint` gets it, and what is to follow.
    pub(crate) fn split<'a>(
        &'a mut self,
        endpoint: &'a Endpoint,
    ) -> (RequestHead<'a>, &'a mut Option<Upload<B>>) {
        let head = RequestHead {
            endpoint,
            method: &self.method,
            target: &self.target,
            host: self.host.as_ref(),
            headers: &self.headers,
            shared: self.shared.as_deref(),
            id: self.id.as_ref(),
            upgrade: self.upgrade.as_ref(),
            framing: self.upload.as_ref().map_or(BodyFraming::None, Upload::framing),
        };
        (head, &mut self.upload)
    }
}

/// Header fields as they go over the wire: written once, copied into each request that has them.
#[derive(Debug)]
pub struct SharedFields {
    fields: Vec<(HeaderName, HeaderValue)>,
    wire: Vec<u8>,
}

impl SharedFields {
    /// None of them may belong to the connection or be called `Host`.
    pub fn new(fields: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        let fields: Vec<_> = fields.into_iter().collect();
        let mut wire = Vec::new();
        for (name, value) in &fields {
            codec::put_field(&mut wire, name.as_str(), value.as_bytes());
        }
        Self { fields, wire }
    }

    pub(crate) fn fields(&self) -> &[(HeaderName, HeaderValue)] {
        &self.fields
    }

    pub(crate) fn wire(&self) -> &[u8] {
        &self.wire
    }
}

/// What came back.
#[derive(Debug)]
pub enum Answer {
    /// A response. Its headers are as received but for `Transfer-Encoding`; `Connection` and what it names are
    /// for the caller to remove.
    Response(Response<UpBody>),
    /// `101 Switching Protocols`: the response's head, and the connection.
    Upgraded(Response<()>, UpgradedIo),
}

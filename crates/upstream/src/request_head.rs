//! What both ways of speaking HTTP write about the connection itself.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};

use crate::{Endpoint, SharedFields};

/// How a request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    None,
    Length(u64),
    Chunked,
}

/// A request but for its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestHead<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) method: &'a Method,
    pub(crate) target: &'a PathAndQuery,
    pub(crate) host: Option<&'a HeaderValue>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) shared: Option<&'a SharedFields>,
    pub(crate) id: Option<&'a (HeaderName, [u8; 32])>,
    pub(crate) upgrade: Option<&'a HeaderValue>,
    pub(crate) framing: BodyFraming,
}

impl RequestHead<'_> {
    /// Whether the body waits for `100 Continue`.
    pub(crate) fn expects_continue(&self) -> bool {
        self.framing != BodyFraming::None
            && self
                .headers
                .get(EXPECT)
                .is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    }

    /// The fields but for the id and the shared ones, in order: `Host` first, those of the connection last.
    pub(crate) fn for_each_field(&self, mut field: impl FnMut(&HeaderName, &HeaderValue)) {
        let host = self.host.or_else(|| self.headers.get(HOST));
        field(&HOST, host.unwrap_or(self.endpoint.authority()));
        let mut te = false;
        for (name, value) in self.headers {
            match *name {
                HOST | CONNECTION | CONTENT_LENGTH | TRANSFER_ENCODING | UPGRADE => continue,
                EXPECT if self.framing == BodyFraming::None => continue,
                _ => {}
            }
            te |= *name == TE;
            field(name, value);
        }
        self.connection_fields(te, &mut field);
        match self.framing {
            BodyFraming::Length(length) => field(&CONTENT_LENGTH, &HeaderValue::from(length)),
            BodyFraming::Chunked => {
                field(&TRANSFER_ENCODING, &HeaderValue::from_static("chunked"));
            }
            // RFC 9110 §8.6: methods that usually have a body say that there is none.
            BodyFraming::None
                if matches!(*self.method, Method::POST | Method::PUT | Method::PATCH) =>
            {
                field(&CONTENT_LENGTH, &HeaderValue::from_static("0"));
            }
            BodyFraming::None => {}
        }
    }

    fn connection_fields(&self, te: bool, field: &mut impl FnMut(&HeaderName, &HeaderValue)) {
        if let Some(protocols) = self.upgrade {
            field(&UPGRADE, protocols);
        }
        let options = match (self.upgrade.is_some(), te) {
            (false, false) => return,
            (true, false) => "upgrade",
            // RFC 9110 §10.1.4: `TE` is always named in `Connection`.
            (false, true) => "te",
            (true, true) => "upgrade, te",
        };
        field(&CONNECTION, &HeaderValue::from_static(options));
    }

    /// Whether `101` with these fields switches to a protocol that was asked for.
    pub(crate) fn asked_for(&self, headers: &HeaderMap) -> bool {
        let list = |value: &HeaderValue| value.to_str().unwrap_or_default().to_ascii_lowercase();
        let (Some(asked), Some(got)) = (self.upgrade, headers.get(UPGRADE)) else { return false };
        let (asked, got) = (list(asked), list(got));
        let mut asked = asked.split(',').map(str::trim);
        !got.is_empty() && asked.any(|protocol| protocol == got.trim())
    }
}

/// A `1xx` that announces a final response to come.
pub(crate) fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;

use super::Codec;
use crate::{Problem, Spare};

/// Fields parsed without an allocation.
const FIELDS_ON_STACK: usize = 128;

/// The head of a response.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    /// Only if it isn't the usual one.
    pub(crate) reason: Option<ReasonPhrase>,
    pub(crate) headers: HeaderMap,
}

/// Takes a head off `input`; none if its end isn't there yet. The header values share `input`'s memory.
pub(crate) fn take(codec: &Codec, input: &mut Bytes) -> Result<Option<Head>, Problem> {
    let max_fields = codec.max_fields;
    let parsed = if max_fields <= FIELDS_ON_STACK {
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK];
        parse(input, &mut fields[..max_fields], &codec.spare)?
    } else {
        let mut fields: Vec<_> = (0..max_fields).map(|_| MaybeUninit::uninit()).collect();
        parse(input, &mut fields, &codec.spare)?
    };
    let used = parsed.as_ref().map_or(input.len(), |(used, _)| *used);
    if used > codec.max_head {
        return Err(Problem::HeadTooLarge);
    }
    Ok(parsed.map(|(used, head)| {
        input.advance(used);
        head
    }))
}

fn parse<'a>(
    input: &'a Bytes,
    fields: &mut [MaybeUninit<httparse::Header<'a>>],
    spare: &Spare,
) -> Result<Option<(usize, Head)>, Problem> {
    let mut response = httparse::Response::new(&mut []);
    let parsed =
        ParserConfig::default().parse_response_with_uninit_headers(&mut response, input, fields);
    let used = match parsed {
        Ok(Status::Complete(used)) => used,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Problem::HeadTooLarge),
        Err(_) => return Err(Problem::Malformed),
    };
    let code = response.code.ok_or(Problem::Malformed)?;
    let status = StatusCode::from_u16(code).map_err(|_| Problem::Malformed)?;
    let version = if response.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let reason = response
        .reason
        .filter(|reason| Some(*reason) != status.canonical_reason())
        .and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok());
    let headers = headers(input, response.headers, spare.fields())?;
    Ok(Some((used, Head { status, version, reason, headers })))
}

fn headers(
    input: &Bytes,
    fields: &[httparse::Header<'_>],
    mut headers: HeaderMap,
) -> Result<HeaderMap, Problem> {
    // Room for what a proxy adds, so that the map needn't grow.
    headers.reserve(fields.len() + 2);
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Problem::Malformed)?;
        let value = HeaderValue::from_maybe_shared(input.slice_ref(field.value))
            .map_err(|_| Problem::Malformed)?;
        headers.append(name, value);
    }
    Ok(headers)
}

use http::{HeaderValue, StatusCode, Uri};

use crate::Error;

/// Sends clients elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    status: StatusCode,
    /// Without a slash at its end when paths are appended.
    to: Box<str>,
    keep_path: bool,
}

impl Redirect {
    /// To an absolute URL, with status 301, 302, 307 or 308. With `keep_path` the request's path and query are
    /// appended.
    ///
    /// # Errors
    /// [`Error::Redirect`]: another status; a target that is no `http://` or `https://` URL with a host and without user
    /// information, or that has a query or fragment while paths are to be appended.
    pub fn new(status: u16, to: &str, keep_path: bool) -> Result<Self, Error> {
        let wrong = |why| Error::Redirect { to: to.chars().take(120).collect(), why };
        let status = match status {
            301 | 302 | 307 | 308 => StatusCode::from_u16(status),
            _ => return Err(wrong("the status must be 301, 302, 307 or 308")),
        };
        let status = status.map_err(|_| wrong("bad status"))?;
        let uri: Uri = to.parse().map_err(|_| wrong("it is no URL"))?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_host =
            uri.authority().is_some_and(|it| !it.host().is_empty() && !it.as_str().contains('@'));
        if !is_web || !has_host || to.contains('\\') || !to.bytes().all(|it| it.is_ascii_graphic())
        {
            return Err(wrong("it must be http:// or https:// with a host"));
        }
        if keep_path && to.contains(['?', '#']) {
            return Err(wrong("it has a query or fragment, to which no path can be appended"));
        }
        let to = if keep_path { to.trim_end_matches('/') } else { to };
        Ok(Self { status, to: to.into(), keep_path })
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The value of `Location` for a request's path (in origin form) and query.
    pub fn location(&self, path: &str, query: Option<&str>) -> Option<HeaderValue> {
        if !self.keep_path {
            return HeaderValue::from_str(&self.to).ok();
        }
        located(&self.to, path, query)
    }
}

/// Where to send a client that asked for a folder without the slash at its end: relative, so that it stays where it is, and
/// with `./` in front, or a name with a colon would read as a scheme.
pub fn with_slash(path: &str, query: Option<&str>) -> Option<HeaderValue> {
    let last = path.rsplit('/').next().unwrap_or_default();
    let (mark, query) = query.map_or(("", ""), |query| ("?", query));
    HeaderValue::try_from(format!("./{last}/{mark}{query}")).ok()
}

/// Scheme and authority with a request's path and query behind, byte for byte.
pub(crate) fn located(to: &str, path: &str, query: Option<&str>) -> Option<HeaderValue> {
    let path = if path.starts_with('/') { path } else { "/" };
    let (mark, query) = query.map_or(("", ""), |query| ("?", query));
    HeaderValue::try_from(format!("{to}{path}{mark}{query}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_clients_are_sent() {
        for (to, keep, path, query, want) in [
            ("https://b.example", true, "/x/y", Some("a=b"), "https://b.example/x/y?a=b"),
            ("https://b.example/", true, "/x", None, "https://b.example/x"),
            ("https://b.example/base/", true, "/x", None, "https://b.example/base/x"),
            (
                "https://b.example:8443",
                true,
                "//evil.example",
                None,
                "https://b.example:8443//evil.example",
            ),
            ("https://b.example", true, "/@evil.example", None, "https://b.example/@evil.example"),
            ("https://b.example", true, "*", None, "https://b.example/"),
            ("https://b.example", true, "/x", Some(""), "https://b.example/x?"),
            (
                "https://b.example/landing?x=y#z",
                false,
                "/x",
                Some("a"),
                "https://b.example/landing?x=y#z",
            ),
        ] {
            let redirect = Redirect::new(308, to, keep).unwrap();
            assert_eq!(redirect.location(path, query).unwrap(), want);
        }
    }

    /// The location of a folder behind a prefix with a colon read as an address with a scheme.
    #[test]
    fn a_folder_is_below_where_the_client_is() {
        for (path, query, want) in [
            ("/files", None, "./files/"),
            ("/a/b:c", Some("d"), "./b:c/?d"),
            ("/x//y", None, "./y/"),
        ] {
            assert_eq!(with_slash(path, query).unwrap(), want);
        }
    }

    #[test]
    fn targets_that_cannot_be() {
        for (status, to, keep, why) in [
            (200, "https://b.example", true, "status"),
            (303, "https://b.example", true, "status"),
            (301, "", true, "URL"),
            (301, "/x", true, "http"),
            (301, "//b.example", true, "http"),
            (301, "b.example", true, "http"),
            (301, "javascript:alert(1)", true, "http"),
            (301, "ftp://b.example", true, "http"),
            (301, "https://user@b.example", true, "http"),
            (301, "https://b.example\\@evil", true, "URL"),
            (301, "https://b.example/x?y", true, "query"),
            (301, "https://b.example/#y", true, "query"),
            (301, "https://b.example/\r\nx: y", true, "URL"),
        ] {
            let error = Redirect::new(status, to, keep).unwrap_err().to_string();
            assert!(error.contains(why), "{to}: {error}");
        }
    }
}

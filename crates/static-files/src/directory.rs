use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::{
    ACCEPT, ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderMap, LAST_MODIFIED, LOCATION, RANGE, VARY,
};
use http::{HeaderValue, Method, Response, StatusCode};

use crate::body::CHUNK;
use crate::coding::{self, Coding};
use crate::freshness::cache_control;
use crate::open::{Patience, Stat, Trouble, beneath, read};
use crate::path::{RequestPath, file_name, is_plain_name};
use crate::range::{self, Wanted};
use crate::root::Place;
use crate::validator::{Validator, Verdict};
use crate::{Body, Error};

/// What a directory is served like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The file that stands for a directory; `None`: directories are not found.
    pub index: Option<String>,
    /// The file, from the root, that answers a navigation to what is not there, for apps that route in the browser.
    pub fallback: Option<String>,
    /// Whether `a.js.zst`, `a.js.br` or `a.js.gz` is sent in place of `a.js` to clients that take it.
    pub precompressed: bool,
    /// Folders, from the root and without slashes around, whose files never change under their names (`assets`).
    /// Names with a content hash are recognised anywhere.
    pub immutable: Vec<String>,
}

impl Default for Options {
    /// `index.html`, no fallback, compressed files used where they are.
    fn default() -> Self {
        Self {
            index: Some("index.html".to_owned()),
            fallback: None,
            precompressed: true,
            immutable: Vec::new(),
        }
    }
}

/// What a directory needs to know of a request.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// GET and HEAD are answered, others get 405.
    pub method: &'a Method,
    /// The path from the directory's root, percent-encoded as it came; what a route strips is not in it.
    pub path: &'a str,
    /// The query, which a redirect keeps.
    pub query: Option<&'a str>,
    /// All fields.
    pub headers: &'a HeaderMap,
}

/// A directory as a service. Clones share one handle.
#[derive(Clone, Debug)]
pub struct Directory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    place: Place,
    /// Replaced by [`Directory::refresh`]; requests in progress keep the one they began with.
    root: ArcSwap<OwnedFd>,
    options: Options,
}

impl Directory {
    /// Opens a directory that the machine's own configuration names. For what shared state names use
    /// [`Roots::open`](crate::Roots::open).
    ///
    /// # Errors
    /// [`Error::Open`] when it can't be opened; [`Error::Name`] when an option names what no request could;
    /// [`Error::Unsupported`] on a kernel without `openat2`.
    pub fn open(path: impl Into<PathBuf>, options: Options) -> Result<Self, Error> {
        Self::at(Place { path: path.into(), within: None }, options)
    }

    pub(crate) fn at(place: Place, options: Options) -> Result<Self, Error> {
        let names = options.index.iter().chain(&options.fallback).chain(&options.immutable);
        if let Some(name) = names.into_iter().find(|name| !is_plain_name(name)) {
            return Err(Error::Name { name: name.clone() });
        }
        let root = place.open()?;
        place.check(&root)?;
        Ok(Self(Arc::new(Inner { place, root: ArcSwap::from_pointee(root), options })))
    }

    /// Looks up the path again, so that a directory that was replaced (built anew, or a link turned to the next
    /// release) is served from now on. To be called now and then, off the request path: it may wait for a disk.
    ///
    /// # Errors
    /// As [`open`](Self::open) or [`Roots::open`](crate::Roots::open); what was served is served on.
    pub fn refresh(&self) -> Result<(), Error> {
        self.0.root.store(Arc::new(self.0.place.open()?));
        Ok(())
    }

    /// Its path, as given.
    pub fn path(&self) -> &Path {
        &self.0.place.path
    }

    /// Answers a request.
    ///
    /// What the kernel has in memory is opened and read at once. Only when it would have to wait does a thread of
    /// tokio's blocking pool do the same again, so that a cold or hanging disk holds up nobody else.
    ///
    /// # Errors
    /// [`Error::Read`] when the machine can't, for reasons that are not the client's: 500, and worth a log line.
    pub async fn serve(&self, head: Head<'_>) -> Result<Response<Body>, Error> {
        let answer = match self.0.answer(head, Patience::None) {
            Err(Trouble::WouldWait) => self.serve_waiting(head).await,
            answer => answer,
        };
        match answer {
            Ok(response) => Ok(response),
            Err(Trouble::Missing | Trouble::WouldWait) => Ok(bare(StatusCode::NOT_FOUND)),
            Err(Trouble::Io(source)) => Err(Error::Read {
                path: self.0.place.path.clone(),
                request: head.path.into(),
                source,
            }),
        }
    }

    async fn serve_waiting(&self, head: Head<'_>) -> Result<Response<Body>, Trouble> {
        let inner = self.0.clone();
        let (method, headers) = (head.method.clone(), head.headers.clone());
        let (path, query) = (head.path.to_owned(), head.query.map(str::to_owned));
        let waiting = move || {
            let (path, query) = (&*path, query.as_deref());
            inner.answer(Head { method: &method, path, query, headers: &headers }, Patience::Full)
        };
        let finished = tokio::task::spawn_blocking(waiting).await;
        finished.unwrap_or_else(|lost| Err(Trouble::Io(std::io::Error::other(lost))))
    }
}

/// A file that was found: open, and what it is called.
struct Found {
    file: OwnedFd,
    stat: Stat,
    relative: String,
}

impl Inner {
    fn answer(&self, head: Head<'_>, patience: Patience) -> Result<Response<Body>, Trouble> {
        if !matches!(*head.method, Method::GET | Method::HEAD) {
            let mut response = bare(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(response);
        }
        let Some(path) = RequestPath::parse(head.path) else { return Err(Trouble::Missing) };
        let root = self.root.load();
        match self.look_up(&root, &path, patience) {
            Ok(Some(found)) => self.file(&root, head, found, patience),
            Ok(None) => redirect_to_folder(head),
            Err(Trouble::Missing) => match &self.options.fallback {
                Some(fallback) if is_navigation(&path, head.headers) => {
                    let (file, stat) = beneath(&**root, fallback, patience)?;
                    if stat.is_folder {
                        return Err(Trouble::Missing);
                    }
                    let found = Found { file, stat, relative: fallback.clone() };
                    self.file(&root, head, found, patience)
                }
                _ => Err(Trouble::Missing),
            },
            Err(trouble) => Err(trouble),
        }
    }

    /// The file that a path means, or `None` for a directory that was named without its slash.
    fn look_up(
        &self,
        root: &OwnedFd,
        path: &RequestPath,
        patience: Patience,
    ) -> Result<Option<Found>, Trouble> {
        let index = self.options.index.as_deref();
        if !path.is_folder {
            let (file, stat) = beneath(root, &path.relative, patience)?;
            return match stat.is_folder {
                false => Ok(Some(Found { file, stat, relative: path.relative.clone() })),
                true => index.map(|_| None).ok_or(Trouble::Missing),
            };
        }
        let slash = if path.relative.is_empty() { "" } else { "/" };
        let relative = format!("{}{slash}{}", path.relative, index.ok_or(Trouble::Missing)?);
        let (file, stat) = beneath(root, &relative, patience)?;
        if stat.is_folder {
            Err(Trouble::Missing)
        } else {
            Ok(Some(Found { file, stat, relative }))
        }
    }

    fn file(
        &self,
        root: &OwnedFd,
        head: Head<'_>,
        mut found: Found,
        patience: Patience,
    ) -> Result<Response<Body>, Trouble> {
        let coding = self.choose_coding(root, head, &mut found, patience)?;
        let validator = Validator::new(&found.stat, coding);
        let mut headers = HeaderMap::with_capacity(10);
        headers.insert(CACHE_CONTROL, cache_control(&found.relative, &self.options.immutable));
        if let Some(modified) = validator.last_modified() {
            headers.insert(LAST_MODIFIED, modified);
        }
        if self.options.precompressed {
            headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
        let verdict = validator.verdict(head.headers);
        let wanted = match head.headers.get(RANGE) {
            Some(field) if *head.method == Method::GET && validator.range_counts(head.headers) => {
                range::wanted(field, found.stat.size)
            }
            _ => Wanted::Whole,
        };
        headers.insert(ETAG, validator.etag);
        let (status, body) = match verdict {
            Verdict::Failed => return Ok(bare(StatusCode::PRECONDITION_FAILED)),
            Verdict::NotModified => (StatusCode::NOT_MODIFIED, Body::empty()),
            Verdict::Serve => content(&mut headers, head.method, found, coding, wanted, patience)?,
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// Puts a compressed file in the plain one's place where there is one that the client likes better.
    fn choose_coding(
        &self,
        root: &OwnedFd,
        head: Head<'_>,
        found: &mut Found,
        patience: Patience,
    ) -> Result<Coding, Trouble> {
        if !self.options.precompressed {
            return Ok(Coding::Identity);
        }
        for coding in coding::preferred(head.headers) {
            let name = format!("{}{}", found.relative, coding.suffix());
            match beneath(root, &name, patience) {
                Ok((file, stat)) if !stat.is_folder => {
                    (found.file, found.stat) = (file, stat);
                    return Ok(coding);
                }
                Ok(_) | Err(Trouble::Missing) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(Coding::Identity)
    }
}

/// Status and body of an answer with content, and the fields that describe it.
fn content(
    headers: &mut HeaderMap,
    method: &Method,
    found: Found,
    coding: Coding,
    wanted: Wanted,
    patience: Patience,
) -> Result<(StatusCode, Body), Trouble> {
    let size = found.stat.size;
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let (status, offset, length) = match wanted {
        Wanted::Whole => (StatusCode::OK, 0, size),
        Wanted::Part { first, last } => {
            headers.insert(CONTENT_RANGE, text(format!("bytes {first}-{last}/{size}")));
            (StatusCode::PARTIAL_CONTENT, first, last - first + 1)
        }
        Wanted::Impossible => {
            headers.insert(CONTENT_RANGE, text(format!("bytes */{size}")));
            headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, Body::empty()));
        }
    };
    headers.insert(CONTENT_TYPE, content_type(&found.relative));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if coding != Coding::Identity {
        headers.insert(CONTENT_ENCODING, coding.value());
    }
    let body = match usize::try_from(length) {
        _ if *method == Method::HEAD => Body::empty(),
        Ok(length) if length <= CHUNK => Body::whole(read(&found.file, offset, length, patience)?),
        _ => Body::reading(found.file, offset, length),
    };
    Ok((status, body))
}

/// Sends the client to the same address with a slash behind. Relative to what it asked for, so that it stays right
/// under any prefix and any name, and can't lead to another host.
fn redirect_to_folder(head: Head<'_>) -> Result<Response<Body>, Trouble> {
    let name = file_name(head.path);
    let location = match head.query {
        Some(query) => format!("./{name}/?{query}"),
        None => format!("./{name}/"),
    };
    let location = HeaderValue::try_from(ascii(&location)).map_err(|_| Trouble::Missing)?;
    let mut response = bare(StatusCode::TEMPORARY_REDIRECT);
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// A target as a reference to it has to be written: clients send bytes that no URI has (RFC 3986 §2.1).
fn ascii(target: &str) -> String {
    let mut written = String::with_capacity(target.len());
    for byte in target.bytes() {
        match byte {
            0..=0x7f => written.push(char::from(byte)),
            other => written.push_str(&format!("%{other:02X}")),
        }
    }
    written
}

/// Whether a browser goes to a page, rather than a page fetching something: `Sec-Fetch-Mode` says so, or, where a
/// client sends none, `Accept` names HTML. What reads like a file's name is never a page of an app.
fn is_navigation(path: &RequestPath, headers: &HeaderMap) -> bool {
    if path.has_extension() {
        return false;
    }
    match headers.get("sec-fetch-mode") {
        Some(mode) => mode == "navigate",
        None => {
            let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
            lines.flat_map(|line| line.split(',')).any(takes_html)
        }
    }
}

fn takes_html(element: &str) -> bool {
    let mut parts = element.split(';').map(str::trim);
    let is_html = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
    is_html && parts.filter_map(coding::thousandths).all(|weight| weight > 0)
}

/// By the name's extension; text is UTF-8.
fn content_type(relative: &str) -> HeaderValue {
    match mime_guess::from_path(relative).first_raw() {
        Some("text/html") => HeaderValue::from_static("text/html; charset=utf-8"),
        Some("text/css") => HeaderValue::from_static("text/css; charset=utf-8"),
        Some("text/javascript") => HeaderValue::from_static("text/javascript; charset=utf-8"),
        Some(kind) if kind.starts_with("text/") => text(format!("{kind}; charset=utf-8")),
        Some(kind) => HeaderValue::from_static(kind),
        None => HeaderValue::from_static("application/octet-stream"),
    }
}

/// A value that was put together from visible ASCII: the fallback is never taken.
fn text(value: String) -> HeaderValue {
    HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(0));
    response
}

//! Which route a path takes, and where it is sent by a redirect. The first line is the target of a request; each further
//! one is a prefix, to be taken off when `-` stands before it.

use http::uri::PathAndQuery;
use policy::{Redirect, Route, Routes};

use super::{browser_goes_to, decoded, first_line};

const MAX_ROUTES: usize = 16;

pub(crate) fn run(data: &[u8]) {
    let (target, rest) = first_line(data);
    let Ok(target) = PathAndQuery::try_from(target) else { return };
    let path = target.path();
    redirected(path, target.query());
    let mut prefixes: Vec<(String, bool)> = Vec::new();
    for line in rest.split(|byte| *byte == b'\n').take(MAX_ROUTES) {
        let Ok(text) = std::str::from_utf8(line) else { continue };
        let (prefix, strip) = text.strip_prefix('-').map_or((text, false), |it| (it, true));
        prefixes.push((prefix.to_owned(), strip));
        if routes(&prefixes).is_none() {
            prefixes.pop();
        }
    }
    let routes = routes(&prefixes).expect("each was read");
    let Some(found) = routes.find(path) else {
        assert!(!prefixes.is_empty() && policy::is_ambiguous(path));
        return;
    };
    let best = longest(&prefixes, path);
    assert_eq!(*found.target, best, "{path} among {prefixes:?}");
    let Some((prefix, strip)) = best.map(|at| &prefixes[at]) else {
        assert_eq!((found.prefix, &*found.path), ("/", path));
        return;
    };
    assert_eq!(found.prefix, prefix);
    assert!(PathAndQuery::try_from(&*found.path).is_ok(), "{}", found.path);
    if *strip {
        assert!(found.path.starts_with('/') && !found.path.starts_with("//"), "{}", found.path);
        assert!(path.ends_with(&*found.path) || &*found.path == "/", "{}", found.path);
    } else {
        assert_eq!(found.path, path);
    }
    // However an app reads it, it lies under the prefix.
    let (mut path, mut prefix) = (path.as_bytes().to_vec(), prefix.as_bytes().to_vec());
    for _ in 0..2 {
        (path, prefix) = (decoded(&path), decoded(&prefix));
        let (read, above) = (resolved(&path), resolved(&prefix));
        assert!(read.starts_with(&above), "{read:?} is not under {above:?}");
    }
}

fn routes(prefixes: &[(String, bool)]) -> Option<Routes<Option<usize>>> {
    let each = prefixes.iter().enumerate();
    let each = each
        .map(|(at, (prefix, strip))| (prefix.as_str(), Route { target: Some(at), strip: *strip }));
    Routes::new(None, each).ok()
}

/// The prefix with the most segments that are the path's first ones.
fn longest(prefixes: &[(String, bool)], path: &str) -> Option<usize> {
    let path = segments(path);
    let fits = |(_, (prefix, _)): &(usize, &(String, bool))| path.starts_with(&segments(prefix));
    let fitting = prefixes.iter().enumerate().filter(fits);
    fitting.max_by_key(|(_, (prefix, _))| segments(prefix).len()).map(|(at, _)| at)
}

fn segments(path: &str) -> Vec<Vec<u8>> {
    path.split('/').filter(|it| !it.is_empty()).map(|it| decoded(it.as_bytes())).collect()
}

/// A decoded path as a file system would follow it.
fn resolved(path: &[u8]) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    for segment in path.split(|byte| matches!(byte, b'/' | b'\\')) {
        match segment.split(|byte| *byte == b';').next().unwrap_or_default() {
            b"" if segment.is_empty() => {}
            b"." => {}
            b".." => drop(out.pop()),
            _ => out.push(segment.to_vec()),
        }
    }
    out
}

/// A redirect that keeps the path leads to the host that the operator named, whatever the path.
fn redirected(path: &str, query: Option<&str>) {
    for (to, host) in
        [("https://b.example", "b.example"), ("http://b.example:81/base/", "b.example")]
    {
        let redirect = Redirect::new(308, to, true).expect("a good target");
        let Some(location) = redirect.location(path, query) else { continue };
        let (goes_to, _) = browser_goes_to(location.as_bytes()).expect("an absolute address");
        assert_eq!(goes_to, host, "{location:?}");
    }
}

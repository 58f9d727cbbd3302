use std::borrow::Cow;

use crate::Error;

/// What stands behind the paths of a host: the longest prefix wins.
///
/// Prefixes end at segments: `/api` is for `/api`, `/api/` and `/api/x`, not for `/apix`. Segments are compared
/// decoded, and several slashes count as one, so that `/%61pi` and `//api` are no way round a prefix; an encoded slash
/// (`%2F`) is a character of its segment. What an app might resolve to another path is refused: [`is_ambiguous`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes<T> {
    default: T,
    root: Node,
    routes: Vec<(Box<str>, Route<T>)>,
}

/// What one prefix leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<T> {
    /// Where requests go.
    pub target: T,
    /// Whether the prefix is taken off the path first.
    pub strip: bool,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'r, 'p, T> {
    /// The prefix, as written; `/` for the default.
    pub prefix: &'r str,
    /// What is there.
    pub target: &'r T,
    /// The path to ask for there: as it came, or without the prefix, and then with one slash at its start.
    pub path: Cow<'p, str>,
    /// Whether it was the prefix itself without a slash at its end, and was taken off. A directory has to send the
    /// client to the same path with a slash then, or the links in its index would lead beside it.
    pub is_bare: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    route: Option<usize>,
    /// By decoded segment, sorted.
    below: Vec<(Box<[u8]>, Node)>,
}

const MAX_ROUTES: usize = 256;
const MAX_PREFIX: usize = 1024;

impl<T> Routes<T> {
    /// Everything to one target.
    pub fn all_to(default: T) -> Self {
        Self { default, root: Node::default(), routes: Vec::new() }
    }

    /// Prefixes with what they lead to, and where the rest goes.
    ///
    /// # Errors
    /// [`Error::Route`]: a prefix that isn't an absolute path, is ambiguous itself, has a query or a bad escape, is there
    /// twice (in any spelling), or is just `/`, which is the default; more than 256.
    pub fn new<'a>(
        default: T,
        routes: impl IntoIterator<Item = (&'a str, Route<T>)>,
    ) -> Result<Self, Error> {
        let mut all = Self::all_to(default);
        for (prefix, route) in routes {
            let wrong = |why| Error::Route { prefix: prefix.chars().take(120).collect(), why };
            if all.routes.len() == MAX_ROUTES {
                return Err(wrong("there can be 256 at most"));
            }
            check(prefix).map_err(wrong)?;
            let mut node = &mut all.root;
            for (segment, _) in segments(prefix) {
                let segment = decoded(segment);
                let at = match node.below.binary_search_by(|(had, _)| (**had).cmp(&segment)) {
                    Ok(at) => at,
                    Err(at) => {
                        node.below.insert(at, (segment.into(), Node::default()));
                        at
                    }
                };
                node = &mut node.below[at].1;
            }
            if node.route.replace(all.routes.len()).is_some() {
                return Err(wrong("it is there twice"));
            }
            all.routes.push((prefix.into(), route));
        }
        Ok(all)
    }

    /// Where a path leads, percent-encoded as it came and without its query. `None` when it [`is_ambiguous`] and there
    /// are prefixes at all.
    pub fn find<'p>(&self, path: &'p str) -> Option<Found<'_, 'p, T>> {
        let path_as_is = Cow::Borrowed(path);
        let default =
            Found { prefix: "/", target: &self.default, path: path_as_is, is_bare: false };
        if self.routes.is_empty() {
            return Some(default);
        }
        if is_ambiguous(path) {
            return None;
        }
        let mut node = &self.root;
        let mut best = None;
        for (segment, end) in segments(path) {
            let segment = decoded(segment);
            let Ok(at) = node.below.binary_search_by(|(had, _)| (**had).cmp(&segment)) else {
                break;
            };
            node = &node.below[at].1;
            best = node.route.map(|route| (route, end)).or(best);
        }
        let Some((route, end)) = best else { return Some(default) };
        let (prefix, route) = &self.routes[route];
        let rest = &path[end..];
        let is_bare = route.strip && rest.is_empty();
        let path = if route.strip { stripped(rest) } else { Cow::Borrowed(path) };
        Some(Found { prefix, target: &route.target, path, is_bare })
    }

    /// The same paths with what `make` makes of each prefix, `/` for the default, and what it leads to.
    pub fn map<U>(self, mut make: impl FnMut(&str, T) -> U) -> Routes<U> {
        let Self { default, root, routes } = self;
        let default = make("/", default);
        let routes = routes.into_iter().map(|(prefix, Route { target, strip })| {
            let target = make(&prefix, target);
            (prefix, Route { target, strip })
        });
        Routes { default, root, routes: routes.collect() }
    }

    /// Whether all paths lead to one target.
    pub fn is_single(&self) -> bool {
        self.routes.is_empty()
    }
}

/// Whether programs may disagree which path this is: when it has, plain or encoded, a segment `.` or `..` (also with
/// parameters, `..;x`), a backslash or a NUL, with encoded slashes taken for slashes; or an escape that is none. Looks
/// through two layers of encoding.
pub fn is_ambiguous(path: &str) -> bool {
    let is_plain = |bytes: &[u8]| {
        !bytes.contains(&b'%') && !bytes.contains(&b'\\') && !bytes.windows(2).any(|it| it == b"/.")
    };
    if is_plain(path.as_bytes()) {
        return false;
    }
    if !has_good_escapes(path) {
        return true;
    }
    let once = decoded(path);
    let twice = decoded_bytes(&once);
    [&once, &twice].iter().any(|bytes| {
        bytes.contains(&0)
            || bytes.contains(&b'\\')
            || bytes.split(|byte| *byte == b'/').any(|segment| {
                let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
                name == b"." || name == b".."
            })
    })
}

/// Segments that are not empty, each with where it ends.
fn segments(path: &str) -> impl Iterator<Item = (&str, usize)> {
    let mut end = 0;
    path.split('/').filter_map(move |segment| {
        let at = end + segment.len();
        end = at + 1;
        (!segment.is_empty()).then_some((segment, at))
    })
}

/// What is left of a path without its prefix. Not two slashes: an app that answers `//x/` with a redirect to itself
/// would name another host.
fn stripped(rest: &str) -> Cow<'_, str> {
    match rest.trim_start_matches('/') {
        "" => Cow::Borrowed("/"),
        inner if rest.len() == inner.len() + 1 => Cow::Borrowed(rest),
        inner => Cow::Owned(format!("/{inner}")),
    }
}

fn check(prefix: &str) -> Result<(), &'static str> {
    if !prefix.starts_with('/') || prefix.len() > MAX_PREFIX {
        return Err("it must begin with / and have at most 1024 bytes");
    }
    if !prefix.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#*{}<>\"".contains(&byte)) {
        return Err("it must be a path: no query, no wildcard, other characters percent-encoded");
    }
    if is_ambiguous(prefix) {
        return Err("it must have no ., .., backslash or bad escape");
    }
    match segments(prefix).next() {
        Some(_) => Ok(()),
        None => Err("/ is what the host itself leads to"),
    }
}

fn has_good_escapes(path: &str) -> bool {
    path.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes();
        digits.len() >= 2 && digits[..2].iter().all(u8::is_ascii_hexdigit)
    })
}

fn decoded(text: &str) -> Cow<'_, [u8]> {
    if text.contains('%') { decoded_bytes(text.as_bytes()) } else { Cow::Borrowed(text.as_bytes()) }
}

/// Every good escape as its byte, all else as it is.
fn decoded_bytes(bytes: &[u8]) -> Cow<'_, [u8]> {
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high << 4 | low).unwrap_or_default());
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn routes(list: &[(&str, bool)]) -> Routes<String> {
        let route = |(prefix, strip): &(&'static str, bool)| {
            (*prefix, Route { target: (*prefix).to_owned(), strip: *strip })
        };
        let list: Vec<(&'static str, bool)> =
            list.iter().map(|(p, s)| (&*Box::leak(p.to_string().into_boxed_str()), *s)).collect();
        Routes::new("default".to_owned(), list.iter().map(route)).unwrap()
    }

    #[test]
    fn the_longest_prefix_on_segment_borders() {
        let routes =
            routes(&[("/api", false), ("/api/v2", true), ("/static/", true), ("/a%20b", true)]);
        for (path, target, sent) in [
            ("/", "default", "/"),
            ("/x", "default", "/x"),
            ("/api", "/api", "/api"),
            ("/api/", "/api", "/api/"),
            ("/api/v1/x", "/api", "/api/v1/x"),
            ("/apix", "default", "/apix"),
            ("/API", "default", "/API"),
            ("/api.x", "default", "/api.x"),
            ("/api/v2", "/api/v2", "/"),
            ("/api/v2/", "/api/v2", "/"),
            ("/api/v2/x/y/", "/api/v2", "/x/y/"),
            ("/api/v20", "/api", "/api/v20"),
            ("/static", "/static/", "/"),
            ("/static/a.js", "/static/", "/a.js"),
            ("/static//evil.example/x", "/static/", "/evil.example/x"),
            ("//static///evil.example//x", "/static/", "/evil.example//x"),
            ("/%61pi/%76%32/%78", "/api/v2", "/%78"),
            ("//api//v2", "/api/v2", "/"),
            ("/api%2Fv2/x", "default", "/api%2Fv2/x"),
            ("/api/v2%2Fx", "/api", "/api/v2%2Fx"),
            ("/a%20b/c%20d", "/a%20b", "/c%20d"),
            ("/x/group%2Fproject", "default", "/x/group%2Fproject"),
            ("/..a/b..", "default", "/..a/b.."),
            ("*", "default", "*"),
        ] {
            let found = routes.find(path).unwrap();
            assert_eq!((&**found.target, &*found.path), (target, sent), "{path}");
            assert_eq!(found.is_bare, sent == "/" && !path.ends_with('/'), "{path}");
        }
    }

    #[test]
    fn what_an_app_may_read_as_another_path_is_refused() {
        let routes = routes(&[("/public", true)]);
        for path in [
            "/public/../admin",
            "/public/..",
            "/public/.",
            "/./admin",
            "/public/%2e%2e/admin",
            "/public/.%2E/admin",
            "/public/..%2fadmin",
            "/public%2f..%2fadmin",
            "/public/..%5cadmin",
            "/public/..\\admin",
            "/public\\x",
            "/public/%252e%252e/admin",
            "/public/..;/admin",
            "/public/..;x=y/admin",
            "/public/%2e%2e%3b/x",
            "/public/..%252fadmin",
            "/public%00",
            "/public/%",
            "/public/%2",
            "/public/%zz",
        ] {
            assert_eq!(routes.find(path), None, "{path}");
            // A host without prefixes passes on what it gets.
            assert_eq!(Routes::all_to(1).find(path).unwrap().path, path);
        }
    }

    #[test]
    fn prefixes_that_cannot_be() {
        for (prefix, why) in [
            ("", "begin with /"),
            ("api", "begin with /"),
            ("/", "itself leads to"),
            ("//", "itself leads to"),
            ("/a?b", "no query"),
            ("/a#b", "no query"),
            ("/a b", "no query"),
            ("/ü", "no query"),
            ("/a/*", "no wildcard"),
            ("/a/../b", "backslash"),
            ("/a\\b", "backslash"),
            ("/%2e%2e", "backslash"),
            ("/%zz", "backslash"),
        ] {
            let route = Route { target: (), strip: false };
            let error = Routes::new((), [(prefix, route)]).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        for same in ["/api/", "//api", "/%61pi"] {
            let route = Route { target: (), strip: false };
            let error = Routes::new((), [("/api", route.clone()), (same, route)]).unwrap_err();
            assert!(error.to_string().contains("twice"));
        }
        let many: Vec<_> = (0..=MAX_ROUTES).map(|n| format!("/r{n}")).collect();
        let route = |it| (it, Route { target: (), strip: false });
        assert!(Routes::new((), many.iter().map(|it| route(&**it))).is_err());
        assert!(Routes::new((), many[1..].iter().map(|it| route(&**it))).is_ok());
    }

    /// Try every prefix, take the one with the most segments.
    fn oracle<'r>(prefixes: &'r [String], path: &str) -> &'r str {
        let parts = |path: &str| -> Vec<Vec<u8>> {
            let parts = path.split('/').filter(|it| !it.is_empty());
            parts.map(|it| decoded(it).into_owned()).collect()
        };
        let path = parts(path);
        let fits = prefixes.iter().filter(|prefix| path.starts_with(&parts(prefix)));
        fits.max_by_key(|prefix| parts(prefix).len()).map_or("default", |it| it)
    }

    const PIECES: [&str; 12] =
        ["/", "/", "/", "a", "b", "ab", "%61", "%2f", "..", "c.d", ";x", "%2e"];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn the_tree_finds_what_trying_all_finds(
            prefixes in proptest::collection::vec("(/(a|b|ab|%61|c\\.d)){1,3}", 0..6),
            pieces in proptest::collection::vec(select(&PIECES[..]), 0..9),
            strip in any::<bool>(),
        ) {
            let mut unique: Vec<String> = Vec::new();
            for prefix in prefixes {
                let decoded = prefix.replace("%61", "a");
                if !unique.iter().any(|it| it.replace("%61", "a") == decoded) {
                    unique.push(prefix);
                }
            }
            let list = unique.iter().map(|it| (&**it, Route { target: it.clone(), strip }));
            let routes = Routes::new("default".to_owned(), list).unwrap();
            let path = format!("/{}", pieces.concat());
            match routes.find(&path) {
                None => prop_assert!(is_ambiguous(&path)),
                Some(found) => {
                    prop_assert_eq!(&**found.target, oracle(&unique, &path), "{}", path);
                    prop_assert!(found.path.starts_with('/'));
                    if strip && found.target != "default" {
                        prop_assert!(!found.path.starts_with("//"));
                    } else {
                        prop_assert_eq!(&*found.path, &*path);
                    }
                }
            }
        }
    }
}

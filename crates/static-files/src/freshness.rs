//! How long a client may keep a file without asking.

use http::HeaderValue;

use crate::path::file_name;

const YEAR: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK: HeaderValue = HeaderValue::from_static("no-cache");

/// The value of `Cache-Control` for a file: a year for a name that changes with its content, else ask each time,
/// which costs a 304.
pub(crate) fn cache_control(relative: &str, immutable: &[String]) -> HeaderValue {
    let under = |folder: &String| {
        relative.strip_prefix(&**folder).is_some_and(|rest| rest.starts_with('/'))
    };
    if has_hash(file_name(relative)) || immutable.iter().any(under) { YEAR } else { ASK }
}

/// Whether a name holds a content hash as bundlers write it, between dots or after a dash: `app.3f2a1b9c.js`,
/// `chunk-0a1b2c3d4e.css`. Eight or more small hexadecimal digits with a letter and a figure among them, so that
/// neither a date nor a word is taken for one.
fn has_hash(name: &str) -> bool {
    let Some((stem, _)) = name.rsplit_once('.') else { return false };
    stem.split(['.', '-']).skip(1).any(is_hash)
}

fn is_hash(part: &str) -> bool {
    let bytes = part.as_bytes();
    (8..=64).contains(&bytes.len())
        && bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && bytes.iter().any(u8::is_ascii_digit)
        && bytes.iter().any(u8::is_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_change_with_their_content() {
        for name in [
            "app.3f2a1b9c.js",
            "a/b/app.3f2a1b9c.chunk.js",
            "chunk-0a1b2c3d4e.css",
            "main.3f2a1b9c.js.map",
            "logo.0123456789abcdef0123456789abcdef.svg",
        ] {
            assert_eq!(cache_control(name, &[]), YEAR, "{name}");
        }
        for name in [
            "index.html",
            "app.js",
            "3f2a1b9c.js",
            "report-20240131.pdf",
            "app.deadbeef.js",
            "app.3F2A1B9C.js",
            "app.3f2a1b9.js",
            "3f2a1b9c/app.js",
            "app.3f2a1b9c",
            "my-facade.css",
            "",
        ] {
            assert_eq!(cache_control(name, &[]), ASK, "{name}");
        }
    }

    #[test]
    fn folders_that_the_operator_names() {
        let folders = ["assets".to_owned(), "a/b".to_owned()];
        assert_eq!(cache_control("assets/x.js", &folders), YEAR);
        assert_eq!(cache_control("a/b/c/x.js", &folders), YEAR);
        assert_eq!(cache_control("assets.js", &folders), ASK);
        assert_eq!(cache_control("x/assets/x.js", &folders), ASK);
    }
}

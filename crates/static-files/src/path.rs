//! From the path of a request to a name beneath the root.

/// A path that can only name something beneath the root, and nothing hidden there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestPath {
    /// Decoded segments joined by `/`; empty for the root itself.
    pub(crate) relative: String,
    /// Whether it ended with `/`, so that only a directory can be meant.
    pub(crate) is_folder: bool,
}

impl RequestPath {
    /// Reads the path of a request target, still percent-encoded. Decodes once; several slashes count as one.
    ///
    /// `None` for what no link of a site needs: a segment that is or begins with a dot (but `/.well-known`), a byte
    /// that is no UTF-8, a control character, a backslash, an encoded slash, an escape that is none.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let mut relative = String::with_capacity(path.len());
        for raw in path.strip_prefix('/')?.split('/').filter(|raw| !raw.is_empty()) {
            let before = relative.len();
            if before > 0 {
                relative.push('/');
            }
            push_decoded(&mut relative, raw)?;
            let segment = relative[before..].trim_start_matches('/');
            let is_well_known = before == 0 && segment == ".well-known";
            if segment.starts_with('.') && !is_well_known {
                return None;
            }
        }
        Some(Self { relative, is_folder: path.ends_with('/') })
    }

    /// The last segment, decoded.
    pub(crate) fn file_name(&self) -> &str {
        file_name(&self.relative)
    }

    /// Whether the last segment reads like a file's name rather than like a page of an app.
    pub(crate) fn has_extension(&self) -> bool {
        !self.is_folder && self.file_name().contains('.')
    }
}

/// Whether an operator's name of a file, from the root and not encoded, is one that a request could also have.
pub(crate) fn is_plain_name(relative: &str) -> bool {
    let is_plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.contains('\\')
            && !part.contains(char::is_control)
    };
    relative.split('/').all(is_plain)
}

/// What follows the last slash.
pub(crate) fn file_name(relative: &str) -> &str {
    relative.rsplit('/').next().unwrap_or(relative)
}

/// Appends a segment, decoded; `None` when it holds what [`RequestPath::parse`] refuses.
fn push_decoded(out: &mut String, raw: &str) -> Option<()> {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'%' | b'\\');
    if raw.as_bytes().iter().all(is_plain) {
        out.push_str(raw);
        return Some(());
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            byte => byte,
        };
        if byte.is_ascii_control() || matches!(byte, b'/' | b'\\') {
            return None;
        }
        decoded.push(byte);
    }
    out.push_str(std::str::from_utf8(&decoded).ok()?);
    Some(())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// The rules once more: decode the whole, split, look at each segment.
    fn oracle(path: &str) -> Option<String> {
        let mut escaped = false;
        let mut bytes = Vec::new();
        let mut rest = path.as_bytes();
        while let Some((first, tail)) = rest.split_first() {
            if *first == b'%' {
                let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
                if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return None;
                }
                let byte = u8::from_str_radix(digits, 16).ok()?;
                escaped |= byte == b'/';
                bytes.push(byte);
                rest = &tail[2..];
            } else {
                bytes.push(*first);
                rest = tail;
            }
        }
        let text = String::from_utf8(bytes).ok()?;
        let segments: Vec<_> = text.split('/').skip(1).filter(|it| !it.is_empty()).collect();
        let hidden =
            |(i, it): (usize, &&str)| it.starts_with('.') && (i > 0 || *it != ".well-known");
        let bad = escaped
            || !text.starts_with('/')
            || text.contains('\\')
            || text.chars().any(|c| c.is_ascii_control())
            || segments.iter().enumerate().any(hidden);
        (!bad).then(|| segments.join("/"))
    }

    /// Pieces that traversals are made of, and some harmless ones.
    const PIECES: [&str; 36] = [
        "/",
        "/",
        "/",
        ".",
        "..",
        "a",
        "b.txt",
        "%2e",
        "%2E",
        "%2f",
        "%2F",
        "%5c",
        "\\",
        "%00",
        "%25",
        "%252e",
        "%252f",
        "%c0%ae",
        "%c0%af",
        "%e0%80%ae",
        "%f0%80%80%ae",
        "%ff",
        "%",
        "%2",
        "%zz",
        "%u002e",
        ".well-known",
        "%c3%bc",
        "ü",
        " ",
        "%20",
        "%0d%0a",
        "~",
        ";",
        "%7f",
        "+",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn paths_are_read_as_the_oracle_reads_them(
            pieces in proptest::collection::vec(select(&PIECES[..]), 0..10),
            rooted in any::<bool>(),
        ) {
            let path = format!("{}{}", if rooted { "/" } else { "" }, pieces.concat());
            prop_assert_eq!(relative(&path), oracle(&path), "{}", path);
        }

        #[test]
        fn a_path_that_was_read_stays_beneath(path in "/[ -~ü/.%2eEfFcC5]{0,24}") {
            if let Some(relative) = relative(&path) {
                prop_assert!(!relative.starts_with('/') && !relative.ends_with('/'));
                for part in relative.split('/').filter(|_| !relative.is_empty()) {
                    prop_assert!(!part.is_empty() && part != "." && part != "..");
                }
            }
        }
    }

    fn relative(path: &str) -> Option<String> {
        RequestPath::parse(path).map(|path| path.relative)
    }

    #[test]
    fn ordinary_paths() {
        for (path, want) in [
            ("/", ""),
            ("//", ""),
            ("/a.txt", "a.txt"),
            ("/a/b/", "a/b"),
            ("//a///b.txt", "a/b.txt"),
            ("/%61%2Etxt", "a.txt"),
            ("/b%C3%BCcher.html", "bücher.html"),
            ("/bücher.html", "bücher.html"),
            ("/a%20b", "a b"),
            ("/a b", "a b"),
            ("/100%25.txt", "100%.txt"),
            // Decoded once: names with these very characters.
            ("/%252e%252e/a", "%2e%2e/a"),
            ("/a..b", "a..b"),
            ("/a.", "a."),
            ("/.well-known/security.txt", ".well-known/security.txt"),
            ("/%2ewell-known/x", ".well-known/x"),
        ] {
            assert_eq!(relative(path).as_deref(), Some(want), "{path}");
        }
        assert!(RequestPath::parse("/a/").unwrap().is_folder);
        assert!(!RequestPath::parse("/a").unwrap().is_folder);
    }

    #[test]
    fn refused_paths() {
        for path in [
            "",
            "a",
            "*",
            "/.",
            "/..",
            "/a/..",
            "/a/../b",
            "/.git/config",
            "/a/.env",
            "/%2e%2e/a",
            "/.%2e/a",
            "/%2E./a",
            "/a%2fb",
            "/a%2F..%2fb",
            "/a%5cb",
            "/a\\b",
            "/..\\a",
            "/%5c..%5ca",
            "/a%00",
            "/a%00.txt",
            "/%0a",
            "/a%7f",
            "/%",
            "/%2",
            "/%zz",
            "/a%g0",
            "/%c0%ae%c0%ae/a",
            "/%c0%af",
            "/%e0%80%ae",
            "/%f0%80%80%ae",
            "/%ff",
            "/%ed%a0%80",
            "/a/.well-known/x",
            "/.well-known/.x",
            "/.well-known2",
            "/...",
            "/.\u{2024}/a",
        ] {
            assert_eq!(relative(path), None, "{path}");
        }
    }

    #[test]
    fn names_in_options() {
        for fine in ["index.html", "a/b.html", "ü", "a b", "%2e%2e"] {
            assert!(is_plain_name(fine), "{fine}");
        }
        for wrong in
            ["", "/index.html", "a/", "a//b", "../x", "a/../b", ".env", "a/.env", "a\\b", "a\0"]
        {
            assert!(!is_plain_name(wrong), "{wrong}");
        }
    }

    #[test]
    fn an_extension_is_of_the_last_segment() {
        let has = |path| RequestPath::parse(path).unwrap().has_extension();
        assert!(has("/a.js") && has("/a/b.c.d"));
        assert!(!has("/a") && !has("/a.b/c") && !has("/") && !has("/a.b/"));
    }
}

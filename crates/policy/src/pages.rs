//! Error pages of an operator's own.

use std::collections::BTreeMap;

use http::StatusCode;

use crate::Error;

/// The largest text of one page, in bytes.
const LARGEST: usize = 64 * 1024;
/// The largest texts of one host together, in bytes: they stand in its record.
const LARGEST_TOGETHER: usize = 128 * 1024;

/// The pages of one host, by the status that they are for.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    by_status: BTreeMap<u16, Template>,
    /// For 4xx and 5xx.
    by_class: [Option<Template>; 2],
    size: usize,
}

/// What a page may tell of a request.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The status.
    pub status: StatusCode,
    /// Its id in the access log.
    pub request_id: &'a str,
    /// The host it is for, normalised.
    pub host: &'a str,
}

impl Pages {
    /// Adds the page for a status, `404`, or for a class of them, `5xx`. In its text `{status}`, `{reason}`, `{request_id}` and
    /// `{host}` are replaced; other braces stay.
    ///
    /// # Errors
    /// [`Error::Page`]; nothing is added then.
    pub fn add(&mut self, status: &str, text: &str) -> Result<(), Error> {
        let wrong = |why| Err(Error::Page { status: status.chars().take(20).collect(), why });
        if text.len() > LARGEST {
            return wrong("must have at most 65536 bytes");
        }
        if self.size + text.len() > LARGEST_TOGETHER {
            return wrong("makes those of this host longer than 131072 bytes together");
        }
        let digits = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
        let template = Template::new(text);
        match (status, status.parse()) {
            ("4xx", _) => self.by_class[0] = Some(template),
            ("5xx", _) => self.by_class[1] = Some(template),
            (_, Ok(status @ 400..=599)) if digits => drop(self.by_status.insert(status, template)),
            _ => return wrong("must be for a status from 400 to 599, or for 4xx or 5xx"),
        }
        self.size += text.len();
        Ok(())
    }

    /// The page for what a request came to: that of its status, else that of its class.
    pub fn page(&self, about: &About<'_>) -> Option<String> {
        let class = usize::from(about.status.as_u16() / 100).checked_sub(4);
        let of_class = || self.by_class.get(class?)?.as_ref();
        let template = self.by_status.get(&about.status.as_u16()).or_else(of_class)?;
        Some(template.fill(about))
    }
}

/// A text with places to fill.
#[derive(Clone, Debug)]
struct Template(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Text(Box<str>),
    Status,
    Reason,
    RequestId,
    Host,
}

impl Template {
    fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let (mut rest, mut plain) = (text, 0);
        while let Some(offset) = rest[plain..].find('{') {
            let at = plain + offset;
            let Some((place, length)) = place(&rest[at..]) else {
                plain = at + 1;
                continue;
            };
            parts.extend([Part::Text(rest[..at].into()), place]);
            (rest, plain) = (&rest[at + length..], 0);
        }
        parts.push(Part::Text(rest.into()));
        Self(parts)
    }

    fn fill(&self, about: &About<'_>) -> String {
        let mut page = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => page.push_str(text),
                Part::Status => page.push_str(about.status.as_str()),
                Part::Reason => {
                    escape(&mut page, about.status.canonical_reason().unwrap_or("Error"));
                }
                Part::RequestId => escape(&mut page, about.request_id),
                Part::Host => escape(&mut page, about.host),
            }
        }
        page
    }
}

/// The place that a text begins with, and the length of its name.
fn place(text: &str) -> Option<(Part, usize)> {
    let places = [
        ("{status}", Part::Status),
        ("{reason}", Part::Reason),
        ("{request_id}", Part::RequestId),
        ("{host}", Part::Host),
    ];
    places.into_iter().find(|(name, _)| text.starts_with(name)).map(|(name, it)| (it, name.len()))
}

/// Appends a text so that it is nothing but text in HTML, within quotes too.
fn escape(page: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            c => page.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn about(status: u16) -> About<'static> {
        let status = StatusCode::from_u16(status).unwrap();
        About { status, request_id: "<1>", host: "a.test" }
    }

    #[test]
    fn the_status_has_its_page_or_its_class_has() {
        let mut pages = Pages::default();
        pages.add("404", "not here").unwrap();
        pages.add("5xx", "{status} {reason} at {host}: {request_id} {other} {").unwrap();
        for (status, page) in [
            (404, Some("not here")),
            (403, None),
            (502, Some("502 Bad Gateway at a.test: &lt;1&gt; {other} {")),
            (599, Some("599 Error at a.test: &lt;1&gt; {other} {")),
            (200, None),
            (600, None),
        ] {
            assert_eq!(pages.page(&about(status)).as_deref(), page, "{status}");
        }
    }

    #[test]
    fn wrong_pages_are_refused() {
        let mut pages = Pages::default();
        for status in ["", "200", "399", "600", "4XX", "3xx", "0404", "+40", "404 "] {
            let error = pages.add(status, "").unwrap_err().to_string();
            assert!(error.contains("400 to 599"), "{error}");
        }
        let long = "x".repeat(LARGEST);
        assert!(pages.add("404", &format!("{long}x")).is_err());
        pages.add("404", &long).unwrap();
        pages.add("4xx", &long).unwrap();
        assert!(pages.add("5xx", "x").unwrap_err().to_string().contains("together"));
    }

    proptest! {
        #[test]
        fn what_is_filled_in_is_what_replacing_gives(text in "[{}a-z_<é]{0,40}|.{0,40}(\\{host\\}|\\{status\\}|\\{)*.{0,9}") {
            // The values have no braces, so one after the other is as all at once.
            let (mut pages, about) = (Pages::default(), about(404));
            pages.add("404", &text).unwrap();
            let want = text.replace("{status}", "404").replace("{reason}", "Not Found");
            let want = want.replace("{request_id}", "&lt;1&gt;").replace("{host}", "a.test");
            // A place must not come about by what is filled in.
            prop_assume!(!text.contains("{{"));
            prop_assert_eq!(pages.page(&about).unwrap(), want);
        }
    }
}

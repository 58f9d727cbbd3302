//! The same requests to tower-http's `ServeDir`: where it answers otherwise, the difference is one of those listed.

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use static_files::Options;
use tower::ServiceExt;
use tower_http::services::ServeDir;

use crate::site::{Answer, Site, collect};

const FILES: [(&str, &str); 9] = [
    ("index.html", "<h1>home</h1>"),
    ("a.txt", "0123456789"),
    ("a.txt.gz", "gzipped"),
    ("a.txt.br", "brotli"),
    ("empty.css", ""),
    ("sub/index.html", "sub"),
    ("sub/only.js", "js()"),
    ("sub/only.js.zst", "zst"),
    ("none/x", "x"),
];
const PATHS: [&str; 24] = [
    "/",
    "/index.html",
    "/a.txt",
    "/a.txt/",
    "/a.txt.gz",
    "/empty.css",
    "/sub",
    "/sub/",
    "/sub/only.js",
    "/sub//only.js",
    "/none",
    "/none/",
    "/missing",
    "/missing/",
    "/sub/missing.js",
    "/a%2Etxt",
    "/%61.txt",
    "/a.txt%00",
    "/a.txt/x",
    "/../a.txt",
    "/sub/%2e%2e/a.txt",
    "/%ff",
    "/A.TXT",
    "/sub/..%2fa.txt",
];
const RANGES: [&str; 14] = [
    "bytes=0-0",
    "bytes=2-5",
    "bytes=5-",
    "bytes=-4",
    "bytes=0-99",
    "bytes=10-",
    "bytes=5-2",
    "bytes=-0",
    "bytes=-99",
    "bytes=x",
    "bytes=0-1,3-4",
    "lines=1-2",
    "bytes=",
    "bytes=0-",
];
const ENCODINGS: [&str; 8] = [
    "gzip",
    "br, gzip",
    "gzip;q=0.5, br;q=0.4",
    "zstd, br, gzip",
    "identity",
    "gzip;q=0",
    "*",
    "br;q=x",
];
const DATES: [&str; 4] =
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 31 Dec 2100 23:59:59 GMT", "nonsense", "SAME"];
const TAGS: [&str; 6] = ["\"x\"", "*", "SAME", "W/SAME", "\"x\", SAME", "\"x,y\""];

#[derive(Clone, Debug)]
struct Question {
    method: &'static str,
    path: &'static str,
    fields: Vec<(&'static str, &'static str)>,
}

fn question() -> impl Strategy<Value = Question> {
    let fields = (
        select(&RANGES[..]),
        select(&ENCODINGS[..]),
        select(&DATES[..]),
        select(&DATES[..]),
        select(&TAGS[..]),
        select(&TAGS[..]),
    )
        .prop_flat_map(|(range, encoding, since, unless, none, some)| {
            let all = vec![
                ("range", range),
                ("accept-encoding", encoding),
                ("if-modified-since", since),
                ("if-unmodified-since", unless),
                ("if-none-match", none),
                ("if-match", some),
            ];
            subsequence(all, 0..=3)
        });
    let methods = select(&["GET", "GET", "GET", "GET", "HEAD", "POST", "OPTIONS"][..]);
    (methods, select(&PATHS[..]), fields).prop_map(|(method, path, fields)| Question {
        method,
        path,
        fields,
    })
}

/// What is told of an answer; the rest of the head is ours alone.
fn essence(answer: &Answer) -> (u16, Vec<(&'static str, String)>, Bytes) {
    let names = [
        "content-type",
        "content-length",
        "content-range",
        "content-encoding",
        "last-modified",
        "vary",
        "accept-ranges",
    ];
    let plain = |name| answer.field(name).replace("; charset=utf-8", "");
    (answer.status, names.map(|name| (name, plain(name))).to_vec(), answer.body.clone())
}

/// The differences that are meant, each by a rule of RFC 9110 or by what we refuse.
fn is_meant(question: &Question) -> bool {
    let range = question.fields.iter().find(|(name, _)| *name == "range").map(|(_, value)| *value);
    let is_get = question.method == "GET";
    // §14.2: only GET knows ranges.
    (!is_get && range.is_some())
        // §14.1.2: a suffix longer than the file is the whole of it; §14.2: other units are ignored.
        || matches!(range, Some("bytes=-99" | "lines=1-2"))
        // A suffix of four or so is longer than some files here, and an empty file has no range.
        || (range == Some("bytes=-4") && !question.path.contains("txt"))
        || (range.is_some() && question.path.contains("empty"))
        // They answer 500 to HEAD of an impossible name.
        || (question.method == "HEAD" && question.path.contains("%00"))
        // §12.5.3: `*` takes any coding. They pass over it.
        || question.fields.contains(&("accept-encoding", "*"))
        // An encoded slash is no separator.
        || question.path.contains("%2f")
}

async fn ask_both(site: &Site, question: &Question) -> (Answer, Answer) {
    let theirs = ServeDir::new(site.root())
        .ignore_multi_range_requests(true)
        .precompressed_br()
        .precompressed_gzip()
        .precompressed_zstd();
    // The same validators in either's own spelling.
    let ours_now = site.get(question.path, &[]).await;
    let build = |fields: &[(&str, String)], method: &str| {
        let mut request = Request::builder().method(method).uri(question.path);
        for (name, value) in fields {
            request = request.header(*name, value);
        }
        request.body(Empty::<Bytes>::new()).unwrap()
    };
    let theirs_now = collect(theirs.clone().oneshot(build(&[], "GET")).await.unwrap()).await;
    let fields = |now: &Answer| -> Vec<(&'static str, String)> {
        let field = |(name, value): &(&'static str, &str)| {
            let own = if name.ends_with("match") { "etag" } else { "last-modified" };
            (*name, value.replace("SAME", now.field(own)))
        };
        question.fields.iter().map(field).filter(|(_, value)| !value.is_empty()).collect()
    };
    let ours: Vec<_> = fields(&ours_now);
    let ours: Vec<_> = ours.iter().map(|(name, value)| (*name, &**value)).collect();
    let ours = site.ask(&question.method.parse().unwrap(), question.path, &ours).await;
    let request = build(&fields(&theirs_now), question.method);
    (ours, collect(theirs.oneshot(request).await.unwrap()).await)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]
    #[test]
    fn we_answer_as_serve_dir_does(question in question()) {
        thread_local! {
            static SITE: Site = Site::new(&FILES, Options::default());
            static RUNTIME: tokio::runtime::Runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        }
        let (ours, theirs) =
            SITE.with(|site| RUNTIME.with(|it| it.block_on(ask_both(site, &question))));
        if !is_meant(&question) {
            let (ours, theirs) = (essence(&ours), essence(&theirs));
            // Of an answer without content they tell less, or more, than is needed.
            prop_assert_eq!(ours.0, theirs.0);
            if matches!(ours.0, 200 | 206) {
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}

//! A directory as a service, over a real one: nothing outside it, and of a file exactly the part that is told.
//!
//! The first line is the target of a request, each further one a field of it.

use std::os::unix::fs::symlink;
use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body_util::BodyExt;
use static_files::{Body, Directory, Head, Options};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::{browser_goes_to, fields, first_line};

const SECRET: &[u8] = b"TOP-SECRET";
const FILES: [(&str, &[u8]); 6] = [
    ("index.html", b"<p>the start page</p>"),
    ("app.js", b"let it = 'the app';"),
    ("app.js.gz", b"not really compressed"),
    ("a/index.html", b"<p>a</p>"),
    ("a/b/c.txt", b"0123456789abcdefghijklmnopqrstuvwxyz"),
    ("javascript:x/index.html", b"<p>a folder may be called so</p>"),
];

struct Site {
    /// Goes with the process.
    _around: TempDir,
    directory: Directory,
    runtime: Runtime,
}

thread_local! {
    static SITE: Site = Site::new();
}

pub(crate) fn run(data: &[u8]) {
    let (target, rest) = first_line(data);
    let Ok(target) = std::str::from_utf8(target) else { return };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let headers = fields(rest);
    SITE.with(|site| {
        let ask = |method: &Method| {
            let head = Head { method, path, query, headers: &headers };
            site.runtime.block_on(async {
                let answer = site.directory.serve(head).await.expect("the machine is well");
                read(answer).await
            })
        };
        let (status, told, body) = ask(&Method::GET);
        check(status, &told, &body);
        let (of_head, told_by_head, none) = ask(&Method::HEAD);
        assert!(none.is_empty());
        // A range is asked for by GET alone (RFC 9110 §14.2).
        if headers.get("range").is_none() {
            assert_eq!((of_head, told_by_head), (status, told), "HEAD tells what GET would");
        }
    });
}

async fn read(answer: Response<Body>) -> (u16, HeaderMap, Bytes) {
    let (head, body) = answer.into_parts();
    let body = body.collect().await.expect("the file is there").to_bytes();
    (head.status.as_u16(), head.headers, body)
}

fn check(status: u16, told: &HeaderMap, body: &[u8]) {
    assert!(!body.windows(SECRET.len()).any(|it| it == SECRET), "what lies outside is not served");
    let field = |name: &str| told.get(name).map(|value| value.to_str().expect("plain text"));
    let is_file = |body: &[u8]| FILES.iter().any(|(_, content)| *content == body);
    match status {
        200 => assert!(is_file(body), "a whole file"),
        206 => part(field("content-range").expect("which part"), body),
        416 => {
            let size = field("content-range").and_then(|it| it.strip_prefix("bytes */"));
            assert!(size.is_some_and(|size| size.parse::<u64>().is_ok()));
        }
        307 => {
            let to = field("location").expect("where to");
            let first = to.split('/').next().expect("one at least");
            assert!(browser_goes_to(to.as_bytes()).is_none() && !first.contains(':'), "{to}");
            assert!(!to.starts_with(['/', '\\']), "{to}");
        }
        304 | 404 | 412 => {}
        other => panic!("{other}"),
    }
    if !matches!(status, 200 | 206) {
        assert!(body.is_empty());
    }
    if status != 304 {
        assert_eq!(field("content-length"), Some(body.len().to_string().as_str()), "{status}");
    }
}

/// `bytes first-last/size`: so many bytes, and from there.
fn part(range: &str, body: &[u8]) {
    let (place, size) =
        range.strip_prefix("bytes ").and_then(|it| it.split_once('/')).expect("bytes");
    let (first, last) = place.split_once('-').expect("from and to");
    let number = |digits: &str| digits.parse::<usize>().expect("a number");
    let (first, last, size) = (number(first), number(last), number(size));
    let fits = |(_, content): &(&str, &[u8])| {
        content.len() == size && content.get(first..=last) == Some(body)
    };
    assert!(FILES.iter().any(fits), "{range} is not {body:?}");
}

impl Site {
    fn new() -> Self {
        let around = tempfile::tempdir().expect("a temporary directory");
        let root = around.path().join("root");
        for (name, content) in FILES {
            write(&root.join(name), content);
        }
        for name in ["secret.txt", "rooted/secret.txt", "root/.hidden/secret.txt", "root/a/.secret"]
        {
            write(&around.path().join(name), SECRET);
        }
        symlink("../secret.txt", root.join("out.txt")).expect("a link");
        symlink(around.path(), root.join("a/around")).expect("a link");
        symlink("c.txt", root.join("a/b/in.txt")).expect("a link");
        let options = Options {
            fallback: Some("index.html".to_owned()),
            precompressed: true,
            ..Options::default()
        };
        let directory = Directory::open(&root, options).expect("the directory opens");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { _around: around, directory, runtime }
    }
}

fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("under the root")).expect("a folder");
    std::fs::write(path, content).expect("a file");
}

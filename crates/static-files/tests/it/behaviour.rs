use http::Method;
use http_body::Body as _;
use http_body_util::BodyExt;
use static_files::{Directory, Error, Head, Options, Roots};

use crate::site::{Site, map, write};

fn app() -> Site {
    let options = Options {
        fallback: Some("index.html".to_owned()),
        immutable: vec!["assets".to_owned()],
        ..Options::default()
    };
    let files = [
        ("index.html", "<h1>home</h1>"),
        ("app.3f2a1b9c.js", "app()"),
        ("plain.js", "plain()"),
        ("plain.js.br", "BR"),
        ("plain.js.zst", "ZST"),
        ("plain.js.gz", "GZ"),
        ("assets/index-BfT3x9aZ.js", "vite()"),
        ("docs/index.html", "docs"),
        ("empty/x.txt", ""),
        ("javascript:alert(1)/index.html", "odd"),
        (".well-known/security.txt", "Contact:"),
        (".env", "SECRET"),
        ("notes", "no extension"),
        ("b\u{fc}cher.txt", "B\u{fc}cher"),
    ];
    Site::new(&files, options)
}

#[tokio::test]
async fn a_file_with_all_that_a_cache_needs() {
    let site = app();
    let answer = site.get("/", &[]).await;
    assert_eq!((answer.status, answer.text()), (200, "<h1>home</h1>"));
    assert_eq!(answer.field("content-type"), "text/html; charset=utf-8");
    assert_eq!(answer.field("content-length"), "13");
    assert_eq!(answer.field("accept-ranges"), "bytes");
    assert_eq!(answer.field("cache-control"), "no-cache");
    assert_eq!(answer.field("vary"), "accept-encoding");
    assert!(answer.field("last-modified").ends_with(" GMT"));

    let tag = answer.field("etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "strong: {tag}");
    let again = site.get("/", &[("if-none-match", &tag)]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!((again.field("etag"), again.field("cache-control")), (&*tag, "no-cache"));
    assert_eq!((again.field("content-type"), again.field("content-length")), ("", ""));
    assert_eq!(site.get("/", &[("if-match", "\"x\"")]).await.status, 412);

    let head = site.ask(&Method::HEAD, "/", &[]).await;
    assert_eq!((head.status, head.body.len(), head.field("content-length")), (200, 0, "13"));
    assert_eq!(site.get("/b%C3%BCcher.txt", &[]).await.text(), "B\u{fc}cher");
    assert_eq!(site.get("/notes", &[]).await.field("content-type"), "application/octet-stream");
}

#[tokio::test]
async fn other_methods_are_told_which_there_are() {
    let site = app();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND"] {
        let answer = site.ask(&method.parse().unwrap(), "/", &[]).await;
        assert_eq!((answer.status, answer.field("allow")), (405, "GET, HEAD"));
    }
}

#[tokio::test]
async fn hashed_names_are_kept_for_a_year() {
    let site = app();
    let year = "public, max-age=31536000, immutable";
    assert_eq!(site.get("/app.3f2a1b9c.js", &[]).await.field("cache-control"), year);
    assert_eq!(site.get("/assets/index-BfT3x9aZ.js", &[]).await.field("cache-control"), year);
    assert_eq!(site.get("/plain.js", &[]).await.field("cache-control"), "no-cache");
}

#[tokio::test]
async fn compressed_files_by_weight() {
    let site = app();
    for (accepted, coding, body) in [
        ("gzip, deflate, br, zstd", "zstd", "ZST"),
        ("gzip, br", "br", "BR"),
        ("gzip;q=0.9, br;q=0.8", "gzip", "GZ"),
        ("br;q=0", "", "plain()"),
        ("identity, br;q=0.5", "", "plain()"),
        ("", "", "plain()"),
    ] {
        let answer = site.get("/plain.js", &[("accept-encoding", accepted)]).await;
        assert_eq!((answer.text(), answer.field("content-encoding")), (body, coding), "{accepted}");
        assert_eq!(answer.field("content-type"), "text/javascript; charset=utf-8");
        assert_eq!(answer.field("vary"), "accept-encoding");
    }
    let brotli = site.get("/plain.js", &[("accept-encoding", "br")]).await;
    let plain = site.get("/plain.js", &[]).await;
    assert_ne!(brotli.field("etag"), plain.field("etag"), "strong tags differ by coding");
}

#[tokio::test]
async fn one_range_or_the_whole() {
    let site = app();
    let get = async |range, more: &[(&str, &str)]| {
        let fields = [&[("range", range)], more].concat();
        site.get("/notes", &fields).await
    };
    let part = get("bytes=3-5", &[]).await;
    assert_eq!((part.status, part.text()), (206, "ext"));
    assert_eq!((part.field("content-range"), part.field("content-length")), ("bytes 3-5/12", "3"));
    assert_eq!(get("bytes=-3", &[]).await.text(), "ion");
    let beyond = get("bytes=12-", &[]).await;
    assert_eq!((beyond.status, beyond.field("content-range")), (416, "bytes */12"));
    assert_eq!(get("bytes=0-1,3-4", &[]).await.status, 200);
    assert_eq!(get("bytes=0-1", &[("if-range", "\"old\"")]).await.status, 200);
    assert_eq!(get("bytes=0-1", &[("if-range", part.field("etag"))]).await.status, 206);
    assert_eq!(get("bytes=0-1", &[("if-none-match", part.field("etag"))]).await.status, 304);
    let head = site.ask(&Method::HEAD, "/notes", &[("range", "bytes=0-1")]).await;
    assert_eq!((head.status, head.field("content-length")), (200, "12"));
}

#[tokio::test]
async fn a_directory_has_a_slash_at_its_end() {
    let site = app();
    assert_eq!(site.get("/docs/", &[]).await.text(), "docs");
    for (target, location) in [
        ("/docs", "./docs/"),
        ("/docs?a=b&c=%2F", "./docs/?a=b&c=%2F"),
        ("/%64ocs", "./%64ocs/"),
        ("//docs", "./docs/"),
        // Found by fuzzing: what was asked was repeated in bytes that no field of text has.
        ("/docs?\u{e4}", "./docs/?%C3%A4"),
        // A name that reads like a scheme stays a name.
        ("/javascript:alert(1)", "./javascript:alert(1)/"),
    ] {
        let answer = site.get(target, &[]).await;
        assert_eq!((answer.status, answer.field("location")), (307, location), "{target}");
    }
    assert_eq!(site.get("/notes/", &[]).await.status, 404);
    assert_eq!(site.get("/empty/", &[]).await.status, 404);
    assert_eq!(site.get("/docs/index.html/", &[]).await.status, 404);

    let bare = Site::new(&[("a/x", "x")], Options { index: None, ..Options::default() });
    assert_eq!(bare.get("/a", &[]).await.status, 404);
    assert_eq!(bare.get("/", &[]).await.status, 404);
}

#[tokio::test]
async fn the_fallback_is_for_navigations_alone() {
    let site = app();
    let chrome = [("sec-fetch-mode", "navigate"), ("accept", "text/html,*/*;q=0.8")];
    let old_browser = [("accept", "application/xhtml+xml, Text/HTML;q=0.9, */*;q=0.8")];
    for fields in [&chrome[..], &old_browser[..]] {
        for page in ["/orders", "/orders/17", "/orders/17/", "/docs/x?y=z", "/a.b/c"] {
            let answer = site.get(page, fields).await;
            assert_eq!((answer.status, answer.text()), (200, "<h1>home</h1>"), "{page}");
            assert_eq!(answer.field("cache-control"), "no-cache");
        }
        for file in
            ["/x.js", "/missing.css", "/assets/y.js", "/.env", "/a/../b", "/%2e%2e", "/a%00"]
        {
            assert_eq!(site.get(file, fields).await.status, 404, "{file}");
        }
    }
    for fields in [
        &[][..],
        &[("accept", "*/*")],
        &[("accept", "application/json")],
        &[("accept", "text/html;q=0")],
        &[("sec-fetch-mode", "cors"), ("accept", "text/html")],
    ] {
        assert_eq!(site.get("/orders", fields).await.status, 404, "{fields:?}");
    }
    assert_eq!(site.ask(&Method::POST, "/orders", &chrome).await.status, 405);
}

#[tokio::test]
async fn hidden_files_are_not_there() {
    let site = app();
    assert_eq!(site.get("/.well-known/security.txt", &[]).await.status, 200);
    for path in ["/.env", "/%2eenv", "/docs/.env", "/.", "/./index.html", "/.well-known/.x"] {
        assert_eq!(site.get(path, &[]).await.status, 404, "{path}");
    }
}

/// A record in shared state must not open by an option what a request can't.
#[tokio::test]
async fn options_name_no_hidden_file() {
    let site = Site::new(&[(".env", "SECRET")], Options::default());
    let name = || Some(".env".to_owned());
    for options in [
        Options { index: name(), ..Options::default() },
        Options { fallback: name(), ..Options::default() },
        Options { fallback: Some("../x".to_owned()), ..Options::default() },
        Options { immutable: vec!["/assets".to_owned()], ..Options::default() },
    ] {
        let opened = Directory::open(site.root(), options);
        assert!(matches!(opened, Err(Error::Name { .. })), "{opened:?}");
    }
}

/// A large file arrives whole, in pieces of bounded size, and its parts fit together.
#[tokio::test]
async fn a_large_file_in_pieces() {
    let content: String = (0..200_000).map(|n| format!("{n:07}\n")).collect();
    let site = Site::new(&[("big", &content)], Options::default());
    let headers = map(&[]);
    let head = Head { method: &Method::GET, path: "/big", query: None, headers: &headers };
    let mut body = site.directory.serve(head).await.unwrap().into_body();
    assert_eq!(body.size_hint().exact(), Some(content.len() as u64));
    let mut seen = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        assert!(data.len() <= 64 * 1024);
        seen.extend_from_slice(&data);
    }
    assert!(body.is_end_stream() && seen == content.as_bytes());
    let part = site.get("/big", &[("range", "bytes=70001-900000")]).await;
    assert!(part.body == content.as_bytes()[70_001..=900_000]);
}

/// What the kernel doesn't hold is read by a thread that may wait, with the same outcome.
#[tokio::test]
async fn cold_files_are_the_same() {
    let content: String = (0..50_000).map(|n| format!("{n:07}\n")).collect();
    let site = Site::new(&[("big", &content), ("small", "small")], Options::default());
    for name in ["big", "small"] {
        let file = std::fs::File::open(site.root().join(name)).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
    assert!(site.get("/big", &[]).await.body == content.as_bytes());
    assert_eq!(site.get("/small", &[]).await.text(), "small");
}

/// The length was promised: a shorter body must not look complete.
#[tokio::test]
async fn a_file_that_shrinks_under_way_is_an_error() {
    let site = Site::new(&[("big", &"x".repeat(300_000))], Options::default());
    let headers = map(&[]);
    let head = Head { method: &Method::GET, path: "/big", query: None, headers: &headers };
    let mut body = site.directory.serve(head).await.unwrap().into_body();
    assert!(body.frame().await.unwrap().is_ok());
    std::fs::write(site.root().join("big"), "short").unwrap();
    assert!(body.frame().await.unwrap().is_err());
    assert!(body.frame().await.is_none());
}

/// A build that removes the directory and makes it anew; a link that is turned to the next release.
#[tokio::test]
async fn a_replaced_directory_is_seen_after_a_refresh() {
    let site = Site::new(&[("a.txt", "old")], Options::default());
    std::fs::rename(site.root(), site.around.path().join("before")).unwrap();
    write(&site.root().join("a.txt"), "new");
    assert_eq!(site.get("/a.txt", &[]).await.text(), "old");
    site.directory.refresh().unwrap();
    assert_eq!(site.get("/a.txt", &[]).await.text(), "new");
    std::fs::remove_dir_all(site.root()).unwrap();
    assert!(site.directory.refresh().is_err());
}

#[tokio::test]
async fn shared_state_opens_only_what_lies_under_a_root() {
    let around = tempfile::tempdir().unwrap();
    let path = |name: &str| around.path().join(name);
    write(&path("www/site/index.html"), "site");
    write(&path("secret/index.html"), "secret");
    write(&path("www2/index.html"), "neighbour");
    std::os::unix::fs::symlink(path("secret"), path("www/out")).unwrap();
    std::os::unix::fs::symlink("../secret", path("www/relative")).unwrap();
    std::os::unix::fs::symlink(path("www/site"), path("www/current")).unwrap();
    let roots = Roots::new([path("www")]).unwrap();
    let open = |name: &str| roots.open(&path(name), Options::default());
    for fine in ["www", "www/", "www/site", "www/./site", "www/current"] {
        open(fine).unwrap();
    }
    for outside in ["secret", "www2", "www/out", "www/relative", ""] {
        assert!(matches!(open(outside), Err(Error::Outside { .. })), "{outside}");
    }
    assert!(matches!(open("www/../secret"), Err(Error::NotAbsolute { .. })));
    assert!(matches!(open("www/none"), Err(Error::Open { .. })));
    assert!(matches!(open("www/site/index.html"), Err(Error::Open { .. })));
    assert!(matches!(Roots::new(["www".into()]), Err(Error::NotAbsolute { .. })));
    let nowhere = Roots::default().open(&path("www"), Options::default());
    assert!(matches!(nowhere, Err(Error::Outside { .. })), "none by default");

    // A link that is turned outwards later is not followed.
    let current = open("www/current").unwrap();
    std::fs::remove_file(path("www/current")).unwrap();
    std::os::unix::fs::symlink(path("secret"), path("www/current")).unwrap();
    assert!(matches!(current.refresh(), Err(Error::Outside { .. })));
    Directory::open(path("www/current"), Options::default()).unwrap();
}

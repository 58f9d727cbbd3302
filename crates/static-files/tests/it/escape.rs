//! Nothing outside the root, whatever is asked and whatever lies in it.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use proptest::sample::select;
use static_files::Options;

use crate::site::{Site, write};

pub(crate) const SECRET: &str = "TOP-SECRET";

pub(crate) fn site() -> Site {
    let files = [("index.html", "public"), ("a/b/c.txt", "public"), ("a/index.html", "public")];
    let options = Options { fallback: Some("index.html".to_owned()), ..Options::default() };
    let site = Site::new(&files, options);
    for name in ["secret.txt", "rooted/secret.txt", "root/.hidden/secret.txt", "root/.secret.txt"] {
        write(&site.around.path().join(name), SECRET);
    }
    site
}

/// Ways to write a step up, a separator and a name, crossed: some thousand paths.
#[tokio::test]
async fn a_corpus_of_traversals() {
    let site = site();
    let ups = [
        "..",
        "%2e%2e",
        "%2E%2E",
        ".%2e",
        "%2e.",
        "%252e%252e",
        "%25252e%25252e",
        "%c0%ae%c0%ae",
        "%c0%2e%c0%2e",
        "%e0%80%ae%e0%80%ae",
        "%f0%80%80%ae%f0%80%80%ae",
        "%u002e%u002e",
        "..%00",
        "%00..",
        "..;",
        "..%20",
        "..%09",
        "...",
        "....",
        ". .",
        "%ff%2e%2e",
        "\u{ff0e}\u{ff0e}",
        "%ef%bc%8e%ef%bc%8e",
        "..%0d",
        "..%0a",
        "..%5c",
        "0x2e0x2e",
        "&#46;&#46;",
        "..%2500",
        "%%32%65%%32%65",
    ];
    let slashes = [
        "/",
        "//",
        "%2f",
        "%2F",
        "%5c",
        "\\",
        "%252f",
        "%255c",
        "%c0%af",
        "%e0%80%af",
        "%c1%9c",
        "/./",
        "/%2e/",
        "\u{2215}",
        "%u2215",
        ";/",
        "/;/",
    ];
    let names =
        ["secret.txt", "rooted/secret.txt", "etc/passwd", ".secret.txt", ".hidden/secret.txt"];
    let mut tried = 0;
    for up in ups {
        for slash in slashes {
            for name in names {
                for prefix in ["/", "/a/", "/a/b/", "//", "/a/b/c.txt/", "/.well-known/"] {
                    for depth in [1, 2, 4] {
                        let path =
                            format!("{prefix}{}{name}", format!("{up}{slash}").repeat(depth));
                        let answer = site.get(&path, &[("accept", "text/html")]).await;
                        let text = String::from_utf8_lossy(&answer.body);
                        assert!(!text.contains(SECRET) && !text.contains("root:"), "{path}");
                        assert!(matches!(answer.status, 200 | 404), "{path}: {}", answer.status);
                        tried += 1;
                    }
                }
            }
        }
    }
    println!("{tried} paths");
}

#[tokio::test]
async fn links_lead_nowhere_outside() {
    let site = site();
    let (root, around) = (site.root(), site.around.path().to_owned());
    symlink("../secret.txt", root.join("up.txt")).unwrap();
    symlink(around.join("secret.txt"), root.join("absolute.txt")).unwrap();
    symlink(&around, root.join("folder")).unwrap();
    symlink("..", root.join("a/upwards")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    symlink("/proc/self/cwd", root.join("cwd")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("b/c.txt", root.join("a/inside.txt")).unwrap();
    symlink("../index.html", root.join("a/inside2.html")).unwrap();
    symlink("../secret.txt", root.join("index.html.gz")).unwrap();
    std::fs::hard_link(root.join("index.html"), root.join("hard.html")).unwrap();
    for path in [
        "/up.txt",
        "/absolute.txt",
        "/folder/secret.txt",
        "/folder",
        "/folder/",
        "/a/upwards/../secret.txt",
        "/a/upwards/up.txt",
        "/magic/etc/passwd",
        "/cwd/Cargo.toml",
        "/loop",
    ] {
        let answer = site.get(path, &[]).await;
        assert_eq!((answer.status, answer.body.len()), (404, 0), "{path}");
    }
    for path in ["/a/inside.txt", "/a/inside2.html", "/a/upwards/index.html", "/hard.html"] {
        assert_eq!(site.get(path, &[]).await.text(), "public", "{path}");
    }
    let gzip = [("accept-encoding", "gzip")];
    assert_eq!(site.get("/index.html", &gzip).await.text(), "public");
}

/// What is no file answers at once: a pipe without a writer would hang an open.
#[tokio::test]
async fn pipes_and_sockets_are_not_found() {
    let site = site();
    let pipe = site.root().join("pipe");
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(site.root().join("socket")).unwrap();
    assert_eq!(site.get("/pipe", &[]).await.status, 404);
    assert_eq!(site.get("/socket", &[]).await.status, 404);
}

/// A link and a folder change places while they are asked for: the file or nothing, never what lies outside.
#[tokio::test]
async fn a_race_with_a_link() {
    let site = site();
    let root = site.root();
    write(&root.join("real/secret.txt"), "public");
    symlink(site.around.path(), root.join("link")).unwrap();
    symlink("real", root.join("door")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let turner = {
        let (stop, root) = (stop.clone(), root.clone());
        std::thread::spawn(move || {
            let mut turns = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                for target in ["link", "real", "../root/real", "nowhere"] {
                    symlink(target, root.join("next")).unwrap();
                    std::fs::rename(root.join("next"), root.join("door")).unwrap();
                    turns += 1;
                }
            }
            turns
        })
    };
    let (mut found, mut missing) = (0, 0);
    for _ in 0..20_000 {
        let answer = site.get("/door/secret.txt", &[]).await;
        match answer.status {
            200 => found += 1,
            _ => missing += 1,
        }
        assert!(matches!(&*answer.body, b"public" | b""), "{:?}", answer.body);
    }
    stop.store(true, Ordering::Relaxed);
    println!("{found} found, {missing} not, {} turns", turner.join().unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    /// Whatever is put together: an answer, and nothing secret in it.
    #[test]
    fn soup(pieces in proptest::collection::vec(select(&[
        "/", "/", "..", "%2e", "%2f", "%5c", "\\", "%00", "a", "b", "c.txt", "secret.txt", ".secret.txt",
        ".hidden", "index.html", "%c0%ae", "%25", "rooted", "root", "?", "#", "~", " ", "é", "%ff",
    ][..]), 0..12)) {
        thread_local! {
            static SITE: Site = site();
            static RUNTIME: tokio::runtime::Runtime =
                tokio::runtime::Builder::new_current_thread().build().unwrap();
        }
        let target = format!("/{}", pieces.concat());
        let answer = SITE.with(|site| RUNTIME.with(|it| it.block_on(site.get(&target, &[]))));
        prop_assert!(matches!(answer.status, 200 | 307 | 404));
        prop_assert!(matches!(&*answer.body, b"public" | b""), "{target}");
    }
}

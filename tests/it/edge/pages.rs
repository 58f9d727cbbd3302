//! Error pages of an operator's own, for clients that read HTML and for nobody else.

use serde_json::json;
use testkit::{Curl, Fetched, System, free_port, shared};

use crate::gateway::{Fixed, header, set, url};

const READS_HTML: [&str; 2] = ["-H", "accept: text/html"];

async fn ask(system: &System, path: &str, options: &[&str]) -> Fetched {
    Curl::new(&system.proxies[0]).with(options).get(&url(path)).await
}

fn text(answer: &Fetched) -> &str {
    std::str::from_utf8(&answer.body).unwrap()
}

/// What the gateway itself says is said in the operator's words; the page names the request, and nothing in it is a client's.
#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_own_errors_have_the_operators_pages() {
    let _turn = shared().await;
    let files = tempfile::tempdir().unwrap();
    let roots = files.path().to_str().unwrap();
    let system = System::builder().set("STATIC_ROOTS", roots).start().await;
    let pages = json!({
        "502": "<h1>{status} {reason}</h1><p>{host} {request_id}</p>",
        "404": "<h1>Nothing here</h1>",
        "4xx": "<h1>No: {status}</h1>",
    });
    let nobody = format!("127.0.0.1:{}", free_port());
    let rules = json!({"upstreams": [nobody], "error_pages": {"pages": pages}});
    set(&system, "app.localhost", rules.clone()).await;
    let page = ask(&system, "/", &READS_HTML).await;
    let id = header(&page, "x-request-id").unwrap().to_owned();
    assert_eq!(
        (page.status, header(&page, "content-type")),
        (502, Some("text/html; charset=utf-8"))
    );
    assert_eq!(text(&page), format!("<h1>502 Bad Gateway</h1><p>app.localhost {id}</p>"));
    assert_eq!(header(&page, "cache-control"), Some("no-store"));
    let told = ask(&system, "/", &["-H", "accept: text/html", "--head"]).await;
    assert_eq!(header(&told, "content-length"), Some(page.body.len().to_string().as_str()));
    let program = ask(&system, "/", &["-H", "accept: application/json"]).await;
    assert_eq!(header(&program, "content-type"), Some("text/plain; charset=utf-8"));
    assert!(text(&program).starts_with("502 Bad gateway"), "{}", text(&program));

    let mut denied = rules.clone();
    denied["deny"] = json!(["127.0.0.0/8"]);
    set(&system, "app.localhost", denied).await;
    assert_eq!(text(&ask(&system, "/", &READS_HTML).await), "<h1>No: 403</h1>");

    let directory = json!({"static": {"root": roots}, "error_pages": rules["error_pages"]});
    set(&system, "app.localhost", directory).await;
    let missing = ask(&system, "/missing", &READS_HTML).await;
    assert_eq!((missing.status, text(&missing)), (404, "<h1>Nothing here</h1>"));
    assert_eq!(ask(&system, "/missing", &[]).await.body, b"");

    for (pages, place) in [
        (json!({"200": "x"}), "/error_pages/pages/200"),
        (json!({"404": "x".repeat(65_537)}), "/error_pages/pages/404"),
        (json!({}), "/error_pages/pages"),
    ] {
        let wrong = json!({"host": "app.localhost", "error_pages": {"pages": pages}});
        let told = system.api.put("/api/host/app.localhost", &wrong).await.expect(422);
        assert_eq!(told["errors"][0]["pointer"], place, "{told}");
    }
}

/// An app's errors are replaced only where that is wanted, for who reads HTML, and if no data are lost.
#[tokio::test(flavor = "multi_thread")]
async fn an_apps_errors_are_replaced_where_that_is_wanted() {
    let _turn = shared().await;
    let system = System::start().await;
    let error = |kind: &str| {
        Fixed::start(format!(
            "HTTP/1.1 503 Gone Fishing\r\n{kind}x-kept: yes\r\nretry-after: 7\r\netag: \"1\"\r\n\
             content-length: 5\r\n\r\nown e"
        ))
    };
    let pages = json!({"5xx": "<h1>{status}</h1>"});
    for (kind, intercept, options, replaced) in [
        ("content-type: text/html; charset=utf-8\r\n", true, &READS_HTML[..], true),
        ("content-type: Text/Plain\r\n", true, &READS_HTML, true),
        ("", true, &READS_HTML, true),
        ("content-type: text/html\r\n", false, &READS_HTML, false),
        ("content-type: application/problem+json\r\n", true, &READS_HTML, false),
        ("content-type: text/html\r\n", true, &[], false),
    ] {
        let app = error(kind);
        let own = json!({"pages": pages, "intercept": intercept});
        set(&system, "app.localhost", json!({"upstreams": [app.addr()], "error_pages": own})).await;
        let answer = ask(&system, "/", options).await;
        let want = if replaced { "<h1>503</h1>" } else { "own e" };
        assert_eq!((answer.status, text(&answer)), (503, want), "{kind} {intercept}");
        assert_eq!(header(&answer, "x-kept"), Some("yes"));
        assert_eq!(header(&answer, "retry-after"), Some("7"));
        assert_eq!(header(&answer, "etag").is_none(), replaced, "{kind} {intercept}");
        // The connection goes on, whatever became of the app's.
        let again = ask(&system, "/", options).await;
        assert_eq!(text(&again), want);
    }
}

//! What was written can be seen and taken back, by command line and API, whatever the store.

use futures_util::future::join_all;
use http::Method;
use serde_json::json;
use testkit::{Api, System, Up, shared};

/// A write, a look at it and the way back, as a person would.
#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_is_found_and_taken_back_by_command_line() {
    let _turn = shared().await;
    let up = Up::start().await;
    let env = [("GATEWRIGHT_TOKEN", up.api.token())];
    let run = |arguments: &[&str]| {
        let output = up.cli_with(arguments, &env);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), text, errors)
    };
    assert_eq!(run(&["host", "add", "a.localhost", "127.0.0.1:9000"]).0, Some(0));
    assert_eq!(run(&["host", "edit", "a.localhost", "--upstream", "127.0.0.1:1"]).0, Some(0));
    let (code, text, _) = run(&["history", "list", "--host", "a.localhost"]);
    assert_eq!(code, Some(0));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[1].contains("update") && lines[1].contains("admin"), "{text}");
    let number = lines[1].split_whitespace().next().unwrap();

    let (_, text, _) = run(&["history", "show", number]);
    let row = text.lines().find(|line| line.starts_with("upstreams")).expect("a row");
    assert!(row.contains("127.0.0.1:9000") && row.contains("127.0.0.1:1"), "{text}");
    let (code, _, errors) = run(&["history", "rollback", number]);
    assert_eq!(code, Some(0), "{errors}");
    let now = up.api.get("/api/host/a.localhost").await.expect(200);
    assert_eq!(now["upstreams"], json!(["127.0.0.1:9000"]));
    let (code, _, errors) = run(&["history", "rollback", number]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("has changed since"), "{errors}");
    let (_, text, _) = run(&["--json", "history", "list"]);
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(all["results"][0]["why"], format!("rollback of {number}"));
    assert_eq!(run(&["history", "show", "9999"]).0, Some(2));
}

/// Sixteen writers that hold the same tag, over real connections: in each round exactly one wins.
async fn one_wins(api: &Api) {
    let host = json!({ "host": "race.localhost", "upstreams": ["127.0.0.1:9"] });
    let path = "/api/host/race.localhost";
    api.post("/api/host", &host).await.expect(201);
    for round in 0..10 {
        let tag = api.get(path).await.headers["etag"].to_str().unwrap().to_owned();
        let writes = (0..16).map(|writer| {
            let (api, tag) = (api.clone(), tag.clone());
            let upstream = format!("127.0.0.1:{}", 1000 + round * 16 + writer);
            async move {
                let body = json!({ "upstreams": [upstream] });
                let fields = [("if-match", tag.as_str())];
                let answer = api.call(Method::PUT, path, Some(&body), &fields).await;
                (answer.status.as_u16(), upstream)
            }
        });
        let answers = join_all(writes).await;
        let won: Vec<_> = answers.iter().filter(|(status, _)| *status == 200).collect();
        let lost = answers.iter().filter(|(status, _)| *status == 412).count();
        assert_eq!((won.len(), lost), (1, 15), "{answers:?}");
        let now = api.get(path).await.expect(200);
        assert_eq!(now["upstreams"], json!([won[0].1]));
    }
    let told = api.get("/api/history?host=race.localhost&limit=500").await.expect(200);
    assert_eq!(told["results"].as_array().unwrap().len(), 11, "the losers left no trace");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_writers_with_the_same_tag_one_wins_on_redis() {
    let _turn = shared().await;
    let system = System::builder().proxies(0).start().await;
    one_wins(&system.api).await;
    let entries = system.redis.command(&["HGET", "proxy_gw_history", "last"]).await;
    assert_eq!(entries, "$2\r\n12\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_writers_with_the_same_tag_one_wins_on_the_embedded_store() {
    let _turn = shared().await;
    let up = Up::start().await;
    one_wins(&up.api).await;
}

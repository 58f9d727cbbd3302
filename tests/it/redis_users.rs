//! Redis with users: the data plane as one that can read what it serves by and write little, the control plane as one
//! without the commands of an administrator. The rules are those of docs/operations.md.

use std::time::Duration;

use serde_json::json;
use testkit::{App, Curl, System, TestRedis, shared, until};

const PATIENCE: Duration = Duration::from_secs(20);
const PASSWORD: &str = "operator";
const API: (&str, &str) = ("gw-api", "api-word");
const PROXY: (&str, &str) = ("gw-proxy", "proxy-word");

/// The rules of a user as the manual has them, for `ACL SETUSER`.
fn documented(user: (&str, &str)) -> String {
    let manual = include_str!("../../docs/operations.md");
    let begin = format!("ACL SETUSER {} on >SECRET ", user.0);
    let (_, rules) = manual.split_once(&begin).expect("the manual has the rules");
    let rules = rules.split("\n```").next().unwrap().split("\nACL ").next().unwrap();
    let rules: Vec<_> = rules.split_whitespace().filter(|word| *word != "\\").collect();
    format!("{} on >{} {}", user.0, user.1, rules.join(" "))
}

async fn redis() -> TestRedis {
    let setup = TestRedis::setup().password(PASSWORD);
    setup.user(&documented(API)).user(&documented(PROXY)).start().await
}

/// The whole works with the documented users: certificates on demand (the data plane writes what it wants), changes
/// followed, the report under its lease; and the log of refused commands names nothing that was needed.
#[tokio::test(flavor = "multi_thread")]
async fn both_planes_work_with_the_documented_users() {
    let _turn = shared().await;
    let system = System::builder().redis(redis().await).logins(API, PROXY).start().await;
    let app = App::start("app");
    system.api.route("app.localhost", app.addr()).await;
    system.api.route("*.wild.localhost", app.addr()).await;
    let curl = Curl::new(&system.proxies[0]);
    assert_eq!(curl.get("https://app.localhost/").await.status, 200);
    // Verified by the local authority's root, so the certificate came on demand.
    assert_eq!(curl.get("https://one.wild.localhost/").await.status, 200);
    // What a program of the older layout left there is read, too.
    system.redis.command(&["SET", "app.localhost:challenge:token", "token.thumb"]).await;
    let proof = curl.get("http://app.localhost/.well-known/acme-challenge/token").await;
    assert_eq!(proof.body, b"token.thumb");
    system.api.delete("/api/host/app.localhost?wait=applied&timeout=5s").await;
    assert_eq!(curl.get("http://app.localhost/").await.status, 404);
    let status = system.api.get("/api/status").await.expect(200);
    assert_eq!(status["proxies"][0]["instance"], "proxy0", "{status}");

    // An edit by hand, without a revision: told by the server, not found by the timer.
    let edit = ["HSET", "proxy_Host_*.wild.localhost", "is_wildcard", "true", "note", "by hand"];
    system.redis.command(&edit).await;
    assert!(!system.proxies[0].process.stderr().contains("relying on looking"));
    let refused = system.redis.command(&["ACL", "LOG"]).await;
    let refused: Vec<_> = refused.lines().filter(|line| line.contains("gw-api")).collect();
    assert!(refused.is_empty(), "the control plane was refused something: {refused:?}");
}

/// What the data plane's user must not do, asked of the server directly.
#[tokio::test]
async fn the_data_plane_is_refused_what_is_not_its() {
    let _turn = shared().await;
    let redis = redis().await;
    let ask = async |words: &[&str]| redis.node(0).command_as(Some(PROXY), words).await.unwrap();
    for collection in ["User", "AuthToken", "ApiToken", "DnsProvider", "LocalCa", "Domain"] {
        let (index, record) = (format!("proxy_{collection}"), format!("proxy_{collection}_x"));
        for words in [
            vec!["HGETALL", &record],
            vec!["HSET", &record, "a", "b"],
            vec!["DEL", &record],
            vec!["SSCAN", &index, "0"],
            vec!["SADD", &index, "x"],
            vec!["EVAL_RO", "return redis.call('HGETALL', KEYS[1])", "1", &record],
            vec!["EVAL", "return redis.call('DEL', KEYS[1])", "1", &record],
            // A key that is not declared is judged all the same.
            vec!["EVAL", &format!("return redis.call('HGETALL', '{record}')"), "0"],
        ] {
            let answer = ask(&words).await;
            assert!(
                answer.contains("NOPERM") || answer.contains("can't access"),
                "{words:?}: {answer}"
            );
        }
    }
    for collection in ["Host", "Cert", "Challenge"] {
        let record = format!("proxy_{collection}_x");
        assert_eq!(ask(&["HGETALL", &record]).await, "*0\r\n");
        for words in [
            vec!["HSET", record.as_str(), "a", "b"],
            vec!["DEL", &record],
            vec!["EVAL", "return redis.call('HSET', KEYS[1], 'a', 'b')", "1", &record],
        ] {
            let answer = ask(&words).await;
            assert!(answer.contains("NOPERM"), "{words:?}: {answer}");
        }
    }
    for words in [
        vec!["KEYS", "*"],
        vec!["FLUSHALL"],
        vec!["CONFIG", "GET", "*"],
        vec!["ACL", "LIST"],
        vec!["SUBSCRIBE", "another"],
        vec!["MONITOR"],
        vec!["CLIENT", "LIST"],
    ] {
        let answer = ask(&words).await;
        assert!(answer.contains("NOPERM"), "{words:?}: {answer}");
    }
    for command in ["FLUSHALL", "SHUTDOWN", "MONITOR"] {
        let answer = redis.node(0).command_as(Some(API), &[command]).await.unwrap();
        assert!(answer.contains("NOPERM"), "{command}: {answer}");
    }
}

/// A password that is changed under the programs: traffic goes on, the API says what is wrong, the log says it once,
/// and both recover when it is right again.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_changed_under_the_programs_is_reported_and_recovered_from() {
    let _turn = shared().await;
    let system = System::builder().redis(redis().await).logins(API, PROXY).start().await;
    let app = App::start("app");
    system.api.route("app.localhost", app.addr()).await;
    let curl = Curl::new(&system.proxies[0]);
    // Its certificate is there before the store is not.
    assert_eq!(curl.get("https://app.localhost/").await.status, 200);
    for (user, _) in [API, PROXY] {
        system.redis.command(&["ACL", "SETUSER", user, "resetpass", ">other"]).await;
    }
    // An open connection keeps its login; a network that blinks loses it.
    system.redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    system.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;

    let host = json!({ "host": "late.localhost", "upstreams": [app.addr().to_string()] });
    until("the API says why", PATIENCE, async || {
        let answer = system.api.post("/api/host", &host).await;
        let detail = answer.json()["detail"].to_string();
        (answer.status == 503 && detail.contains("refuses the user name or password")).then_some(())
    })
    .await;
    until("the proxy logs why", PATIENCE, async || {
        let log = system.proxies[0].process.stderr();
        log.contains("refuses the user name or password").then_some(())
    })
    .await;
    assert_eq!(curl.get("https://app.localhost/").await.status, 200);
    assert_eq!(system.proxies[0].admin("/readyz").await.0, 200);

    for (user, word) in [API, PROXY] {
        system.redis.command(&["ACL", "SETUSER", user, "resetpass", &format!(">{word}")]).await;
    }
    until("a change goes through", PATIENCE, async || {
        let answer = system.api.post("/api/host?wait=applied&timeout=5s", &host).await;
        (answer.status == 201 && answer.json()["applied"] == true).then_some(())
    })
    .await;
    let log = system.proxies[0].process.stderr();
    let said = log.lines().filter(|line| line.contains("no connection to Redis")).count();
    println!("the proxy said {said} times that there is no connection");
    assert!(said <= 4, "once per change:\n{log}");
}

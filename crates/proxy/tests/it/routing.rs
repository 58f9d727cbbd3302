//! Which answer a request gets.

use crate::common::client::Client;
use crate::common::origin::Origin;
use crate::common::{Gateway, host};
use model::{Challenge, Host, HostRules, Timestamp};
use proxy::TableState;

#[tokio::test]
async fn a_request_goes_to_its_host_with_the_clients_address_and_a_request_id() {
    let app = Origin::echo().await;
    let gateway = Gateway::start(vec![host("*.app.test", app.address)]).await;
    let mut client = gateway.client().await;
    client
        .send(
            "GET /a%2fb?c=d&e HTTP/1.1\r\nHost: WWW.app.test:8080\r\nConnection: x-hop\r\n\
             X-Hop: 1\r\nX-Forwarded-For: 6.6.6.6\r\nX-Keep: 1\r\n\r\n",
        )
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    let seen = answer.text().to_lowercase();
    assert!(seen.starts_with("get /a%2fb?c=d&e http/1.1\r\n"), "{seen}");
    assert!(seen.contains("\r\nhost: www.app.test:8080\r\n"), "{seen}");
    assert!(seen.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"), "{seen}");
    assert!(seen.contains("\r\nx-forwarded-proto: http\r\n"), "{seen}");
    assert!(seen.contains("\r\nx-keep: 1\r\n"), "{seen}");
    assert!(!seen.contains("x-hop") && !seen.contains("6.6.6.6"), "{seen}");
    let lines = gateway.stop().await;
    let id = lines[0]["request_id"].as_str().unwrap();
    assert!(seen.contains(&format!("\r\nx-request-id: {id}\r\n")), "{seen}");
}

#[tokio::test]
async fn an_unknown_host_is_told_so_with_a_request_id() {
    let gateway = Gateway::start(vec![]).await;
    let mut client = gateway.client().await;
    let answer = client.get("nobody.test", "/").await;
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("Unknown host"));
    client.send("GET / HTTP/1.1\r\nHost: nobody.test\r\nAccept: text/html,*/*;q=0.8\r\n\r\n").await;
    let page = client.answer().await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let lines = gateway.stop().await;
    assert!(answer.text().contains(lines[0]["request_id"].as_str().unwrap()));
    assert!(page.text().contains(lines[1]["request_id"].as_str().unwrap()));
    assert_eq!(lines[0]["host_pattern"], serde_json::Value::Null);
}

#[tokio::test]
async fn without_a_table_every_request_gets_503_and_the_gateway_is_not_ready() {
    let gateway = Gateway::start(vec![]).await;
    gateway.tables.set_state(TableState::default());
    let answer = gateway.client().await.get("a.test", "/").await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(Client::connect(gateway.admin).await.get("x", "/readyz").await.status, 503);
    assert_eq!(Client::connect(gateway.admin).await.get("x", "/livez").await.status, 200);
    gateway.tables.set_state(TableState { loaded: true, ..TableState::default() });
    assert_eq!(Client::connect(gateway.admin).await.get("x", "/readyz").await.status, 200);
}

#[tokio::test]
async fn plain_http_is_sent_to_https_with_path_and_query_as_they_were() {
    let gateway = Gateway::start(vec![Host::new("a.test".parse().unwrap())]).await;
    let mut client = gateway.client().await;
    let answer = client.get("A.test:80", "/x%20y/../?q=%C3%BC&&=").await;
    assert_eq!(answer.status, 301);
    let port = gateway.https.port();
    let there = format!("https://a.test:{port}/x%20y/../?q=%C3%BC&&=");
    assert_eq!(answer.header("location"), Some(there.as_str()));
    client.send("POST /form HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nab").await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 308);
    assert_eq!(client.get("a.test", "/").await.status, 301, "the body was read out");
}

#[tokio::test]
async fn a_pending_challenge_is_answered_before_the_redirect_and_others_are_not() {
    let gateway = Gateway::start(vec![Host::new("a.test".parse().unwrap())]).await;
    let challenge = Challenge {
        domain: "a.test".parse().unwrap(),
        token: "tok".to_owned(),
        key_authorisation: "tok.thumb".to_owned(),
        expires_at: Timestamp::from_millis(u64::MAX),
    };
    gateway.tables.apply_challenge("1", Some(challenge));
    let mut client = gateway.client().await;
    let path = "/.well-known/acme-challenge/tok";
    assert_eq!(client.get("a.test", path).await.text(), "tok.thumb");
    assert_eq!(client.get("b.test", path).await.status, 404);
    assert_eq!(client.get("a.test", "/.well-known/acme-challenge/other").await.status, 301);
    gateway.tables.apply_challenge("1", None);
    assert_eq!(client.get("a.test", path).await.status, 301);
}

#[tokio::test]
async fn a_change_of_the_table_counts_from_the_next_request_on_the_same_connection() {
    let (one, two) = (
        Origin::start(|mut visit| async move {
            while visit.request().await.is_some() {
                visit.answer("one").await;
            }
        })
        .await,
        Origin::start(|mut visit| async move {
            while visit.request().await.is_some() {
                visit.answer("two").await;
            }
        })
        .await,
    );
    let gateway = Gateway::start(vec![host("a.test", one.address)]).await;
    let mut client = gateway.client().await;
    assert_eq!(client.get("a.test", "/").await.text(), "one");
    let changed = host("a.test", two.address);
    gateway.tables.apply_host(&changed.pattern.clone(), Some(changed)).unwrap();
    assert_eq!(client.get("a.test", "/").await.text(), "two");
    gateway.tables.apply_host(&"a.test".parse().unwrap(), None).unwrap();
    assert_eq!(client.get("a.test", "/").await.status, 404);
}

#[tokio::test]
async fn a_dead_upstream_is_502_none_is_503_and_the_next_one_is_tried() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let app = Origin::echo().await;
    let mut both = host("both.test", dead);
    both.upstreams.push(app.address.to_string().parse().unwrap());
    let mut none = host("none.test", dead);
    none.upstreams.clear();
    let gateway = Gateway::start(vec![host("dead.test", dead), none, both]).await;
    let mut client = gateway.client().await;
    assert_eq!(client.get("dead.test", "/").await.status, 502);
    assert_eq!(client.get("none.test", "/").await.status, 503);
    for _ in 0..4 {
        assert_eq!(client.get("both.test", "/").await.status, 200);
    }
    let lines = gateway.stop().await;
    let error = lines[0]["error"].as_str().unwrap();
    assert!(error.contains(&dead.to_string()) && error.contains("refused"), "{error}");
    assert_eq!(lines[5]["upstream"], app.address.to_string());
}

#[tokio::test]
async fn the_upstreams_own_name_is_sent_when_the_public_one_is_not_to_be_preserved() {
    let app = Origin::echo().await;
    let mut own = host("public.test", app.address);
    own.preserve_host = false;
    let gateway = Gateway::start(vec![own]).await;
    let seen = gateway.client().await.get("public.test", "/").await.text().to_lowercase();
    assert!(seen.contains(&format!("\r\nhost: {}\r\n", app.address)), "{seen}");
    assert!(seen.contains("\r\nx-forwarded-host: public.test\r\n"), "{seen}");
}

#[tokio::test]
async fn the_admin_listener_shows_the_table_and_explains() {
    let app = Origin::echo().await;
    let hosts = vec![host("*.a.test", app.address), host("x.a.test", app.address)];
    let gateway = Gateway::start(hosts).await;
    let mut admin = Client::connect(gateway.admin).await;
    let table: serde_json::Value =
        serde_json::from_str(admin.get("x", "/debug/table").await.text()).unwrap();
    assert_eq!(table["hosts"], 2);
    assert_eq!(table["digest"], gateway.tables.digest().to_string());
    let why: serde_json::Value =
        serde_json::from_str(admin.get("x", "/debug/explain?host=X.a.test").await.text()).unwrap();
    assert_eq!(why["match"], "x.a.test");
    assert_eq!(why["candidates"][1]["pattern"], "*.a.test");
    let path = "/debug/explain?url=http%3A%2F%2Fx.a.test%2Fpage&header=accept:+text/html";
    let would: serde_json::Value = serde_json::from_str(admin.get("x", path).await.text()).unwrap();
    let upstreams = serde_json::json!([app.address.to_string()]);
    assert_eq!((&would["match"], &would["upstreams"]), (&why["match"], &upstreams), "{would}");
    assert_eq!(admin.get("x", "/debug/explain?url=/page").await.status, 400);
    gateway.client().await.get("x.a.test", "/").await;
    let metrics = admin.get("x", "/metrics").await;
    let line = r#"gatewright_http_requests_total{host="x.a.test",code="2xx"} 1"#;
    assert!(metrics.text().contains(line), "{}", metrics.text());
}

/// Behind a trusted proxy that speaks TLS every request was redirected to where it came from, for ever. Of a stranger the
/// same header changes nothing.
#[tokio::test]
async fn a_trusted_proxys_https_is_https() {
    let app = Origin::echo().await;
    let secured = || vec![Host { force_https: true, ..host("app.test", app.address) }];
    let request = "GET /a HTTP/1.1\r\nHost: app.test\r\nX-Forwarded-Proto: https\r\n\r\n";

    let stranger = Gateway::start(secured()).await;
    let mut client = stranger.client().await;
    client.send(request).await;
    assert_eq!(client.answer().await.status, 301);

    let trusting = Gateway::start_with(secured(), |settings| {
        settings.trusted_proxies = "127.0.0.0/8".parse().unwrap();
    });
    let mut client = trusting.await.client().await;
    client.send(request).await;
    assert_eq!(client.answer().await.status, 200);
}

/// `GET http://a?x` asks for `/?x`; the redirect lost the query.
#[tokio::test]
async fn a_target_without_a_path_keeps_its_query() {
    let app = Origin::echo().await;
    let secured = Host { force_https: true, ..host("secure.test", app.address) };
    let gateway = Gateway::start(vec![host("app.test", app.address), secured]).await;
    let mut client = gateway.client().await;
    client.send("GET http://app.test?x=1 HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    assert!(client.answer().await.text().starts_with("GET /?x=1 HTTP/1.1\r\n"));
    client.send("GET http://secure.test?x=1 HTTP/1.1\r\nHost: secure.test\r\n\r\n").await;
    let location = client.answer().await;
    assert!(location.header("location").unwrap().ends_with("/?x=1"), "{location:?}");
    gateway.stop().await;
}

/// The redirect to a host's main name lost the port, so that it led nowhere but on the usual ports.
#[tokio::test]
async fn the_main_name_is_reached_by_the_port_that_was_asked() {
    let app = Origin::echo().await;
    let mut named = host("*.app.test", app.address);
    let canonical = Some("app.test".to_owned());
    named.set_rules(HostRules { canonical, ..HostRules::default() });
    let gateway = Gateway::start(vec![named]).await;
    for (asked, location) in [
        ("www.app.test", "http://app.test/a?b"),
        ("www.app.test:8080", "http://app.test:8080/a?b"),
        ("www.app.test:", "http://app.test/a?b"),
    ] {
        let answer = gateway.client().await.get(asked, "/a?b").await;
        assert_eq!((answer.status, answer.header("location")), (308, Some(location)));
    }
    gateway.stop().await;
}

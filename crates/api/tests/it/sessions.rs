use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Method, Request};

use crate::world::{Api, PASSWORD};

fn login(name: &str, password: &str, from: [u8; 4]) -> Request<Body> {
    let body = serde_json::json!({ "username": name, "password": password });
    let mut request = Request::post("/api/auth/login")
        .header("content-type", "application/json; charset=utf-8")
        .body(Body::from(body.to_string()))
        .unwrap();
    let peer = std::net::SocketAddr::from((from, 12345));
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

#[tokio::test]
async fn a_login_gives_a_token_that_works_in_both_headers() {
    let mut api = Api::new().await;
    let answer = api.send(login("Admin", PASSWORD, [10, 0, 0, 1])).await;
    assert_eq!(answer.status, 200);
    let json = answer.json();
    let token = json["token"].as_str().unwrap();
    assert!(token.starts_with("gw_"));
    assert_eq!(json["expires_at"], "2026-09-22T02:13:20Z");
    api.forget();
    for (header, value) in [
        ("auth-token", token.to_owned()),
        ("authorization", format!("Bearer {token}")),
        ("authorization", format!("bearer {token}")),
    ] {
        let request = Request::get("/api/user/me").header(header, value);
        let answer = api.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 200, "{header}");
        assert_eq!(answer.json()["username"], "admin");
        assert_eq!(answer.json()["role"], "admin");
        assert!(!answer.text.contains("$2"), "no hash: {}", answer.text);
    }
}

#[tokio::test]
async fn whoever_is_nobody_gets_the_same_answer_everywhere() {
    let api = Api::new().await;
    let wrong = "gw_0000000000000000000000000000000000000000000";
    let bearer = format!("Bearer {}", api.token());
    for path in ["/api/user/me", "/api/host", "/api/host/a.test", "/api/status", "/api/user"] {
        for headers in [
            vec![],
            vec![("auth-token", wrong)],
            vec![("auth-token", "é")],
            vec![("authorization", "Basic YTpi")],
            vec![("authorization", "Basic YTpi"), ("auth-token", api.token())],
            vec![("authorization", &bearer), ("auth-token", wrong)],
            vec![("authorization", &bearer), ("authorization", "Bearer x")],
            vec![("auth-token", api.token()), ("authorization", "Bearer x")],
            vec![("authorization", "Bearer")],
            vec![("authorization", "Bearer x")],
        ] {
            let mut request = Request::get(path);
            for (name, value) in headers {
                request = request.header(name, value.as_bytes());
            }
            let answer = api.send(request.body(Body::empty()).unwrap()).await;
            answer.is(401, "unauthorised");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"gatewright\""));
        }
    }
}

#[tokio::test]
async fn a_wrong_login_tells_nothing() {
    let api = Api::new().await;
    let wrong = [("admin", "wrong horse"), ("nobody", PASSWORD), ("no name!", ""), ("", "")];
    let mut details = Vec::new();
    for (name, password) in wrong {
        let answer = api.send(login(name, password, [10, 0, 0, 2])).await;
        answer.is(401, "unauthorised");
        details.push(answer.json()["detail"].clone());
    }
    details.dedup();
    assert_eq!(details.len(), 1);
}

#[tokio::test]
async fn logins_are_limited_by_account_and_by_address() {
    let api = Api::new().await; // that was the first of admin's five
    for n in 0..4 {
        api.send(login("admin", "wrong horse", [10, 0, 1, n])).await.is(401, "unauthorised");
    }
    let answer = api.send(login("admin", PASSWORD, [10, 0, 1, 9])).await;
    answer.is(429, "rate_limited");
    assert_eq!(answer.header("retry-after"), Some("60"));

    for n in 0..20 {
        let answer = api.send(login(&format!("user{n}"), "x", [10, 0, 2, 1])).await;
        answer.is(401, "unauthorised");
    }
    api.send(login("somebody", "x", [10, 0, 2, 1])).await.is(429, "rate_limited");
    api.send(login("somebody", "x", [10, 0, 2, 2])).await.is(401, "unauthorised");
}

#[tokio::test]
async fn logging_out_works() {
    let api = Api::new().await;
    let answer =
        api.send(api.request(Method::POST, "/api/auth/logout").body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
    api.get("/api/user/me").await.is(401, "unauthorised");
}

#[tokio::test]
async fn a_session_ends_by_itself() {
    let api = Api::new().await;
    api.world.hand.advance(std::time::Duration::from_secs(12 * 3600));
    api.get("/api/user/me").await.is(401, "unauthorised");
}

#[tokio::test]
async fn the_own_password_changes() {
    let mut api = Api::new().await;
    let change = |current: &str, new: &str| {
        serde_json::json!({ "current_password": current, "password": new }).to_string()
    };
    let path = "/api/user/password";
    assert_eq!(
        api.put(path, &change("wrong", "battery staple")).await.pointers(),
        ["/current_password"]
    );
    assert_eq!(api.put(path, &change(PASSWORD, "short")).await.pointers(), ["/password"]);
    let long = "x".repeat(72);
    assert_eq!(api.put(path, &change(PASSWORD, &long)).await.pointers(), ["/password"]);
    let answer = api.put(path, r#"{"password":"x","role":"admin"}"#).await;
    assert_eq!(answer.pointers(), ["/current_password", "/password", "/role"]);

    let answer =
        api.put("/api/user/password?wait=applied", &change(PASSWORD, "battery staple")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["applied"], true);
    assert_eq!(api.get("/api/user/me").await.status, 200, "this session goes on");
    api.forget();
    api.world.hand.advance(std::time::Duration::from_secs(60));
    api.send(login("admin", PASSWORD, [10, 0, 3, 1])).await.is(401, "unauthorised");
    assert_eq!(api.send(login("admin", "battery staple", [10, 0, 3, 1])).await.status, 200);
}

use serde_json::json;

use crate::world::Api;

const ANN: &str = r#"{"username":"Ann","role":"manager","password":"correct horse"}"#;

#[tokio::test]
async fn an_account_lives_and_dies() {
    let mut api = Api::new().await;
    let tried = api.post("/api/user?dry_run=true", ANN).await;
    assert_eq!(tried.status, 200);
    let made = api.post("/api/user", ANN).await;
    assert_eq!((made.status.as_u16(), made.header("location")), (201, Some("/api/user/ann")));
    api.post("/api/user", ANN).await.is(409, "exists");

    let names = |answer: serde_json::Value| {
        let all = answer["results"].as_array().unwrap().clone();
        all.into_iter()
            .map(|user| user["username"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(api.get("/api/user").await.json()), ["admin", "ann"]);
    let page = api.get("/api/user?limit=1").await.json();
    assert_eq!(page["next"], "admin");
    assert_eq!(names(api.get("/api/user?after=admin").await.json()), ["ann"]);

    let seen = api.get("/api/user/ann").await;
    assert_eq!(seen.header("etag"), made.header("etag"));
    assert!(!seen.text.contains("password") && !seen.text.contains("$2"), "{}", seen.text);
    let patched = api.patch("/api/user/ann", r#"{"role":"viewer","password":null}"#).await;
    assert_eq!(patched.json()["role"], "viewer");

    api.log_in("ann").await;
    api.post("/api/host", r#"{"host":"a.test"}"#).await.is(403, "forbidden");
    api.log_in("admin").await;
    let gone = api.delete("/api/user/ann?wait=applied").await.json();
    assert_eq!((&gone["deleted"], &gone["applied"]), (&json!("ann"), &json!(true)));
    for answer in [api.get("/api/user/ann").await, api.delete("/api/user/ann").await] {
        answer.is(404, "not_found");
    }
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let api = Api::new().await;
    api.delete("/api/user/admin").await.is(409, "refused");
    api.patch("/api/user/admin", r#"{"role":"viewer"}"#).await.is(409, "refused");
}

use serde_json::{Value, json};

use crate::world::Api;

#[tokio::test]
async fn the_store_is_accepted_by_an_administrator() {
    let mut api = Api::new().await;
    let accepted = api.post("/api/store/accept?wait=applied", "").await;
    assert_eq!(accepted.status, 200, "{}", accepted.text);
    let accepted = accepted.json();
    assert_eq!((&accepted["accepted_by"], &accepted["applied"]), (&json!("admin"), &json!(true)));
    // Each word is a later one, though the clock stands still.
    let again = api.post("/api/store/accept", "").await.json();
    assert_ne!(again["accepted_at"], accepted["accepted_at"]);
    api.post("/api/store/accept?dry_run=true", "").await.is(422, "invalid");
    assert_eq!(api.get("/api/status").await.json()["guard"], Value::Null);

    api.post("/api/user", r#"{"username":"ann","role":"manager","password":"correct horse"}"#)
        .await;
    api.log_in("ann").await;
    api.post("/api/store/accept", "").await.is(403, "forbidden");
    api.forget();
    assert_eq!(api.post("/api/store/accept", "").await.status, 401);
}

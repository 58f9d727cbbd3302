use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::world::Api;

/// The description in `docs/` is the one that is served. `UPDATE=1` in the environment writes it anew.
#[tokio::test]
async fn the_document_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let made = api::openapi();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "docs/openapi.json is old: run this test with UPDATE=1");
    let api = Api::empty();
    let served = api.get("/api/openapi.json").await;
    assert_eq!(served.text, made);
    assert_eq!(served.header("content-type"), Some("application/json"));
}

#[test]
fn every_operation_is_described_whole() {
    let document: Value = serde_json::from_str(&api::openapi()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{at}");
            assert!(operation["summary"].is_string(), "{at}");
            let answers = operation["responses"].as_object().unwrap();
            assert!(answers.keys().any(|code| code.starts_with('2')), "{at}");
            for (code, answer) in answers {
                let shared = answer["$ref"].as_str().and_then(|name| name.strip_prefix('#'));
                let answer = shared.map_or(answer, |name| document.pointer(name).unwrap());
                assert!(answer["headers"]["X-Request-Id"].is_object(), "{at} {code}");
                if !code.starts_with('2') {
                    let problem = &answer["content"]["application/problem+json"]["schema"]["$ref"];
                    assert_eq!(problem, "#/components/schemas/Problem", "{at} {code}");
                }
            }
            let placeholders = path.matches('{').count();
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let described = parameters.iter().filter(|parameter| parameter["in"] == "path").count();
            assert_eq!(placeholders, described, "{at}");
        }
    }
    for reference in references(&document) {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match value {
                Value::String(text) if name == "$ref" => vec![text.clone()],
                other => references(other),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

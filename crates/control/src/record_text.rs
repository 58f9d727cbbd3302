//! A stored host as JSON, for data planes that ask by name.

use serde_json::{Map, Value};
use store::Fields;

/// The fields that are true or false; anything but `false` is true.
const FLAGS: [&str; 12] = [
    "basicauth_enabled",
    "forcessl",
    "gw_enabled",
    "gw_preserve_host",
    "hsts_enabled",
    "is_cache",
    "is_wildcard",
    "ratelimit_enabled",
    "respcache_enabled",
    "sso_enabled",
    "targetssl",
    "wildcard_matchAny",
];
/// The fields that are numbers.
const NUMBERS: [&str; 5] =
    ["ratelimit_burst", "ratelimit_rate", "targetPort", "wildcard_expires", "wildcard_issued"];
/// The fields that are lists and objects, stored as JSON. A reader that could not parse one of them would take it for
/// absent, and an access list that is absent lets everybody in.
const STRUCTURES: [&str; 9] = [
    "basicauth_users",
    "gw_upstreams",
    "ip_allow",
    "ip_deny",
    "req_headers",
    "resp_headers",
    "sso_allow_groups",
    "sso_allow_users",
    "targets",
];

/// A host's record as one line of JSON: every stored field, ours and others', with its proper type. A value that is
/// not what its name says stays the text it is stored as.
pub(crate) fn record_text(id: &str, fields: &Fields) -> String {
    let mut record: Map<String, Value> =
        fields.iter().map(|(name, text)| (name.clone(), typed(name, text))).collect();
    record.entry("host").or_insert_with(|| Value::from(id));
    Value::Object(record).to_string()
}

/// The same with `wildcard_parent`, unless it has one.
pub(crate) fn with_wildcard_parent(record: &str, parent: &str) -> String {
    match record.strip_suffix('}') {
        // In a text the quotes would be escaped.
        Some(open) if !record.contains("\"wildcard_parent\":") => {
            format!("{open},\"wildcard_parent\":{}}}", Value::from(parent))
        }
        _ => record.to_owned(),
    }
}

fn typed(name: &str, text: &str) -> Value {
    let json = |fits: fn(&Value) -> bool| serde_json::from_str(text).ok().filter(fits);
    let typed = if FLAGS.contains(&name) {
        Some(Value::from(text != "false"))
    } else if NUMBERS.contains(&name) {
        json(Value::is_number)
    } else if STRUCTURES.contains(&name) {
        json(|value| value.is_array() || value.is_object())
    } else {
        None
    };
    typed.unwrap_or_else(|| Value::from(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn every_field_has_its_type_and_what_does_not_fit_stays_text() {
        let fields = [
            ("ip", "10.0.0.1"),
            ("targetPort", "80"),
            ("targets", r#"["10.0.0.2:80"]"#),
            ("forcessl", "true"),
            ("hsts_enabled", "false"),
            ("ip_allow", r#"["10.0.0.0/8"]"#),
            ("req_headers", r#"{"X-A":"b"}"#),
            ("ip_deny", "nonsense"),
            ("ratelimit_rate", "many"),
            ("created_on", "1790000000000"),
            ("later", "\"}"),
        ];
        let fields = fields.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        let record = record_text("a.test", &fields);
        assert!(!record.contains('\n'));
        assert_eq!(
            read(&record),
            json!({
                "host": "a.test", "ip": "10.0.0.1", "targetPort": 80, "targets": ["10.0.0.2:80"],
                "forcessl": true, "hsts_enabled": false, "ip_allow": ["10.0.0.0/8"],
                "req_headers": {"X-A": "b"}, "ip_deny": "nonsense", "ratelimit_rate": "many",
                "created_on": "1790000000000", "later": "\"}",
            })
        );
    }

    #[test]
    fn a_wildcard_parent_is_added_once() {
        let fields = Fields::from([("odd".to_owned(), r#""wildcard_parent":"#.to_owned())]);
        let added = with_wildcard_parent(&record_text("*.a.test", &fields), "*.a.test");
        assert_eq!(read(&added)["wildcard_parent"], "*.a.test");
        assert_eq!(with_wildcard_parent(&added, "*.b.test"), added);
    }
}

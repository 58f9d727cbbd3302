use super::{Asked, CREDENTIAL, State, Told, told};
use serde_json::json;

/// Zones in one answer of `domain/listAll`.
const CHUNK: usize = 1_000;

pub(super) fn rate_limit() -> Told {
    told(
        429,
        &json!({"status": "ERROR", "message": "Rate limit exceeded. Please try again later."}),
    )
}

pub(super) fn answer(state: &mut State, asked: &Asked) -> Told {
    let (method, path) = asked.route();
    let ["api", "json", "v3", ref path @ ..] = path[..] else { return fault(404, "Not found.") };
    if method != "POST" {
        return fault(400, "All API calls are POST.");
    }
    let credential = |name: &str| asked.body[name] == CREDENTIAL;
    if !credential("apikey") || !credential("secretapikey") {
        return fault(400, "Invalid API key. (001)");
    }
    if path == ["domain", "listAll"] {
        return zones(state, asked);
    }
    let ["dns", action, zone, rest @ ..] = path else { return fault(404, "Not found.") };
    if !state.zones.iter().any(|it| it == zone) {
        return fault(400, "Invalid domain.");
    }
    match (*action, rest) {
        ("create", []) => create(state, zone, asked),
        ("delete", [id]) if state.delete(zone, id) => told(200, &json!({"status": "SUCCESS"})),
        ("delete", [_]) => fault(400, "Invalid record ID."),
        ("retrieve", []) => records(state, zone),
        _ => fault(404, "Not found."),
    }
}

fn zones(state: &State, asked: &Asked) -> Told {
    // Numbers come as text as often as not.
    let start = &asked.body["start"];
    let start = start.as_str().and_then(|it| it.parse().ok()).or(start.as_u64()).unwrap_or(0);
    let start = usize::try_from(start).expect("a small number");
    let zones = state.zones.iter().skip(start).take(CHUNK).map(|zone| {
        json!({"domain": zone, "status": "ACTIVE", "tld": "test", "createDate": "2018-08-20 17:52:51",
               "expireDate": "2030-08-20 17:52:51", "securityLock": "1", "whoisPrivacy": "1", "autoRenew": 0,
               "notLocal": 0})
    });
    told(200, &json!({"status": "SUCCESS", "domains": zones.collect::<Vec<_>>()}))
}

/// The whole zone: what it is born with, and its TXT values.
fn records(state: &mut State, zone: &str) -> Told {
    let mut records = vec![
        json!({"id": "421642428", "name": zone, "type": "NS", "content": "maceio.porkbun.com", "ttl": "86400", "prio": null,
               "notes": null}),
    ];
    records.extend(state.list(zone, |_| true).into_iter().map(|(id, txt)| {
        json!({"id": id.to_string(), "name": txt.name, "type": "TXT", "content": txt.value, "ttl": "600", "prio": "0",
               "notes": null})
    }));
    told(200, &json!({"status": "SUCCESS", "cloudflare": "enabled", "records": records}))
}

fn create(state: &mut State, zone: &str, asked: &Asked) -> Told {
    let text = |name: &str| asked.body[name].as_str().unwrap_or_default();
    if text("type") != "TXT" || text("content").is_empty() {
        return fault(400, "Create error: We were unable to create the DNS record.");
    }
    let id = state.create(zone, &whole(text("name"), zone), text("content"));
    // A number here, while listings have text.
    told(200, &json!({"status": "SUCCESS", "id": id}))
}

fn whole(name: &str, zone: &str) -> String {
    if name.is_empty() { zone.to_owned() } else { format!("{name}.{zone}") }
}

fn fault(status: u16, message: &str) -> Told {
    told(status, &json!({"status": "ERROR", "message": message}))
}

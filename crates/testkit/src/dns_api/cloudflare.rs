use super::{Asked, CREDENTIAL, State, Told, told};
use serde_json::{Value, json};

pub(super) fn rate_limit() -> Told {
    fault(429, 971, "Please wait and consider throttling your request speed")
}

pub(super) fn answer(state: &mut State, asked: &Asked) -> Told {
    if asked.authorization != format!("Bearer {CREDENTIAL}") {
        return fault(403, 9109, "Invalid access token");
    }
    match asked.route() {
        ("GET", path) if path == ["client", "v4", "zones"] => zones(state, asked),
        (method, path) => match path[..] {
            ["client", "v4", "zones", id, "dns_records", ref rest @ ..] => {
                let found = state.zones.iter().find(|zone| id_of(zone) == id).cloned();
                let Some(zone) = found else {
                    return fault(404, 7003, "Could not route to the zone");
                };
                match (method, rest) {
                    ("GET", []) => list(state, &zone, asked),
                    ("POST", []) => create(state, &zone, asked),
                    ("DELETE", [id]) if state.delete(&zone, id) => success(&json!({"id": id})),
                    ("DELETE", [_]) => fault(404, 81044, "Record does not exist."),
                    _ => fault(405, 7001, "Method not allowed for this URI"),
                }
            }
            _ => fault(404, 7000, "No route for that URI"),
        },
    }
}

fn zones(state: &State, asked: &Asked) -> Told {
    // The API takes 50 as the most.
    let (page, per_page) = (asked.number("page", 1), asked.number("per_page", 20).clamp(5, 50));
    let zones = state.zones.iter().skip((page - 1) * per_page).take(per_page);
    let zones = zones.map(|zone| {
        json!({"id": id_of(zone), "name": zone, "status": "active", "type": "full",
               "permissions": ["#dns_records:edit", "#dns_records:read", "#zone:read"]})
    });
    page_of(&zones.collect::<Vec<_>>(), page, per_page, state.zones.len())
}

fn list(state: &mut State, zone: &str, asked: &Asked) -> Told {
    let name = asked.query.get("name").cloned().unwrap_or_default();
    let shown = state.list(zone, |it| it == name);
    let (page, per_page) = (asked.number("page", 1), asked.number("per_page", 100).max(5));
    let records = shown.iter().skip((page - 1) * per_page).take(per_page);
    let records = records.map(|(id, txt)| record(*id, &txt.name, &format!("\"{}\"", txt.value)));
    page_of(&records.collect::<Vec<_>>(), page, per_page, shown.len())
}

fn create(state: &mut State, zone: &str, asked: &Asked) -> Told {
    let text = |name: &str| asked.body[name].as_str().unwrap_or_default();
    let (name, content) = (text("name"), text("content"));
    if text("type") != "TXT" || asked.body["ttl"].as_u64().is_none_or(|it| it != 1 && it < 60) {
        return fault(400, 9004, "This record type or ttl is not accepted");
    }
    if name != zone && !name.ends_with(&format!(".{zone}")) {
        return fault(400, 9006, "DNS name is invalid.");
    }
    let value = content.trim_matches('"').to_owned();
    if state.values(name).contains(&value) {
        return fault(400, 81058, "An identical record already exists.");
    }
    let id = state.create(zone, name, &value);
    success(&record(id, name, content))
}

fn record(id: u64, name: &str, content: &str) -> Value {
    json!({"id": id.to_string(), "name": name, "type": "TXT", "content": content, "proxiable": false, "proxied": false,
           "ttl": 60, "settings": {}, "meta": {}, "comment": null, "tags": []})
}

/// Zones have ids of 32 hexadecimal digits.
fn id_of(zone: &str) -> String {
    let hash = zone.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:032x}")
}

fn page_of(items: &[Value], page: usize, per_page: usize, total: usize) -> Told {
    let info = json!({"page": page, "per_page": per_page, "count": items.len(), "total_count": total,
                      "total_pages": total.div_ceil(per_page)});
    told(
        200,
        &json!({"result": items, "success": true, "errors": [], "messages": [], "result_info": info}),
    )
}

fn success(result: &Value) -> Told {
    told(200, &json!({"result": result, "success": true, "errors": [], "messages": []}))
}

fn fault(status: u16, code: u32, message: &str) -> Told {
    let errors = json!([{"code": code, "message": message}]);
    told(status, &json!({"result": null, "success": false, "errors": errors, "messages": []}))
}

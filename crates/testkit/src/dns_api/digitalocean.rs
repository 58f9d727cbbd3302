use super::{Asked, CREDENTIAL, State, Told, told};
use serde_json::{Value, json};

pub(super) fn rate_limit() -> Told {
    fault(429, "too_many_requests", "API Rate limit exceeded.")
}

pub(super) fn answer(state: &mut State, asked: &Asked) -> Told {
    if asked.authorization != format!("Bearer {CREDENTIAL}") {
        return fault(401, "Unauthorized", "Unable to authenticate you");
    }
    let (method, path) = asked.route();
    match (method, &path[..]) {
        ("GET", ["v2", "domains"]) => {
            let zones = state.zones.iter();
            let zones =
                zones.map(|it| json!({"name": it, "ttl": 1800, "zone_file": "…"})).collect();
            page_of("domains", zones, asked)
        }
        (_, ["v2", "domains", zone, "records", rest @ ..]) => {
            if !state.zones.iter().any(|it| it == zone) {
                return not_found();
            }
            match (method, rest) {
                ("GET", []) => list(state, zone, asked),
                ("POST", []) => create(state, zone, asked),
                ("DELETE", [id]) if state.delete(zone, id) => Told(204, String::new(), None),
                _ => not_found(),
            }
        }
        _ => not_found(),
    }
}

fn list(state: &mut State, zone: &str, asked: &Asked) -> Told {
    // The filter wants the whole name, while records have theirs below the zone.
    let name = asked.query.get("name").cloned().unwrap_or_default();
    let shown = state.list(zone, |it| it == name);
    let records = shown.iter().map(|(id, txt)| record(*id, below(&txt.name, zone), &txt.value));
    page_of("domain_records", records.collect(), asked)
}

fn create(state: &mut State, zone: &str, asked: &Asked) -> Told {
    let text = |name: &str| asked.body[name].as_str().unwrap_or_default();
    if text("type") != "TXT" || asked.body["ttl"].as_u64().is_none_or(|it| it < 30) {
        return fault(422, "unprocessable_entity", "TTL must be at least 30 seconds");
    }
    let name = match text("name") {
        "@" => zone.to_owned(),
        name => format!("{name}.{zone}"),
    };
    let id = state.create(zone, &name, text("data"));
    told(201, &json!({"domain_record": record(id, text("name"), text("data"))}))
}

fn record(id: u64, name: &str, data: &str) -> Value {
    json!({"id": id, "type": "TXT", "name": name, "data": data, "priority": null, "port": null, "ttl": 60,
           "weight": null, "flags": null, "tag": null})
}

fn below<'a>(name: &'a str, zone: &str) -> &'a str {
    name.strip_suffix(zone).and_then(|it| it.strip_suffix('.')).unwrap_or("@")
}

fn page_of(what: &str, items: Vec<Value>, asked: &Asked) -> Told {
    let (page, per_page) = (asked.number("page", 1), asked.number("per_page", 20).clamp(1, 200));
    let (total, last) = (items.len(), items.len().div_ceil(per_page).max(1));
    let items: Vec<_> = items.into_iter().skip((page - 1) * per_page).take(per_page).collect();
    let link = |page: usize| {
        let path = asked.path.join("/");
        format!("https://api.digitalocean.com/{path}?page={page}&per_page={per_page}")
    };
    let pages =
        if page < last { json!({"last": link(last), "next": link(page + 1)}) } else { json!({}) };
    let mut body = json!({"links": {"pages": pages}, "meta": {"total": total}});
    body[what] = Value::Array(items);
    told(200, &body)
}

fn not_found() -> Told {
    fault(404, "not_found", "The resource you were accessing could not be found.")
}

fn fault(status: u16, id: &str, message: &str) -> Told {
    told(status, &json!({"id": id, "message": message}))
}

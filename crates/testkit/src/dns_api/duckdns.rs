use super::{Asked, CREDENTIAL, State, Told};

/// A domain has one TXT value, which every name below it shows.
pub(super) fn answer(state: &mut State, asked: &Asked) -> Told {
    let parameter = |name: &str| asked.query.get(name).map(String::as_str).unwrap_or_default();
    if asked.route() != ("GET", vec!["update"]) {
        return Told(404, "not found".into(), None);
    }
    let zone = format!("{}.duckdns.org", parameter("domains").trim_end_matches(".duckdns.org"));
    let known = state.zones.contains(&zone);
    // Without `txt` the call would set an address.
    if parameter("token") != CREDENTIAL || !known || !asked.query.contains_key("txt") {
        return Told(200, "KO".into(), None);
    }
    let before: Vec<_> =
        state.records.iter().filter(|it| it.txt.zone == zone).map(|it| it.id).collect();
    for id in before {
        state.delete(&zone, &id.to_string());
    }
    if parameter("clear") != "true" {
        let name = format!("_acme-challenge.{zone}");
        state.create(&zone, &name, parameter("txt"));
    }
    Told(200, "OK".into(), None)
}

//! What would become of a request, told by the tables that requests are answered from.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use model::Hostname;
use policy::{Explained, Imagined, Place, Step};
use serde_json::{Value, json};

use crate::gates::Live;
use crate::tables::Route;
use crate::{TableState, Tables};

/// What an answer depends on besides the tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Explainer {
    /// The port by which HTTPS is reached.
    pub(crate) https_port: u16,
    /// What a host that no pattern matches is answered with.
    pub(crate) unknown_host_status: StatusCode,
}

impl Explainer {
    /// By the query of `/debug/explain`: `host=`, which host answers for a name; or as `GET /api/explain`, `url=` with
    /// `method=`, `client=` and any number of `header=`, what would become of a request.
    ///
    /// # Errors
    /// What is wrong with the query.
    pub(crate) fn explain(self, tables: &Tables, query: &str) -> Result<Value, &'static str> {
        let parameters = parameters(query).ok_or("a parameter has a bad escape\n")?;
        if let [(name, host)] = &*parameters
            && name == "host"
        {
            let name = Hostname::from_authority(host).map_err(|_| "say ?host=<name>\n")?;
            return Ok(looked_up(tables, name.as_str()));
        }
        let asked = imagined(&parameters)?;
        let authority = asked.url.authority().map_or("", |authority| authority.as_str());
        let name =
            Hostname::from_authority(authority).map_err(|_| "the URL's host is no name\n")?;
        let mut told = looked_up(tables, name.as_str());
        let explained = self.explained(tables, name.as_str(), &asked);
        if let (Some(told), Value::Object(explained)) = (told.as_object_mut(), members(&explained))
        {
            told.extend(explained);
        }
        Ok(told)
    }

    fn explained(self, tables: &Tables, name: &str, asked: &Imagined) -> Explained {
        let TableState { loaded, .. } = *tables.state();
        match tables.route(name) {
            None if !loaded => Explained::ended(503, "there is no table yet: 503"),
            None => {
                let status = self.unknown_host_status.as_u16();
                Explained::ended(status, "no pattern matches: unknown host")
            }
            Some(route) => self.of_route(&route, name, asked, tables.live()),
        }
    }

    fn of_route(self, route: &Route, name: &str, asked: &Imagined, live: &Live) -> Explained {
        self.at_gates(route, name, asked, live).by(route.host.rules())
    }

    fn at_gates(self, route: &Route, name: &str, asked: &Imagined, live: &Live) -> Explained {
        if let Some(gates) = &route.gates {
            return gates.explain(asked, name, self.https_port, live);
        }
        // It asks nothing but for HTTPS.
        let mut policy = policy::HostPolicy::open_to(());
        policy.force_https = route.host.force_https;
        let place = |_: &()| Place::Upstreams(route.group.told());
        asked.explained(&policy, name, self.https_port, &mut live.look(), place)
    }
}

/// Which host answers for a name, and what else would.
fn looked_up(tables: &Tables, name: &str) -> Value {
    let candidates = tables.explain(name);
    let listed: Vec<_> =
        candidates.iter().map(|(pattern, why)| json!({ "pattern": pattern, "why": why })).collect();
    let best = candidates.first().map(|(pattern, _)| pattern);
    json!({ "name": name, "match": best, "candidates": listed })
}

/// As the answer of `GET /api/explain` has them.
fn members(explained: &Explained) -> Value {
    let Explained { steps, outcome, status, location, route, path, upstreams, directory } =
        explained;
    let step = |Step { gate, passed, why }: &Step| json!({ "gate": gate.to_string(), "passed": passed, "why": why });
    json!({
        "steps": steps.iter().map(step).collect::<Vec<_>>(),
        "outcome": outcome,
        "status": status,
        "location": location,
        "route": route,
        "path": path,
        "upstreams": upstreams,
        "directory": directory,
    })
}

fn imagined(parameters: &[(String, String)]) -> Result<Imagined, &'static str> {
    let mut asked = Imagined {
        method: Method::GET,
        url: Uri::default(),
        client: std::net::Ipv4Addr::LOCALHOST.into(),
        headers: HeaderMap::new(),
    };
    for (name, value) in parameters {
        match name.as_str() {
            "url" => asked.url = value.parse().map_err(|_| "?url is no URL\n")?,
            "method" => asked.method = value.parse().map_err(|_| "?method is no method\n")?,
            "client" => asked.client = value.parse().map_err(|_| "?client is no IP address\n")?,
            "header" => {
                let (name, value) = field(value).ok_or("?header must be name:value\n")?;
                asked.headers.append(name, value);
            }
            _ => return Err("there are ?url, ?method, ?client and ?header; or ?host alone\n"),
        }
    }
    match asked.url.scheme().is_some() && asked.url.authority().is_some() {
        true => Ok(asked),
        false => Err("say ?url=https://app.example.com/path, or ?host=<name>\n"),
    }
}

fn field(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
}

/// Names and values of a query (`application/x-www-form-urlencoded`); `None` for a bad escape.
fn parameters(query: &str) -> Option<Vec<(String, String)>> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decoded(name)?, decoded(value)?))
        })
        .collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? << 4 | digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_as_forms_are_written() {
        let read = |query| parameters(query).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read("a=b&c=%2F%c3%bc+d%2B&&e"),
            [pair("a", "b"), pair("c", "/ü d+"), pair("e", "")]
        );
        for bad in ["a=%", "a=%2", "a=%zz", "a=%ff", "%=a"] {
            assert_eq!(parameters(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let tables = Tables::empty(model::Timestamp::from_millis(1_790_000_000_000)).unwrap();
        let explainer = Explainer { https_port: 443, unknown_host_status: StatusCode::NOT_FOUND };
        for (query, why) in [
            ("", "?url"),
            ("host=a%20b", "?host"),
            ("url=/x", "?url"),
            ("url=http://a.test/&method=%20", "?method"),
            ("url=http://a.test/&client=x", "?client"),
            ("url=http://a.test/&header=x", "?header"),
            ("url=http://a.test/&host=a", "?host"),
            ("url=http://-/", "name"),
        ] {
            let told = explainer.explain(&tables, query).unwrap_err();
            assert!(told.contains(why), "{query}: {told}");
        }
        let told = explainer.explain(&tables, "url=http://a.test/").unwrap();
        assert_eq!((&told["name"], &told["status"]), (&json!("a.test"), &json!(503)));
    }
}

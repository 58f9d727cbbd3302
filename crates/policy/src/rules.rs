//! From a host's record to what is decided by: everything is read at once, and everything that is wrong is named.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use http::{HeaderName, StatusCode};
use model::{
    DirectoryRules, HeaderRules, Host, HostRules, Hostname, PathRoute, RateRules, Upstream,
};
use rewrite::{Change, Frames, Hsts, Operations, Security};

use crate::limit::{By, Rate, Rule};
use crate::{
    Access, BasicAuth, Canonical, HostPolicy, Maintenance, Networks, Pages, Redirect, Route,
    Routes, balance,
};

/// All that a record says, ready to be decided by.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The gates, and what stands behind which path.
    pub policy: HostPolicy<Behind>,
    /// What is changed in the heads of messages.
    pub headers: Headers,
    /// The operator's pages for what goes wrong.
    pub pages: Pages,
}

/// What stands behind a path, as the record names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behind {
    /// These upstreams.
    Upstreams(Vec<Upstream>),
    /// A directory of the proxy's machine.
    Directory(DirectoryRules),
}

/// What is changed in the heads of messages.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// In requests.
    pub request: Operations,
    /// In answers.
    pub response: Operations,
    /// What browsers are told to be strict about.
    pub security: Security,
}

/// A part of a record that can't be decided by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: a JSON pointer into the record as the API shows it.
    pub pointer: String,
    /// What is wrong with it, for people.
    pub detail: String,
}

/// Reads the rules of a host.
///
/// # Errors
/// Every fault.
pub fn compile(host: &Host) -> Result<Compiled, Vec<Fault>> {
    let rules = host.rules();
    let mut faults = Faults::default();
    let policy = HostPolicy {
        access: Access {
            allow: networks(&rules.allow, "/allow", &mut faults),
            deny: networks(&rules.deny, "/deny", &mut faults),
        },
        force_https: host.force_https,
        maintenance: rules.maintenance.as_ref().map(|rules| Maintenance {
            retry_after: rules.retry_after,
            except: networks(&rules.except, "/maintenance/except", &mut faults),
        }),
        limits: limits(host, &rules.rate_limit, &mut faults),
        basic: rules.basic_auth.as_ref().and_then(|rules| {
            let users = rules.users.iter().map(|(name, hash)| (&**name, &**hash));
            faults.take("/basic_auth", BasicAuth::new(&rules.realm, users))
        }),
        canonical: canonical(rules.canonical.as_deref(), &mut faults),
        redirect: rules.redirect.as_ref().and_then(|rules| {
            let made = Redirect::new(rules.status, &rules.to, rules.keep_path);
            faults.take("/redirect", made)
        }),
        routes: routes(host, &mut faults),
    };
    let headers = Headers {
        request: operations(&rules.request_headers, "/request_headers", &mut faults),
        response: operations(&rules.response_headers, "/response_headers", &mut faults),
        security: security(rules, &mut faults),
    };
    balance::check(host, &mut faults);
    let pages = pages(rules, &mut faults);
    if faults.0.is_empty() { Ok(Compiled { policy, headers, pages }) } else { Err(faults.0) }
}

#[derive(Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.0.push(Fault { pointer: pointer.into(), detail: detail.into() });
    }

    fn take<T, E: Display>(&mut self, pointer: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(pointer, error.to_string())).ok()
    }
}

fn networks(list: &[String], pointer: &str, faults: &mut Faults) -> Networks {
    let whole = Networks::parse(list.iter().map(String::as_str));
    whole.unwrap_or_else(|_| {
        for (index, entry) in list.iter().enumerate() {
            faults.take(&format!("{pointer}/{index}"), Networks::parse([entry.as_str()]));
        }
        Networks::default()
    })
}

fn limits(host: &Host, rules: &[RateRules], faults: &mut Faults) -> Vec<Rule> {
    let mut limits: Vec<Rule> = Vec::new();
    for (index, rules) in rules.iter().enumerate() {
        let pointer = format!("/rate_limit/{index}");
        let by = match rules.by.strip_prefix("header:") {
            Some(name) => match name.parse::<HeaderName>() {
                Ok(name) => By::Header(name),
                Err(_) => {
                    faults.add(format!("{pointer}/by"), "header: is followed by a field's name");
                    continue;
                }
            },
            None if rules.by == "client" => By::Client,
            None if rules.by == "host" => By::Host,
            None => {
                faults.add(format!("{pointer}/by"), "must be client, host or header:NAME");
                continue;
            }
        };
        let window = Duration::from_secs(u64::from(rules.per_seconds));
        let made = Rate::new(rules.requests, window, rules.burst)
            .and_then(|rate| Rule::new(host.pattern.as_str(), &rules.name, rate, by));
        let Some(rule) = faults.take(&pointer, made) else { continue };
        if limits.iter().any(|other| other.name() == rule.name()) {
            faults.add(format!("{pointer}/name"), "is the name of another limit of this host");
        }
        limits.push(rule);
    }
    limits
}

fn canonical(name: Option<&str>, faults: &mut Faults) -> Option<Canonical> {
    let name = name?;
    match name.parse::<Hostname>() {
        Ok(name) => {
            Some(Canonical { name: name.as_str().into(), status: StatusCode::PERMANENT_REDIRECT })
        }
        Err(error) => {
            faults.add("/canonical", error.to_string());
            None
        }
    }
}

fn routes(host: &Host, faults: &mut Faults) -> Routes<Behind> {
    let rules = host.rules();
    if rules.directory.is_some() && !host.upstreams.is_empty() {
        faults.add("/static", "stands besides upstreams: a host has one of the two");
    }
    if let Some(directory) = &rules.directory {
        check_directory(directory, "/static", faults);
    }
    let default = match &rules.directory {
        Some(directory) => Behind::Directory(directory.clone()),
        None => Behind::Upstreams(host.upstreams.clone()),
    };
    let mut behind = BTreeMap::new();
    for (index, route) in rules.routes.iter().enumerate() {
        let pointer = format!("/routes/{index}");
        let PathRoute { path, upstreams, directory, strip_prefix } = route;
        let target = match (upstreams.is_empty(), directory) {
            (false, None) => Behind::Upstreams(upstreams.clone()),
            (true, Some(directory)) => {
                check_directory(directory, &format!("{pointer}/static"), faults);
                Behind::Directory(directory.clone())
            }
            _ => {
                faults.add(pointer, "must have upstreams or static, one of the two");
                continue;
            }
        };
        // One by one first, so that the fault has its place.
        let alone = Routes::new((), [(path.as_str(), Route { target: (), strip: false })]);
        if faults.take(&format!("{pointer}/path"), alone).is_none() {
            continue;
        }
        let route = Route { target, strip: *strip_prefix };
        if behind.insert(path.as_str(), route).is_some() {
            faults.add(format!("{pointer}/path"), "is there twice");
        }
    }
    faults.take("/routes", Routes::new(default.clone(), behind)).unwrap_or(Routes::all_to(default))
}

fn check_directory(rules: &DirectoryRules, pointer: &str, faults: &mut Faults) {
    let path = std::path::Path::new(&rules.root);
    let climbs = path.components().any(|part| part == std::path::Component::ParentDir);
    if !path.is_absolute() || climbs {
        faults.add(format!("{pointer}/root"), "must be an absolute path without ..");
    }
    let index = Some(&rules.index).filter(|name| !name.is_empty());
    let names = index.into_iter().map(|name| ("index".to_owned(), name));
    let names = names.chain(rules.fallback.iter().map(|name| ("fallback".to_owned(), name)));
    let folders = rules.immutable.iter().enumerate();
    for (member, name) in names.chain(folders.map(|(at, it)| (format!("immutable/{at}"), it))) {
        if !name.split('/').all(is_plain) {
            faults.add(
                format!("{pointer}/{member}"),
                "must be a path from the root, without a leading slash, dotfiles and backslashes",
            );
        }
    }
}

/// Whether requests could name it: proxies refuse other names.
fn is_plain(part: &str) -> bool {
    let odd = |byte: char| byte == '\\' || byte.is_control();
    !part.is_empty() && !part.starts_with('.') && !part.contains(odd)
}

fn operations(rules: &HeaderRules, pointer: &str, faults: &mut Faults) -> Operations {
    let remove = rules.remove.iter().map(|name| (Change::Remove, name.as_str(), ""));
    let set = rules.set.iter().map(|(name, value)| (Change::Set, name.as_str(), value.as_str()));
    let add = rules.add.iter().map(|(name, value)| (Change::Add, name.as_str(), value.as_str()));
    faults.take(pointer, Operations::new(remove.chain(set).chain(add))).unwrap_or_default()
}

fn pages(rules: &HostRules, faults: &mut Faults) -> Pages {
    let mut pages = Pages::default();
    let given = rules.error_pages.iter().flat_map(|rules| &rules.pages);
    for (status, text) in given {
        // RFC 6901 §3.
        let member = status.replace('~', "~0").replace('/', "~1");
        faults.take(&format!("/error_pages/pages/{member}"), pages.add(status, text));
    }
    if rules.error_pages.is_some() && rules.error_pages.iter().all(|rules| rules.pages.is_empty()) {
        faults.add("/error_pages/pages", "must have a page: {\"404\": \"<h1>{status}</h1>\"}");
    }
    pages
}

fn security(rules: &HostRules, faults: &mut Faults) -> Security {
    let mut security = Security::new();
    if rules.security_headers {
        security = security.no_sniff().frames(Frames::SameOrigin).referrer_policy();
    }
    match rules.hsts {
        None => security,
        Some(hsts) => {
            let hsts = Hsts {
                max_age: hsts.max_age,
                include_subdomains: hsts.include_subdomains,
                preload: hsts.preload,
            };
            faults.take("/hsts", security.clone().hsts(hsts)).unwrap_or(security)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(json: &str) -> Host {
        let mut host = Host::new("*.a.test".parse().unwrap());
        host.set_rules(serde_json::from_str(json).unwrap());
        host
    }

    #[test]
    fn every_fault_has_its_place() {
        let host = host(
            r#"{"allow":["10.0.0.0/8","10.0.0.0/33"],"deny":["nobody"],"canonical":"a b",
            "maintenance":{"except":["x"]},"redirect":{"to":"ftp://x"},"hsts":{"preload":true},
            "rate_limit":[{"requests":0},{"requests":1,"by":"sun"},{"name":"n","requests":1},{"name":"n","requests":2}],
            "basic_auth":{"users":{"ann":"plain"}},"static":{"root":"srv","index":"/i","fallback":"../f","immutable":["a/b",".c"]},
            "routes":[{"path":"api","upstreams":["127.0.0.1:1"]},{"path":"/a"},{"path":"/b","static":{"root":"/x/../y"}}],
            "request_headers":{"set":{"host":"x"}},"response_headers":{"add":{"x":"\n"}},"error_pages":{"pages":{"200":"x","404":"x"}}}"#,
        );
        let faults = compile(&host).unwrap_err();
        let places: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        for place in [
            "/allow/1",
            "/deny/0",
            "/maintenance/except/0",
            "/rate_limit/0",
            "/rate_limit/1/by",
            "/rate_limit/3/name",
            "/basic_auth",
            "/canonical",
            "/redirect",
            "/static/root",
            "/static/index",
            "/static/fallback",
            "/static/immutable/1",
            "/routes/0/path",
            "/routes/1",
            "/routes/2/static/root",
            "/request_headers",
            "/response_headers",
            "/hsts",
            "/error_pages/pages/200",
        ] {
            assert!(places.contains(&place), "{place} of {places:?}");
        }
        assert_eq!(places.len(), 20, "{faults:?}");
    }

    #[test]
    fn a_record_without_rules_is_open_to_its_upstreams() {
        let mut host = Host::new("a.test".parse().unwrap());
        host.upstreams.push("127.0.0.1:1".parse().unwrap());
        let compiled = compile(&host).unwrap();
        assert_eq!(compiled.policy.routes, Routes::all_to(Behind::Upstreams(host.upstreams)));
        assert!(compiled.policy.force_https && compiled.policy.limits.is_empty());
    }
}

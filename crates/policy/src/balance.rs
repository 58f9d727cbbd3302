//! Whether what a record says of its upstreams makes sense.

use http::uri::PathAndQuery;
use model::{
    BalancePolicy, BalanceRules, BreakerRules, HealthRules, Host, LimitRules, Span, Upstream,
};

use crate::rules::Faults;

const SHORTEST: Span = Span::seconds(0);
const MINUTE: Span = Span::seconds(60);
const HOUR: Span = Span::seconds(3_600);

pub(crate) fn check(host: &Host, faults: &mut Faults) {
    let rules = host.rules();
    check_balance(host, &rules.balance, faults);
    if let Some(health) = &rules.health {
        check_health(health, faults);
    }
    if let Some(BreakerRules { failures, open_for, successes, .. }) = rules.breaker {
        at_least_one("/breaker/failures", failures, faults);
        at_least_one("/breaker/successes", successes, faults);
        within("/breaker/open_for", open_for, HOUR, faults);
    }
    let LimitRules { max_connections, max_pending, pending_timeout, .. } = rules.limits;
    at_least_one("/limits/max_connections", max_connections.unwrap_or(1), faults);
    if let Some(span) = pending_timeout {
        within("/limits/pending_timeout", span, MINUTE, faults);
    }
    for (name, is_given) in
        [("max_pending", max_pending.is_some()), ("pending_timeout", pending_timeout.is_some())]
    {
        if is_given && max_connections.is_none() {
            faults.add(format!("/limits/{name}"), "means nothing without max_connections");
        }
    }
}

fn check_balance(host: &Host, balance: &BalanceRules, faults: &mut Faults) {
    let routes = &host.rules().routes;
    let groups = || std::iter::once(&host.upstreams).chain(routes.iter().map(|it| &it.upstreams));
    let is_known = |upstream: &Upstream| groups().any(|group| group.contains(upstream));
    for (name, weight) in &balance.weights {
        let pointer = format!("/balance/weights/{}", name.replace('~', "~0").replace('/', "~1"));
        if !name.parse().is_ok_and(|upstream: Upstream| is_known(&upstream)) {
            faults.add(pointer, "is none of the upstreams of this host");
        } else if !(1..=BalanceRules::MAX_WEIGHT).contains(weight) {
            faults.add(pointer, format!("must be 1 to {}", BalanceRules::MAX_WEIGHT));
        }
    }
    for (index, upstream) in balance.backup.iter().enumerate() {
        if !is_known(upstream) {
            let why = "is none of the upstreams of this host: name it there too";
            faults.add(format!("/balance/backup/{index}"), why);
        }
    }
    let is_backup = |upstream: &Upstream| balance.backup.contains(upstream);
    if groups().any(|group| !group.is_empty() && group.iter().all(is_backup)) {
        faults.add("/balance/backup", "leaves the host or a route with nothing but backups");
    }
    let Some(cookie) = &balance.cookie else { return };
    if balance.policy != BalancePolicy::Cookie {
        faults.add("/balance/cookie", "means nothing unless the policy is cookie");
    }
    // RFC 6265 §4.1.1: a token.
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !(1..=64).contains(&cookie.len()) || !cookie.bytes().all(is_token) {
        faults.add("/balance/cookie", "must be a cookie's name: letters, digits, - and _");
    }
}

fn check_health(health: &HealthRules, faults: &mut Faults) {
    if let Some(path) = &health.path {
        let is_visible = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !path.starts_with('/') || !is_visible || path.parse::<PathAndQuery>().is_err() {
            faults.add("/health/path", "must be a path like /up, other characters percent-encoded");
        }
    }
    if health.interval.millis() < 100 {
        faults.add("/health/interval", "must be 100ms at least");
    }
    within("/health/interval", health.interval, HOUR, faults);
    within("/health/timeout", health.timeout, MINUTE, faults);
    within("/health/eject_for", health.eject_for, HOUR, faults);
    within("/health/eject_at_most", health.eject_at_most, HOUR, faults);
    if health.eject_at_most < health.eject_for {
        faults.add("/health/eject_at_most", "is shorter than eject_for");
    }
    if health.expect.is_empty() {
        faults.add("/health/expect", "must name a status, such as 200-399");
    }
    at_least_one("/health/failures", health.failures, faults);
    at_least_one("/health/healthy_after", health.healthy_after, faults);
    at_least_one("/health/unhealthy_after", health.unhealthy_after, faults);
}

fn at_least_one(pointer: &str, number: u32, faults: &mut Faults) {
    if number == 0 {
        faults.add(pointer, "must be 1 at least");
    }
}

fn within(pointer: &str, span: Span, longest: Span, faults: &mut Faults) {
    if span <= SHORTEST || span > longest {
        faults.add(pointer, format!("must be longer than nothing and {longest} at most"));
    }
}

#[cfg(test)]
mod tests {
    use model::Host;

    fn places(rules: &str) -> Vec<String> {
        let mut host = Host::new("a.test".parse().unwrap());
        host.upstreams = vec!["10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap()];
        host.set_rules(serde_json::from_str(rules).unwrap());
        let faults = crate::compile(&host).err().unwrap_or_default();
        faults.into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (rules, wanted) in [
            (r#"{"balance":{"weights":{"10.0.0.1:80":256},"backup":["10.0.0.2:80"]}}"#, &[][..]),
            (r#"{"balance":{"policy":"cookie","cookie":"sid"},"health":{},"breaker":{}}"#, &[]),
            (
                r#"{"balance":{"weights":{"10.0.0.1:80":0,"10.0.0.2:80":257,"b:80":1,"x":1},"backup":["b:80"],"cookie":"a b"}}"#,
                &[
                    "/balance/weights/10.0.0.1:80",
                    "/balance/weights/10.0.0.2:80",
                    "/balance/weights/b:80",
                    "/balance/weights/x",
                    "/balance/backup/0",
                    "/balance/cookie",
                    "/balance/cookie",
                ],
            ),
            (r#"{"balance":{"backup":["10.0.0.1:80","10.0.0.2:80"]}}"#, &["/balance/backup"]),
            (
                r#"{"balance":{"backup":["c:80"]},"routes":[{"path":"/c","upstreams":["c:80"]}]}"#,
                &["/balance/backup"],
            ),
            (
                r#"{"health":{"path":"up","interval":"50ms","timeout":"2m","expect":[],"eject_for":"2m","failures":0}}"#,
                &[
                    "/health/path",
                    "/health/interval",
                    "/health/timeout",
                    "/health/eject_at_most",
                    "/health/expect",
                    "/health/failures",
                ],
            ),
            (
                r#"{"breaker":{"failures":0,"open_for":"0s","successes":0}}"#,
                &["/breaker/failures", "/breaker/successes", "/breaker/open_for"],
            ),
            (
                r#"{"limits":{"max_pending":1,"pending_timeout":"2m"}}"#,
                &["/limits/pending_timeout", "/limits/max_pending", "/limits/pending_timeout"],
            ),
            (r#"{"limits":{"max_connections":0}}"#, &["/limits/max_connections"]),
        ] {
            assert_eq!(places(rules), wanted, "{rules}");
        }
    }
}

//! A group and the requests of one worker, without a connection.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::{Empty, Full};
use model::{BalancePolicy, BalanceRules, BreakerRules, HostRules, LimitRules, Span, UpstreamTls};

use super::walk::Turns;
use super::{Attempt, Balancer, Group, Refused, Walk, Watch};
use crate::{Endpoint, Endpoints, Error, Outgoing};

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn endpoints(count: usize) -> Endpoints {
    let all: Vec<_> = (1..=count).map(|n| format!("10.0.0.{n}:80").parse().unwrap()).collect();
    Endpoints::new(&all, UpstreamTls::Off)
}

fn balancer(count: usize, rules: &HostRules, former: Option<&Arc<Balancer>>) -> Arc<Balancer> {
    let endpoints = endpoints(count);
    let (host, scope, secret) = ("a.test", "/", b"secret".as_slice());
    let group = Group { host, scope, endpoints: &endpoints, rules, secret, check_host: None };
    Balancer::new(&group, former).unwrap()
}

fn walk<'a>(turns: &'a Turns, balancer: &'a Balancer) -> Walk<'a> {
    Walk::new(turns, balancer, CLIENT, &HeaderMap::new())
}

fn now<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.unwrap().block_on(future)
}

fn next<'a>(walk: &mut Walk<'a>) -> Result<Attempt<'a>, Refused> {
    now(walk.next())
}

fn refused(endpoint: &Endpoint) -> Error {
    let source = io::ErrorKind::ConnectionRefused.into();
    Error::Connect { endpoint: endpoint.clone(), source }
}

fn fail(attempt: Attempt<'_>) {
    let error = refused(attempt.endpoint());
    attempt.failed(&error);
}

fn get() -> Outgoing<Empty<Bytes>> {
    Outgoing::new(Method::GET, "/".parse().unwrap(), HeaderMap::new(), Empty::new())
}

/// The last digits of the addresses that so many requests went to, all of which were answered.
fn went(turns: &Turns, balancer: &Balancer, count: usize) -> String {
    let one = |_| {
        let attempt = next(&mut walk(turns, balancer)).unwrap();
        let text = attempt.endpoint().to_string();
        attempt.answered(StatusCode::OK);
        text.trim_end_matches(":80").chars().last().unwrap()
    };
    (0..count).map(one).collect()
}

#[test]
fn one_upstream_that_nothing_is_asked_for_needs_no_balancer() {
    let rules = HostRules::default();
    let (host, scope, secret) = ("a.test", "/", b"".as_slice());
    for (count, needs) in [(0, false), (1, false), (2, true)] {
        let endpoints = endpoints(count);
        let group =
            Group { host, scope, endpoints: &endpoints, rules: &rules, secret, check_host: None };
        assert_eq!(Balancer::new(&group, None).is_some(), needs, "{count}");
    }
}

#[test]
fn one_that_refuses_is_skipped_and_its_request_goes_on() {
    let (turns, balancer) = (Turns::default(), balancer(3, &HostRules::default(), None));
    assert_eq!(went(&turns, &balancer, 3), "123");
    let mut way = walk(&turns, &balancer);
    let attempt = next(&mut way).unwrap();
    let error = refused(attempt.endpoint());
    assert!(way.goes_on(&error, &get()));
    attempt.failed(&error);
    assert_eq!(next(&mut way).unwrap().endpoint().as_str(), "10.0.0.2:80");
    assert!(!went(&turns, &balancer, 6).contains('1'));
}

#[test]
fn when_none_is_well_all_are_tried_once_and_then_no_more() {
    let (turns, balancer) = (Turns::default(), balancer(2, &HostRules::default(), None));
    for _ in 0..3 {
        let mut way = walk(&turns, &balancer);
        for _ in 0..2 {
            fail(next(&mut way).unwrap());
        }
        assert_eq!(next(&mut way).unwrap_err(), Refused::Exhausted);
    }
}

#[test]
fn backups_serve_when_no_primary_can() {
    let backup = vec!["10.0.0.2:80".parse().unwrap()];
    let balance = BalanceRules { backup, ..BalanceRules::default() };
    let rules = HostRules { balance, ..HostRules::default() };
    let (turns, balancer) = (Turns::default(), balancer(3, &rules, None));
    assert_eq!(went(&turns, &balancer, 4), "1313");
    let mut way = walk(&turns, &balancer);
    for expected in ["10.0.0.1:80", "10.0.0.3:80"] {
        let attempt = next(&mut way).unwrap();
        assert_eq!(attempt.endpoint().as_str(), expected);
        fail(attempt);
    }
    assert_eq!(went(&turns, &balancer, 2), "22");
}

#[test]
fn what_an_upstream_may_have_seen_is_repeated_once_if_it_may_be() {
    let (turns, balancer) = (Turns::default(), balancer(3, &HostRules::default(), None));
    let endpoint = balancer.endpoints.as_slice()[0].clone();
    let closed = |sent| {
        let endpoint = endpoint.clone();
        Error::ClosedBeforeAnswer { endpoint, sent, source: None }
    };
    let late = Error::ResponseTimeout { endpoint: endpoint.clone() };
    let post =
        || Outgoing::new(Method::POST, "/".parse().unwrap(), HeaderMap::new(), Full::from("x"));
    let mut way = walk(&turns, &balancer);
    assert!(way.goes_on(&closed(true), &get()));
    assert!(!way.goes_on(&late, &get()), "not a second time");
    assert!(way.goes_on(&refused(&endpoint), &get()), "that one saw nothing");
    let mut way = walk(&turns, &balancer);
    assert!(!way.goes_on(&late, &post()) && !way.goes_on(&closed(true), &post()));
    assert!(way.goes_on(&closed(false), &post()) && way.goes_on(&refused(&endpoint), &post()));
    let mut gone = get();
    gone.upload = None;
    assert!(!walk(&turns, &balancer).goes_on(&late, &gone));
    // Within the budget: a fifth of few requests and ten.
    let repeated = (0..100).filter(|_| walk(&turns, &balancer).goes_on(&late, &get())).count();
    assert!((20..40).contains(&repeated), "{repeated}");
}

#[test]
fn a_breaker_keeps_requests_from_the_only_upstream() {
    let breaker =
        BreakerRules { failures: 3, open_for: Span::seconds(60), ..BreakerRules::default() };
    let rules = HostRules { breaker: Some(breaker), ..HostRules::default() };
    let (turns, one) = (Turns::default(), balancer(1, &rules, None));
    for _ in 0..3 {
        fail(next(&mut walk(&turns, &one)).unwrap());
    }
    let Err(Refused::Open(endpoint, seconds)) = next(&mut walk(&turns, &one)) else { panic!() };
    assert_eq!((endpoint.as_str(), seconds), ("10.0.0.1:80", 60));
    let watch = Watch::default();
    watch.add(&one);
    assert_eq!(watch.ailing(100)[0].state, "breaker_open");
    assert_eq!(watch.vitals()[0].breaker, Some(2));

    // An edit that leaves the upstream there leaves it known; so does one that changes nothing, which changes nothing.
    assert!(Arc::ptr_eq(&balancer(1, &rules, Some(&one)), &one));
    let edited = balancer(2, &rules, Some(&one));
    assert_eq!(went(&turns, &edited, 3), "222");
}

#[test]
fn beyond_the_limit_requests_wait_their_turn_or_are_refused() {
    let limits = LimitRules {
        max_connections: Some(1),
        max_pending: Some(1),
        pending_timeout: Some(Span::seconds(1)),
        ..LimitRules::default()
    };
    let rules = HostRules { limits, ..HostRules::default() };
    let (turns, balancer) = (Turns::default(), balancer(2, &rules, None));
    now(async {
        let first = walk(&turns, &balancer).next().await.unwrap().answered(StatusCode::OK);
        let second = walk(&turns, &balancer).next().await.unwrap();
        let (mut third, mut fourth) = (walk(&turns, &balancer), walk(&turns, &balancer));
        let (third, fourth, ()) = tokio::join!(third.next(), fourth.next(), async {
            tokio::task::yield_now().await;
            drop(first);
        });
        assert_eq!(third.unwrap().endpoint().as_str(), "10.0.0.1:80");
        assert_eq!(fourth.unwrap_err(), Refused::Full, "one may wait");
        let held = walk(&turns, &balancer).next().await.unwrap();
        assert_eq!(walk(&turns, &balancer).next().await.unwrap_err(), Refused::Waited);
        drop((second, held));
    });
    assert_eq!(went(&turns, &balancer, 2).len(), 2);
}

#[test]
fn a_browser_stays_where_its_cookie_says_while_that_is_well() {
    let balance = BalanceRules { policy: BalancePolicy::Cookie, ..BalanceRules::default() };
    let rules = HostRules { balance, ..HostRules::default() };
    let (turns, balancer) = (Turns::default(), balancer(3, &rules, None));
    let mut fields = HeaderMap::new();
    let mut visit = |fails: bool| {
        let mut way = Walk::new(&turns, &balancer, CLIENT, &fields);
        let mut attempt = next(&mut way).unwrap();
        if fails {
            fail(attempt);
            attempt = next(&mut way).unwrap();
        }
        let set = way.cookie(&attempt, false);
        let went = attempt.endpoint().to_string();
        attempt.answered(StatusCode::OK);
        if let Some(set) = &set {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            fields.insert(header::COOKIE, pair.parse().unwrap());
        }
        (went, set.is_some())
    };
    let (first, is_told) = visit(false);
    assert!(is_told);
    assert_eq!(visit(false), (first.clone(), false));
    assert_eq!(visit(false), (first.clone(), false));
    let (second, is_told) = visit(true);
    assert!(is_told && second != first);
    assert_eq!(visit(false), (second, false));
}

#[test]
fn load_is_counted_until_the_answer_is_over() {
    let balance = BalanceRules { policy: BalancePolicy::LeastRequests, ..BalanceRules::default() };
    let rules = HostRules { balance, ..HostRules::default() };
    let (turns, balancer) = (Turns::default(), balancer(2, &rules, None));
    let first = next(&mut walk(&turns, &balancer)).unwrap();
    assert_eq!(first.endpoint().as_str(), "10.0.0.1:80");
    let permit = first.answered(StatusCode::OK);
    assert_eq!(went(&turns, &balancer, 3), "222");
    drop(permit);
    assert_eq!(went(&turns, &balancer, 4).matches('1').count(), 2);
}

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use policy::limit::{By, Limiter, Rate, Rule};
use policy::{
    Access, Answer, BasicAuth, Canonical, Decision, Facts, Gate, HostPolicy, Maintenance, Networks,
    Outcome, Redirect, Route, Routes, State, Step, Verified, decide, resume,
};
use proptest::prelude::*;
use proptest::sample::select;

const HASH: &str = "$2b$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234";
/// `ann:a`
const ANN: &str = "Basic YW5uOmE=";
const OUTSIDE: &str = "203.0.113.9";
const OFFICE: &str = "198.51.100.7";

type Policy = HostPolicy<&'static str>;

/// Everything on.
fn strict() -> Policy {
    let networks = |it: &'static str| Networks::parse([it]).unwrap();
    let rate = Rate::new(3, Duration::from_secs(30), None).unwrap();
    let route = |target, strip| Route { target, strip };
    HostPolicy {
        access: Access { allow: Networks::default(), deny: networks("192.0.2.0/24") },
        force_https: true,
        maintenance: Some(Maintenance { retry_after: Some(60), except: networks(OFFICE) }),
        limits: vec![Rule::new("example.com", "default", rate, By::Client).unwrap()],
        basic: Some(BasicAuth::new("Staff", [("ann", HASH)]).unwrap()),
        canonical: Some(Canonical {
            name: "example.com".into(),
            status: StatusCode::PERMANENT_REDIRECT,
        }),
        redirect: None,
        routes: Routes::new("app", [("/api", route("api", true)), ("/old", route("old", false))])
            .unwrap(),
    }
}

struct Process {
    limiter: Limiter,
    verified: Verified,
}

impl Process {
    fn new() -> Self {
        Self { limiter: Limiter::new(1024), verified: Verified::default() }
    }

    fn state(&self, counts: bool) -> State<'_> {
        let now = Duration::from_secs(1_000);
        State { limiter: &self.limiter, verified: &self.verified, now, counts }
    }
}

struct Request {
    method: Method,
    name: &'static str,
    target: &'static str,
    client: &'static str,
    by_https: bool,
    headers: HeaderMap,
}

fn request(target: &'static str) -> Request {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static(ANN));
    Request {
        method: Method::GET,
        name: "example.com",
        target,
        client: OFFICE,
        by_https: true,
        headers,
    }
}

impl Request {
    fn facts(&self) -> Facts<'_> {
        let (path, query) = match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.target, None),
        };
        Facts {
            method: &self.method,
            name: self.name,
            port: None,
            path,
            query,
            headers: &self.headers,
            client: self.client.parse().unwrap(),
            by_https: self.by_https,
            https_port: 8443,
        }
    }
}

/// In one word, to compare.
fn told(decision: &Decision<'_, '_, &'static str>) -> String {
    match &decision.outcome {
        Outcome::Answer(Answer::Redirect(status, to)) => {
            format!("{status} {}", to.to_str().unwrap())
        }
        Outcome::Answer(answer) => format!("{} {answer:?}", answer.status()),
        Outcome::Check(attempt) => format!("check {}", attempt.name()),
        Outcome::Go(target) => {
            let user = target.user.as_deref().unwrap_or("nobody");
            format!("{} {} {user}", target.target, target.path)
        }
    }
}

fn asked(policy: &Policy, process: &Process, request: &Request) -> (String, Vec<Step>) {
    let mut steps = Vec::new();
    let facts = request.facts();
    let decision = decide(policy, &facts, &mut process.state(true), &mut steps);
    (told(&decision), steps)
}

/// Gate by gate, each the one that ends it.
#[test]
fn gates_in_their_order() {
    let (policy, process) = (strict(), Process::new());
    let ends = |request: &Request| {
        let (told, steps) = asked(&policy, &process, request);
        let last = steps.last().unwrap();
        assert!(
            !last.passed && steps[..steps.len() - 1].iter().all(|step| step.passed),
            "{steps:?}"
        );
        (last.gate, told)
    };
    let denied = Request { client: "192.0.2.7", by_https: false, ..request("/") };
    assert_eq!(ends(&denied), (Gate::Access, "403 Forbidden Forbidden".to_owned()));
    let clear = Request { client: OUTSIDE, by_https: false, ..request("/a?b=c") };
    let to = "https://example.com:8443/a?b=c";
    assert_eq!(ends(&clear), (Gate::Https, format!("301 Moved Permanently {to}")));
    let post = Request { method: Method::POST, ..clear };
    assert_eq!(ends(&post), (Gate::Https, format!("308 Permanent Redirect {to}")));
    let outside = Request { client: OUTSIDE, ..request("/") };
    let closed = "503 Service Unavailable Maintenance(Some(60))".to_owned();
    assert_eq!(ends(&outside), (Gate::Maintenance, closed));
    let nameless = Request { headers: HeaderMap::new(), ..request("/") };
    let (gate, answer) = ends(&nameless);
    assert_eq!(gate, Gate::Credentials);
    assert!(answer.starts_with("401 Unauthorized"), "{answer}");
    assert_eq!(ends(&request("/")), (Gate::Credentials, "check ann".to_owned()));
    assert_eq!(ends(&request("/")).0, Gate::Credentials);
    assert_eq!(
        ends(&request("/")),
        (Gate::RateLimit, "429 Too Many Requests TooMany(10)".to_owned())
    );
}

#[test]
fn after_the_password_comes_the_rest() {
    let (policy, process) = (strict(), Process::new());
    let asked_for = request("/api/users?x");
    let facts = asked_for.facts();
    let decision = decide(&policy, &facts, &mut process.state(true), &mut ());
    assert_eq!(decision.limit.unwrap().remaining, "\"default\";r=2;t=10");
    let Outcome::Check(attempt) = decision.outcome else { panic!("to be checked") };
    assert!(process.verified.learn(&attempt, true, Duration::from_secs(1_000)));
    let user = Some(Box::from(attempt.name()));
    let Outcome::Go(target) = resume(&policy, &facts, user, &mut ()) else { panic!("goes on") };
    assert_eq!((*target.target, &*target.path, target.prefix), ("api", "/users", "/api"));
    // And from now on without a check.
    assert_eq!(asked(&policy, &process, &asked_for).0, "api /users ann");
    let ambiguous = request("/api/../old");
    assert_eq!(asked(&policy, &process, &ambiguous).0, "400 Bad Request BadPath");
}

#[test]
fn other_names_and_redirects() {
    let process = Process::new();
    let canonical = Canonical { name: "example.com".into(), status: StatusCode::MOVED_PERMANENTLY };
    let policy = HostPolicy { canonical: Some(canonical), ..HostPolicy::open_to("app") };
    let www = Request { name: "www.example.com", ..request("/a?b") };
    assert_eq!(asked(&policy, &process, &www).0, "301 Moved Permanently https://example.com/a?b");
    let clear = Request { by_https: false, ..www };
    let ported = Facts { port: Some(8080), ..clear.facts() };
    let decision = decide(&policy, &ported, &mut process.state(true), &mut ());
    assert_eq!(told(&decision), "301 Moved Permanently http://example.com:8080/a?b");
    assert_eq!(asked(&policy, &process, &request("/a")).0, "app /a nobody");

    let redirect = Redirect::new(302, "https://new.example/base", true).unwrap();
    let policy = HostPolicy { redirect: Some(redirect), ..policy };
    assert_eq!(
        asked(&policy, &process, &request("/a?b")).0,
        "302 Found https://new.example/base/a?b"
    );
}

#[test]
fn an_open_host_asks_nothing() {
    let (policy, process) = (HostPolicy::open_to("app"), Process::new());
    let clear = Request { by_https: false, client: "192.0.2.7", ..request("/../a") };
    let (told, steps) = asked(&policy, &process, &clear);
    assert_eq!((&*told, steps.len()), ("app /../a nobody", 2));
}

/// The tightest of several limits is told, and the first that refuses ends it.
#[test]
fn several_limits() {
    let process = Process::new();
    let rule = |name, limit, by| {
        Rule::new("a", name, Rate::new(limit, Duration::from_secs(60), None).unwrap(), by).unwrap()
    };
    let key = http::HeaderName::from_static("x-api-key");
    let limits = vec![rule("all", 100, By::Host), rule("key", 2, By::Header(key))];
    let policy = HostPolicy { limits, ..HostPolicy::open_to("app") };
    let ask = |key: &'static str| {
        let mut request = request("/");
        request.headers.insert("x-api-key", HeaderValue::from_static(key));
        let facts = request.facts();
        let decision = decide(&policy, &facts, &mut process.state(true), &mut ());
        (told(&decision), decision.limit.unwrap().remaining.to_str().unwrap().to_owned())
    };
    assert_eq!(ask("one").1, "\"key\";r=1;t=30");
    assert_eq!(ask("one").1, "\"key\";r=0;t=60");
    assert_eq!(ask("one"), ("429 Too Many Requests TooMany(30)".into(), "\"key\";r=0;t=30".into()));
    assert_eq!(ask("two").0, "app / nobody");
}

proptest! {
    /// Who explains and who serves come to the same, whatever is asked of whatever policy; and a look changes nothing.
    #[test]
    fn explaining_is_deciding(
        on in proptest::collection::vec(any::<bool>(), 7),
        asks in proptest::collection::vec(
            (
                select(&["/", "/api/x", "/api", "/old/y?z", "/apix", "/api/../x", "*"][..]),
                select(&[OUTSIDE, OFFICE, "192.0.2.7", "::ffff:192.0.2.7"][..]),
                select(&["example.com", "www.example.com"][..]),
                any::<bool>(),
                any::<bool>(),
                any::<bool>(),
            ),
            1..12,
        ),
    ) {
        let all = strict();
        let redirect = Redirect::new(307, "https://b.example", false).unwrap();
        let policy = HostPolicy {
            access: if on[0] { all.access } else { Access::default() },
            force_https: on[1],
            maintenance: all.maintenance.filter(|_| on[2]),
            limits: if on[3] { all.limits } else { Vec::new() },
            basic: all.basic.filter(|_| on[4]),
            canonical: all.canonical.filter(|_| on[5]),
            redirect: on[6].then_some(redirect),
            routes: all.routes,
        };
        let process = Process::new();
        for (target, client, name, by_https, authorized, learns) in asks {
            let mut request = Request { client, name, by_https, ..request(target) };
            if !authorized {
                request.headers.clear();
            }
            let facts = request.facts();
            let mut steps: Vec<Step> = Vec::new();
            let explained = decide(&policy, &facts, &mut process.state(false), &mut steps);
            let again = decide(&policy, &facts, &mut process.state(false), &mut ());
            let served = decide(&policy, &facts, &mut process.state(true), &mut ());
            prop_assert_eq!(told(&explained), told(&again));
            prop_assert_eq!(told(&explained), told(&served));
            prop_assert_eq!(&explained.limit, &served.limit);
            let stopped = steps.iter().filter(|step| !step.passed).count();
            let goes = matches!(served.outcome, Outcome::Go(_));
            prop_assert_eq!(stopped, usize::from(!goes), "{:?}", steps);
            if let (true, Outcome::Check(attempt)) = (learns, served.outcome) {
                process.verified.learn(&attempt, true, Duration::from_secs(1_000));
            }
        }
    }
}

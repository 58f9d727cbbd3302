use std::fmt::Debug;

use model::{
    CertRecord, CertSource, CertWanted, CertificateMode, Challenge, Host, Role, Secret,
    SessionToken, Timestamp, Upstream, UpstreamTls, User,
};
use proptest::prelude::*;

use super::*;
use crate::unborn;

fn sealer() -> Sealer {
    let key = |text: &str| Secret::new(text.repeat(4));
    Sealer::new(Some(&key("secret key ")), Some(&key("cert key ")), false).unwrap()
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// That a record reads as it was written; returns what is stored.
fn survives<R: Record + Debug>(record: &R) -> Fields {
    let fields = record.to_fields(&sealer()).unwrap();
    let read = R::from_fields(&record.id(), &fields, &sealer()).unwrap();
    assert_eq!(format!("{record:?}"), format!("{read:?}"));
    let named = |name: &String| R::FIELDS.contains(&name.as_str()) || name == "created_by";
    assert!(fields.keys().all(named), "a field that is not declared: {fields:?}");
    fields
}

#[test]
fn the_records_of_issuing_read_as_written() {
    let secret = |text: &str| Secret::new(text.to_owned());
    let name: model::HostPattern = "*.a.test".parse().unwrap();
    survives(&Issuance::new(name.clone()));
    let failure = AttemptFailure {
        stage: "validation".to_owned(),
        code: "dns".to_owned(),
        detail: "no such name".to_owned(),
        problem: Some("{\"type\":\"urn:ietf:params:acme:error:dns\"}".to_owned()),
    };
    let attempt = Attempt {
        at: at(7),
        took_ms: 3,
        holder: "one".to_owned(),
        directory: Some("https://ca.test/dir".to_owned()),
        failure: Some(failure.clone()),
    };
    let mut full = Issuance {
        fence: 3,
        holder: "two".to_owned(),
        started_at: Some(at(5)),
        stage: Some("order".to_owned()),
        order: Some("{}".to_owned()),
        order_key: Some(secret("a private key")),
        failures: 2,
        retry_at: Some(at(9)),
        forced_at: Some(at(4)),
        window: Some(Window { start: Some(at(1)), end: None, ask_at: at(2) }),
        ..Issuance::new(name)
    };
    for _ in 0..12 {
        full.remember(attempt.clone());
    }
    assert_eq!(full.attempts.len(), 10, "the oldest are forgotten");
    assert_eq!(full.last_failure(), Some(&failure));
    let stored = survives(&full);
    assert!(stored["order_key"].starts_with("gw1:"));

    let directory = "https://ca.test/dir".to_owned();
    let stored = survives(&AcmeAccount { directory, account: secret("{}"), created_at: at(1) });
    assert!(stored["account"].starts_with("gw1:"));
    survives(&CertLedger { scope: "ca.test|orders".to_owned(), at: vec![at(1), at(2)] });

    let provider = DnsProviderRecord {
        id: "main".to_owned(),
        kind: "cloudflare".to_owned(),
        settings: [("endpoint".to_owned(), "http://127.0.0.1:1".to_owned())].into(),
        credentials: [("token".to_owned(), secret("a canary"))].into(),
        nameservers: vec!["127.0.0.1:5353".parse().unwrap()],
        created_by: Some("ann".parse().unwrap()),
        created_at: at(1),
        updated_at: at(2),
    };
    let stored = survives(&provider);
    assert!(!format!("{stored:?}{provider:?}").contains("a canary"));
    let broken = Secret::new("no JSON, but a canary".to_owned());
    let sealed = sealer().secret_key().seal(&provider.key(), &broken).unwrap();
    let mut stored = stored;
    stored.insert("credentials".to_owned(), sealed);
    let error = DnsProviderRecord::from_fields("main", &stored, &sealer()).unwrap_err();
    assert!(!format!("{error:?} {error}").contains("canary"), "{error:?}");

    let domain = Domain {
        name: "a.test".to_owned(),
        provider: "main".to_owned(),
        zone_id: "1".to_owned(),
        seen_at: at(3),
    };
    survives(&domain);
    assert_eq!(domain.id(), "a.test@main");
}

#[test]
fn every_record_reads_as_written() {
    let pem = || Secret::new("-----BEGIN PRIVATE KEY-----".to_owned());
    let cert = CertRecord {
        name: "*.a.test".parse().unwrap(),
        chain_pem: "chain".to_owned(),
        key_pem: pem(),
        source: CertSource::Local,
        not_before: at(1),
        not_after: at(2),
    };
    let stored = survives(&cert);
    assert!(stored["privkey_pem"].starts_with("gw1:"));
    let opened = CertRecord::from_fields("*.a.test", &stored, &sealer()).unwrap();
    assert_eq!(opened.key_pem, pem());

    let challenge = Challenge {
        domain: "a.test".parse().unwrap(),
        token: "t".to_owned(),
        key_authorisation: "t.x".to_owned(),
        expires_at: at(9),
    };
    survives(&challenge);
    assert_eq!((challenge.id().as_str(), challenge.expires_at()), ("a.test:t", Some(at(9))));

    let wanted = CertWanted { name: "a.test".parse().unwrap(), wanted_at: at(5) };
    survives(&wanted);
    assert_eq!(wanted.expires_at(), Some(at(60_005)));

    let username = || "ann".parse().unwrap();
    let hash = Secret::new("$2b$04$x".to_owned());
    survives(&User {
        username: username(),
        role: Role::Manager,
        password_hash: hash,
        created_at: at(1),
        updated_at: at(2),
    });
    let token = SessionToken {
        hash: "0a".repeat(32),
        username: username(),
        created_at: at(1),
        expires_at: at(2),
    };
    assert!(!survives(&token).values().any(|value| value.contains("0a0a")));

    let ca = LocalCaRecord { cert_pem: "root".to_owned(), key_pem: pem(), created_at: at(1) };
    assert!(survives(&ca)["key_pem"].starts_with("gw1:"));

    survives(&StoreAccept {
        revision: "4f2a-9:17".parse().unwrap(),
        accepted_by: username(),
        accepted_at: at(5),
    });

    survives(&ProxyReport {
        instance: "one".to_owned(),
        revision: unborn(),
        workers: 2,
        hosts: 3,
        certs: 4,
        guard: Some(GuardReport {
            reason: "went_back".to_owned(),
            detail: "it went back".to_owned(),
            seen: unborn(),
            since: at(3),
        }),
        rejected: vec![Rejected::new(&Key::new(Collection::Host, "x"), "it is odd")],
        ailing: vec![Ailing {
            host: "a.test".to_owned(),
            upstream: "10.0.0.1:80".to_owned(),
            state: "ejected".to_owned(),
            since: at(2),
        }],
        started_at: at(1),
        version: "1.0".to_owned(),
        addr: "127.0.0.1:9180".to_owned(),
    });
}

#[test]
fn a_certificate_opens_with_its_own_key_only() {
    let text = |text: &str| Secret::new(text.repeat(8));
    let key = |a: &str| Sealer::new(None, Some(&text(a)), false).unwrap();
    let cert = CertRecord {
        name: "a.test".parse().unwrap(),
        chain_pem: "chain".to_owned(),
        key_pem: text("k"),
        source: CertSource::Custom,
        not_before: at(1),
        not_after: at(2),
    };
    let stored = cert.to_fields(&key("one")).unwrap();
    let error = CertRecord::from_fields("a.test", &stored, &key("two")).unwrap_err();
    assert_eq!(error.to_string(), "Cert_a.test: the field privkey_pem can't be read");
    assert!(error.source.unwrap().to_string().contains("another CERT_KEY"));
}

#[test]
fn a_token_stored_in_clear_is_no_login() {
    let token = "e2b31c2e-1d6f-4c0c-9bb1-1f1a5a9d9b11";
    let fields = Writer::default()
        .set("created_by", "ann")
        .set_millis("created_on", at(1))
        .set_millis("expires_at", at(u64::MAX))
        .done();
    let error = SessionToken::from_fields(token, &fields, &sealer()).unwrap_err();
    assert!(!error.to_string().contains(token), "{error}");
}

/// A host as an older control plane writes it.
fn old(extra: &[(&str, &str)]) -> Fields {
    let usual = [
        ("host", "a.test"),
        ("ip", "10.0.0.1"),
        ("targetPort", "8080"),
        ("forcessl", "true"),
        ("targetssl", "false"),
        ("created_by", "Ann"),
        ("created_on", "1700000000000"),
        ("updated_on", "1700000000001"),
        ("ratelimit_enabled", "false"),
        ("basicauth_users", "{}"),
    ];
    let pairs = usual.iter().chain(extra);
    pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read(fields: &Fields) -> Result<Host, BadRecord> {
    Host::from_fields("a.test", fields, &sealer())
}

fn upstreams(host: &Host) -> Vec<String> {
    host.upstreams.iter().map(ToString::to_string).collect()
}

#[test]
fn an_older_record_is_a_host() {
    let host = read(&old(&[])).unwrap();
    assert_eq!(upstreams(&host), ["10.0.0.1:8080"]);
    assert_eq!(host.created_by.as_ref().unwrap().as_str(), "ann");
    assert_eq!(host.created_at, at(1_700_000_000_000));
    let mut plain = Host::new("a.test".parse().unwrap());
    plain.upstreams.clone_from(&host.upstreams);
    plain.created_by.clone_from(&host.created_by);
    (plain.created_at, plain.updated_at) = (host.created_at, host.updated_at);
    assert_eq!(host, plain);
}

#[test]
fn older_fields_mean_what_they_meant() {
    type Check = fn(&Host) -> bool;
    let cases: [(&[(&str, &str)], Check); 11] = [
        (&[("forcessl", "false")], |h| !h.force_https),
        (&[("forcessl", "0")], |h| h.force_https),
        (&[("targetssl", "yes")], |h| h.upstream_tls == UpstreamTls::Insecure),
        (&[("targetssl", "true"), ("gw_upstream_tls", "verify")], |h| {
            h.upstream_tls == UpstreamTls::Verify
        }),
        (&[("targetssl", "false"), ("gw_upstream_tls", "verify")], |h| {
            h.upstream_tls == UpstreamTls::Off
        }),
        (&[("targets", r#"["10.0.0.2:9000", "app", " "]"#)], |h| {
            upstreams(h) == ["10.0.0.1:8080", "10.0.0.2:9000", "app:8080"]
        }),
        (&[("ip", "")], |h| h.enabled && h.upstreams.is_empty()),
        (&[("is_cache", "true")], |h| !h.enabled),
        (&[("is_wildcard", "true")], |h| h.enabled),
        (&[("created_on", "Tue Nov 14"), ("created_by", "__NONE__")], |h| {
            h.created_by.is_none() && h.created_at == at(0)
        }),
        (&[("gw_certificate", "local"), ("gw_preserve_host", "false")], |h| {
            h.certificate == CertificateMode::Local && !h.preserve_host
        }),
    ];
    for (extra, check) in cases {
        let host = read(&old(extra)).unwrap();
        assert!(check(&host), "{extra:?}: {host:?}");
    }
    let wildcard = |extra: &[(&str, &str)]| {
        let fields = old(&[&[("host", "*.a.test"), ("is_wildcard", "true")], extra].concat());
        Host::from_fields("*.a.test", &fields, &sealer()).unwrap().enabled
    };
    assert!(!wildcard(&[]) && !wildcard(&[("wildcard_matchAny", "false")]));
    assert!(wildcard(&[("wildcard_matchAny", "true")]));
}

#[test]
fn a_wrong_host_names_the_field() {
    for (extra, field) in [
        (("targetPort", "80.5"), "targetPort"),
        (("targetPort", "-5"), "targetPort"),
        (("targetPort", ""), "targetPort"),
        (("ip", "a b"), "ip"),
        (("targets", "10.0.0.1:80"), "targets"),
        (("targets", r#"["10.0.0.1:x"]"#), "targets"),
        (("host", "b.test"), "host"),
        (("gw_certificate", "magic"), "gw_certificate"),
        (("gw_upstreams", "[1]"), "gw_upstreams"),
    ] {
        let error = read(&old(&[extra])).unwrap_err();
        assert!(error.to_string().contains(&format!("the field {field} ")), "{extra:?}: {error}");
        assert_eq!(error.key, Key::new(Collection::Host, "a.test"));
    }
    // A second spelling of a name would be a second record of one host.
    let shouted = old(&[("host", "A.test")]);
    assert!(Host::from_fields("A.test", &shouted, &sealer()).is_err());
}

#[test]
fn an_older_reader_routes_only_what_it_may_and_can() {
    let mut host = Host::new("a.test".parse().unwrap());
    let fields = |host: &Host| host.to_fields(&sealer()).unwrap();
    assert!(!fields(&host).contains_key("ip"), "no upstream");

    host.upstreams = vec!["[::1]:80".parse().unwrap(), "app:81".parse().unwrap()];
    let written = fields(&host);
    assert_eq!((written["ip"].as_str(), written["targetPort"].as_str()), ("app", "81"));
    assert_eq!(written["gw_upstreams"], r#"["[::1]:80","app:81"]"#);

    host.enabled = false;
    let mut written = fields(&host);
    assert!(!written.contains_key("ip") && written["gw_enabled"] == "false");

    // An older control plane that gives it a target has the last word.
    written.insert("ip".to_owned(), "10.0.0.9".to_owned());
    written.insert("targetPort".to_owned(), "90".to_owned());
    let edited = read(&written).unwrap();
    assert_eq!((edited.enabled, upstreams(&edited)), (true, vec!["10.0.0.9:90".to_owned()]));
}

fn any_upstream() -> impl Strategy<Value = Upstream> {
    let host = prop_oneof!["10\\.0\\.0\\.[1-3]", "\\[::[1-3]\\]", "app|db|a_b\\.test"];
    (host, 1u16..4).prop_map(|(host, port)| format!("{host}:{port}").parse().unwrap())
}

fn any_host() -> impl Strategy<Value = Host> {
    let pattern = prop_oneof!["[a-c]\\.test", "\\*\\.test", "\\*\\*\\.[a-c]\\.test"];
    let tls =
        prop_oneof![Just(UpstreamTls::Off), Just(UpstreamTls::Verify), Just(UpstreamTls::Insecure)];
    let certificate = prop_oneof![
        Just(CertificateMode::Auto),
        Just(CertificateMode::Acme),
        Just(CertificateMode::Local),
        Just(CertificateMode::Custom),
        Just(CertificateMode::None)
    ];
    let upstreams = proptest::collection::vec(any_upstream(), 0..4);
    let flags = any::<(bool, bool, bool, Option<u64>)>();
    (pattern, upstreams, tls, certificate, flags).prop_map(
        |(pattern, upstreams, tls, mode, flags)| {
            let mut host = Host::new(pattern.parse().unwrap());
            (host.upstreams, host.upstream_tls, host.certificate) = (upstreams, tls, mode);
            (host.preserve_host, host.force_https, host.enabled) = (flags.0, flags.1, flags.2);
            host.created_by = flags.3.map(|n| format!("user{n}").parse().unwrap());
            host.updated_at = at(flags.3.unwrap_or(7));
            host
        },
    )
}

#[test]
fn rules_read_as_written_and_the_older_fields_have_the_last_word() {
    let mut host = Host::new("a.test".parse().unwrap());
    let plain = survives(&host);
    assert!(!plain.contains_key("gw_rules"), "no rules, no field");
    let json = r#"{"canonical":"a.test","allow":["10.0.0.0/8"],"deny":["10.1.0.0/16"],
        "routes":[{"path":"/api","upstreams":["127.0.0.1:1"],"strip_prefix":true},{"path":"/s","static":{"root":"/srv"}}],
        "rate_limit":[{"requests":5,"burst":7}],"basic_auth":{"users":{"ann":"$2b$10$canary"}},
        "hsts":{"max_age":60},"request_headers":{"set":{"x-a":"1"},"remove":["x-b"]},"security_headers":true,
        "limits":{"max_body":10},"rewrite_responses":false,"upstream_http":"2","maintenance":{"retry_after":5}}"#;
    host.set_rules(serde_json::from_str(json).unwrap());
    let stored = survives(&host);
    assert!(!stored["gw_rules"].contains("canary"));
    for (field, value) in [
        ("ip_allow", r#"["10.0.0.0/8"]"#),
        ("req_headers", r#"{"x-a":"1"}"#),
        ("ratelimit_enabled", "true"),
        ("ratelimit_burst", "6"),
    ] {
        assert_eq!(stored[field], value, "{field}");
    }
    let edited = |field: &str, value: &str| {
        let mut fields = stored.clone();
        fields.insert(field.to_owned(), value.to_owned());
        Host::from_fields("a.test", &fields, &sealer())
    };
    assert_eq!(edited("ip_allow", r#"["192.0.2.1"]"#).unwrap().rules().allow, ["192.0.2.1"]);
    let slower = edited("ratelimit_rate", "2").unwrap();
    assert_eq!(slower.rules().rate_limit[0].requests, 2);
    assert_eq!(edited("sso_enabled", "true").unwrap().foreign_gate, Some("sso_enabled"));
    // An access list that can't be read must not count as none.
    edited("ip_deny", "10.0.0.1,10.0.0.2").unwrap_err();
    edited("gw_rules", r#"{"allw":[]}"#).unwrap_err();
}

proptest! {
    #[test]
    fn any_host_reads_as_written(host in any_host()) {
        let fields = survives(&host);
        let usable = host.upstreams.iter().any(|upstream| !upstream.to_string().starts_with('['));
        prop_assert_eq!(fields.contains_key("ip"), host.enabled && usable);
    }
}

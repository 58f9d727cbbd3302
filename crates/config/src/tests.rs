//! Reading settings as the programs do, with literal arguments and environments.

use std::fs;
use std::path::Path;

use crate::{
    ApiSettings, Env, Errors, Invocation, Listen, LogFormat, Program, ProxySettings, StoreUrl,
    UpSettings,
};

fn run<T>(outcome: Result<Invocation<T>, Errors>) -> (T, Vec<String>) {
    match outcome.unwrap_or_else(|errors| panic!("{errors}")) {
        Invocation::Run(settings, warnings) => (settings, warnings),
        Invocation::Print(text) => panic!("printed {text}"),
    }
}

fn printed<T>(outcome: Result<Invocation<T>, Errors>) -> String {
    match outcome.unwrap_or_else(|errors| panic!("{errors}")) {
        Invocation::Run(..) => panic!("did not print"),
        Invocation::Print(text) => text,
    }
}

fn lines<T>(outcome: Result<Invocation<T>, Errors>) -> Vec<String> {
    match outcome {
        Ok(_) => panic!("accepted"),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

fn proxy(args: &[&str], env: &Env) -> Result<Invocation<ProxySettings>, Errors> {
    crate::proxy(["gatewright-proxy"].iter().chain(args), env)
}

fn api(args: &[&str], env: &Env) -> Result<Invocation<ApiSettings>, Errors> {
    crate::api(["gatewright-api"].iter().chain(args), env)
}

fn up(args: &[&str], env: &Env) -> Result<Invocation<UpSettings>, Errors> {
    let command = crate::command(Program::Up);
    crate::up(&command.try_get_matches_from(["up"].iter().chain(args)).unwrap(), env)
}

fn file(dir: &Path, text: &str) -> String {
    let path = dir.join("gatewright.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn defaults_of_the_services() {
    let (settings, warnings) = run(proxy(&[], &Env::default()));
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(settings.common.store.to_string(), "redis://127.0.0.1:6379");
    assert_eq!(settings.http, [Listen::Address("[::]:80".parse().unwrap())]);
    assert_eq!(settings.https, [Listen::Address("[::]:443".parse().unwrap())]);
    assert_eq!(settings.unknown_host_status, 404);
    assert_eq!(settings.common.log_format, LogFormat::Json);
    assert!(settings.trusted_proxies.is_empty());
    assert!(settings.workers >= 1);
}

#[test]
fn defaults_of_up_need_no_redis_no_root_and_no_secret() {
    let (settings, _) = run(up(&[], &Env::default()));
    assert_eq!(settings.proxy.common.store, StoreUrl::Embedded("./gatewright-data".into()));
    assert_eq!(settings.proxy.http, [Listen::Address("127.0.0.1:8080".parse().unwrap())]);
    assert_eq!(settings.api.listen, Listen::Address("127.0.0.1:3000".parse().unwrap()));
    assert_eq!(settings.api.admin_user.as_str(), "admin");
    assert_eq!(settings.api.common.log_format, LogFormat::Text);
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(dir.path(), "workers = 2\nkey_prefix = 'file_'\nunknown_host_status = 502\n");
    let env = Env::from([("GATEWRIGHT_WORKERS", "3"), ("GATEWRIGHT_KEY_PREFIX", "env_")]);
    let (settings, _) = run(proxy(&["--workers", "4", "--config", &file], &env));
    assert_eq!(settings.workers, 4);
    assert_eq!(settings.common.key_prefix, "env_");
    assert_eq!(settings.unknown_host_status, 502);
}

#[test]
fn the_file_may_be_named_in_the_environment_and_holds_arrays_and_sibling_keys() {
    let dir = tempfile::tempdir().unwrap();
    let text = "http_listen = ['127.0.0.1:1', \"[::1]:2\"]\napi_listen = '127.0.0.1:3'\n";
    let file = file(dir.path(), text);
    let env = Env::from([("GATEWRIGHT_CONFIG", file.as_str())]);
    let (settings, _) = run(proxy(&[], &env));
    assert_eq!(settings.http.len(), 2);
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(dir.path(), "# a comment\nworkers = 0\n\nhtpp_listen = 'x'\nlog = { a = 1 }\n");
    let env = Env::from([
        ("GATEWRIGHT_STORE", "ftp://x"),
        ("GATEWRIGHT_TRUSTED_PROXIES", "10.0.0.0/8, nonsense"),
    ]);
    let lines = lines(proxy(&["--idle-timeout=soon", "--config", &file], &env));
    for wanted in [
        "gatewright.toml line 4: there is no setting \"htpp_listen\"",
        "gatewright.toml line 5 (log): can't be a table",
        "gatewright.toml line 2 (workers): \"0\" is neither cores nor a number from 1 to 1024",
        "GATEWRIGHT_STORE: \"ftp://x\" has none of the schemes",
        "GATEWRIGHT_TRUSTED_PROXIES: \"nonsense\" is no address",
        "--idle-timeout: \"soon\" is no duration",
    ] {
        assert!(lines.iter().any(|line| line.contains(wanted)), "{wanted} not in {lines:#?}");
    }
    assert_eq!(lines.len(), 6, "{lines:#?}");
}

#[test]
fn a_file_that_is_no_toml_names_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(dir.path(), "workers = 2\nlog = = 'info'\n");
    let lines = lines(proxy(&["--config", &file], &Env::default()));
    assert!(lines[0].contains("line 2"), "{lines:?}");
    let lines = self::lines(proxy(&["--config", "/nonexistent.toml"], &Env::default()));
    assert!(lines[0].starts_with("/nonexistent.toml: can't be read"), "{lines:?}");
}

#[test]
fn an_unknown_variable_warns_and_a_siblings_does_not() {
    let env = Env::from([
        ("GATEWRIGHT_ADMIN_USER", "root"),
        ("GATEWRIGHT_TOKEN", "x"),
        ("GATEWRIGHT_WORKER", "4"),
        ("OTHER", "x"),
    ]);
    let (_, warnings) = run(proxy(&[], &env));
    assert_eq!(warnings, ["GATEWRIGHT_WORKER is no setting and has no effect"]);
}

#[test]
fn usage_errors_and_help() {
    let lines = lines(proxy(&["--wrokers=4"], &Env::default()));
    assert!(lines[0].contains("--wrokers"), "{lines:?}");
    // What only a sibling has is no flag here.
    assert!(proxy(&["--admin-user=x"], &Env::default()).is_err());
    assert!(printed(proxy(&["--help"], &Env::default())).contains("--https-public-port <PORT>"));
    assert!(printed(proxy(&["--version"], &Env::default())).starts_with("gatewright-proxy "));
}

#[test]
fn redis_needs_the_secret_key_unless_plaintext_is_allowed() {
    assert_eq!(
        lines(api(&[], &Env::default())),
        ["SECRET_KEY: is required with Redis, unless ALLOW_PLAINTEXT_SECRETS is true"]
    );
    run(api(&["--allow-plaintext-secrets"], &Env::default()));
    run(api(&["--allow-plaintext-secrets=true"], &Env::default()));
    run(api(&[], &Env::from([("GATEWRIGHT_SECRET_KEY", "0123456789abcdef")])));
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "correct horse battery\n").unwrap();
    let path = secret.to_str().unwrap();
    let env =
        Env::from([("GATEWRIGHT_SECRET_KEY_FILE", path), ("GATEWRIGHT_CERT_KEY", "tooshort")]);
    let (settings, _) = run(api(&["--cert-key-file", path], &env));
    assert_eq!(settings.secret_key.as_ref().unwrap().expose(), "correct horse battery");
    assert_eq!(settings.common.cert_key.as_ref().unwrap().expose(), "correct horse battery");
    assert!(!format!("{settings:?}").contains("horse"));

    let text =
        printed(api(&["--cert-key-file", path, "--store=redis://:hunter2@h", "--check"], &env));
    assert!(!text.contains("horse") && !text.contains("hunter2"), "{text}");
    assert!(
        text.contains("# secret_key is set and not shown  # GATEWRIGHT_SECRET_KEY_FILE"),
        "{text}"
    );

    let errors = lines(api(&["--secret-key-file", "/nonexistent"], &env)).join("\n");
    assert!(errors.contains("--secret-key-file: \"/nonexistent\" can't be read"), "{errors}");
    assert!(errors.contains("GATEWRIGHT_CERT_KEY: (secret) is shorter than 16 bytes"), "{errors}");
}

#[test]
fn check_prints_a_file_that_gives_the_same_settings() {
    let dir = tempfile::tempdir().unwrap();
    let env = Env::from([("GATEWRIGHT_WORKERS", "3")]);
    let text = printed(proxy(&["--check", "--profile=development"], &env));
    assert!(text.contains("workers = \"3\"  # GATEWRIGHT_WORKERS\n"), "{text}");
    assert!(text.contains("log_format = \"text\"  # default of profile development\n"), "{text}");
    let file = file(dir.path(), &text);
    let again = printed(proxy(&["--check", "--config", &file], &Env::default()));
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split("  # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&again), values(&text));
}

#[test]
fn check_tells_mistakes_too() {
    assert!(proxy(&["--check", "--workers=x"], &Env::default()).is_err());
}

#[test]
fn two_listeners_on_one_address_are_a_mistake() {
    let args = ["--http-listen=127.0.0.1:80,127.0.0.1:80", "--https-listen=127.0.0.1:9180"];
    let lines = lines(proxy(&args, &Env::default()));
    assert_eq!(lines.len(), 2, "{lines:?}");
    run(proxy(&["--http-listen=127.0.0.1:0", "--https-listen=127.0.0.1:0"], &Env::default()));
    assert!(proxy(&["--http-listen=", "--https-listen="], &Env::default()).is_err());
    run(proxy(&["--http-listen=", "--proxy-admin-listen="], &Env::default()));
}

#[test]
fn a_socket_of_the_service_manager_goes_by_its_name() {
    let args = ["--http-listen=fd:web, 127.0.0.1:0", "--https-listen=fd:tls"];
    let (settings, _) = run(proxy(&args, &Env::default()));
    let inherited = |name: &str| Listen::Inherited(name.to_owned());
    assert_eq!(settings.http, [inherited("web"), Listen::Address("127.0.0.1:0".parse().unwrap())]);
    assert_eq!(settings.https, [inherited("tls")]);
    for (wrong, why) in [
        ("fd:", "names no socket"),
        ("fd:a:b", "is no name of a socket"),
        ("fd:tls", "a second time"),
    ] {
        let args = [format!("--http-listen={wrong}"), "--https-listen=fd:tls".to_owned()];
        let lines = lines(proxy(&args.each_ref().map(String::as_str), &Env::default()));
        assert!(lines.iter().any(|line| line.contains(why)), "{wrong}: {lines:?}");
    }
}

#[test]
fn legacy_keys_are_on_for_a_redis_of_the_services_only() {
    let legacy = |args: &[&str]| run(proxy(args, &Env::default())).0.common.legacy_keys;
    assert!(legacy(&[]));
    assert!(!legacy(&["--legacy-keys=false"]));
    let cluster = ["--store=redis-cluster://h", "--key-prefix={proxy}_"];
    assert!(!legacy(&cluster));
    assert!(!legacy(&["--store=embedded:x"]));
    let lines = lines(proxy(&[cluster[0], cluster[1], "--legacy-keys=true"], &Env::default()));
    assert_eq!(lines, ["--legacy-keys: can't be true on a cluster"]);
    let (settings, _) = run(up(&[], &Env::default()));
    assert!(!settings.proxy.common.legacy_keys && settings.proxy.common.lookup_socket.is_none());
}

#[test]
fn one_authority_comes_from_settings_and_several_from_tables() {
    let dir = tempfile::tempdir().unwrap();
    let none = Env::default();
    let args =
        |file: &str| vec!["--store=embedded:x".to_owned(), "--config".to_owned(), file.to_owned()];
    let read = |text: &str, env: &Env| {
        let args = args(&file(dir.path(), text));
        api(&args.iter().map(String::as_str).collect::<Vec<_>>(), env)
    };
    let (settings, _) = run(read("", &none));
    assert_eq!(settings.acme.len(), 1);
    assert!(settings.acme[0].directory.contains("letsencrypt.org"));
    assert_eq!(settings.acme_challenges.len(), 3);
    let off = Env::from([("GATEWRIGHT_ACME_DIRECTORY", "off")]);
    assert_eq!(run(read("", &off)).0.acme, []);

    let two = "acme_key = \"rsa\"\ndns_resolvers = [\"127.0.0.1:5353\", \"::1\"]\n\
        [[acme]]\ndirectory = \"https://one.test/dir\"\nemail = \"ann@one.test\"\n\
        [[acme]]\ndirectory = \"https://two.test/dir\"\neab_kid = \"k\"\neab_hmac = \"canary\"\n";
    let (settings, _) = run(read(two, &none));
    let names: Vec<_> = settings.acme.iter().map(|ca| ca.directory.as_str()).collect();
    assert_eq!(names, ["https://one.test/dir", "https://two.test/dir"]);
    assert_eq!(settings.acme[1].eab.as_ref().unwrap().0, "k");
    assert_eq!(settings.acme_key, crate::AcmeKey::Rsa);
    assert_eq!(settings.dns_resolvers[1], "[::1]:53".parse().unwrap());
    assert!(!format!("{settings:?}").contains("canary"));
    let path = file(dir.path(), two);
    let shown = printed(api(&["--check", "--store=embedded:x", "--config", &path], &none));
    assert!(shown.contains("[[acme]]") && !shown.contains("canary"), "{shown}");
    run(read(&shown.replace("# eab_hmac is set and not shown", "eab_hmac = \"again\""), &none));

    let both = Env::from([("GATEWRIGHT_ACME_EMAIL", "ann@one.test")]);
    let told = lines(read(two, &both)).join("\n");
    assert!(told.contains("GATEWRIGHT_ACME_EMAIL: is given besides [[acme]]"), "{told}");
    let wrong = "[[acme]]\ndirectory = \"http://one.test\"\n[[acme]]\nemail = \"nobody\"\nurl = 1\n[[acme]]\neab_kid = \"k\"\n";
    let told = lines(read(wrong, &none)).join("\n");
    for part in [
        "line 2 (acme.directory): \"http://one.test\" is no URL",
        "line 4 (acme.email): \"nobody\" is no e-mail address",
        "line 5 (acme.url): [[acme]] has no key \"url\"",
        "a directory is required",
        "eab_kid and eab_hmac go together",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(lines(read("acme = 3", &none)).join("\n").contains("[[acme]]"));
    let half = Env::from([("GATEWRIGHT_ACME_EAB_KID", "k")]);
    assert!(lines(read("", &half)).join("\n").contains("ACME_EAB_HMAC: is required"));
}

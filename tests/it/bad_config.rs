//! Bad configuration: each program names every error at once, exits with 64 and has touched nothing.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use testkit::binary;

const PROGRAMS: [&str; 2] = ["gatewright-proxy", "gatewright-api"];

/// Several wrong settings from all three sources are all named, each by what the operator wrote.
#[test]
fn every_wrong_setting_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    let state = dir.path().join("state");
    std::fs::write(&file, "log_format = \"poem\"\nno_such_setting = 1\n").unwrap();
    for program in PROGRAMS {
        let listen = if program == "gatewright-api" { "api-listen" } else { "http-listen" };
        let output = command(program)
            .arg("--config")
            .arg(&file)
            .arg(format!("--{listen}"))
            .arg("nowhere")
            .env("GATEWRIGHT_STORE", "http://127.0.0.1:1")
            .env("GATEWRIGHT_STATE_DIR", &state)
            .output()
            .unwrap();
        let said = bad_usage(program, &output);
        let lower = said.to_lowercase();
        let key = listen.replace('-', "_");
        for wanted in ["log_format", "poem", "no_such_setting", "line 2", &key, "nowhere", "store"]
        {
            let dashed = wanted.replace('_', "-");
            assert!(
                lower.contains(wanted) || lower.contains(&dashed),
                "{program}: {wanted} in:\n{said}"
            );
        }
        assert!(!state.exists(), "{program} wrote before it knew its settings");
    }
}

/// `--check` judges the same way without starting anything, and prints the settings in force when they are good.
#[test]
fn check_prints_the_settings_in_force_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I=";
    for program in PROGRAMS {
        let mut good = command(program);
        good.arg("--check")
            .env("GATEWRIGHT_STORE", "redis://127.0.0.1:1")
            .env("GATEWRIGHT_STATE_DIR", dir.path().join("state"))
            .env("GATEWRIGHT_CERT_KEY", secret);
        if program == "gatewright-api" {
            good.env("GATEWRIGHT_SECRET_KEY", secret);
        }
        let output = good.output().unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(0), "{program}: {said}");
        assert!(said.to_lowercase().contains("store"), "{program} prints its settings: {said}");
        assert!(!said.contains(secret), "{program} prints a secret");

        let bad = command(program).args(["--check", "--log-format", "poem"]).output().unwrap();
        assert!(bad_usage(program, &bad).contains("poem"));
    }
    assert!(!dir.path().join("state").exists());
}

/// Unknown flags and missing files are usage errors too; version and help are not.
#[test]
fn usage_errors_exit_with_64() {
    for program in ["gatewright-proxy", "gatewright-api", "gatewright"] {
        let unknown = command(program).arg("--no-such-flag").output().unwrap();
        assert!(bad_usage(program, &unknown).contains("--no-such-flag"));
        for fine in ["--version", "--help"] {
            let output = command(program).arg(fine).output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{program} {fine}: {}", text(&output));
            assert!(!output.stdout.is_empty(), "{program} {fine}");
        }
    }
    for program in PROGRAMS {
        let absent = command(program).args(["--config", "/nonexistent.toml"]).output().unwrap();
        assert!(bad_usage(program, &absent).contains("/nonexistent.toml"));
    }
}

/// A port that is taken is a failed start, not bad usage, and the address is named.
#[test]
fn a_taken_port_is_a_failed_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let output = command("gatewright")
        .arg("up")
        .current_dir(dir.path())
        .env("GATEWRIGHT_API_LISTEN", &addr)
        .env("GATEWRIGHT_HTTP_LISTEN", local())
        .env("GATEWRIGHT_HTTPS_LISTEN", local())
        .env("GATEWRIGHT_PROXY_ADMIN_LISTEN", local())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains(&addr), "{}", text(&output));
}

fn local() -> String {
    format!("127.0.0.1:{}", testkit::free_port())
}

fn command(program: &str) -> Command {
    let mut command = Command::new(binary(program));
    command.env_clear().stdin(Stdio::null()).current_dir(Path::new("/"));
    command
}

fn bad_usage(program: &str, output: &Output) -> String {
    let said = text(output);
    assert_eq!(output.status.code(), Some(64), "{program}: {said}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

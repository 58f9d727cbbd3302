//! Certificates and DNS providers by command line, as an operator would.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use testkit::{Up, free_port, shared};

/// Code, standard output and standard error of a command.
fn run(up: &Up, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = up.cli_with(arguments, &[("GATEWRIGHT_TOKEN", up.api.token())]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A certificate is seen, renewed, taken out, deleted and put back; its key is for its owner's eyes only.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_goes_out_and_comes_back() {
    let _turn = shared().await;
    let up = Up::start().await;
    assert_eq!(run(&up, &["host", "add", "a.localhost", "127.0.0.1:9000"]).0, Some(0));
    let (code, text, errors) = run(&up, &["cert", "renew", "a.localhost"]);
    assert_eq!((code, text.as_str()), (Some(0), "a.localhost renewed\n"), "{errors}");
    let (_, text, _) = run(&up, &["cert", "list"]);
    let row = text.lines().find(|line| line.starts_with("a.localhost")).expect("a row");
    assert!(row.contains("valid") && row.contains("local"), "{text}");
    let (_, text, _) = run(&up, &["cert", "show", "a.localhost"]);
    assert!(text.contains("ECDSA P-256") && text.contains("sha256"), "{text}");
    assert_eq!(run(&up, &["cert", "show", "none.localhost"]).0, Some(2));

    let files = ["chain.pem", "key.pem"].map(|name| up.home().join(name));
    let [chain, key] = files.each_ref().map(|path| path.to_str().expect("a plain path"));
    let export = ["cert", "export", "a.localhost", "--out-chain", chain, "--out-key", key];
    let (code, text, errors) = run(&up, &export);
    assert_eq!(code, Some(0), "{errors}");
    assert!(!text.contains("PRIVATE KEY"));
    assert!(fs::read_to_string(&files[1]).expect("it is written").contains("PRIVATE KEY"));
    for file in &files {
        assert_eq!(fs::metadata(file).expect("it is there").permissions().mode() & 0o777, 0o600);
    }

    let upload = ["cert", "upload", "a.localhost", "--chain", chain, "--key", key];
    let (code, _, errors) =
        run(&up, &["cert", "upload", "b.localhost", "--chain", chain, "--key", chain]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("/chain: ") && errors.contains("/key: "), "{errors}");
    let (code, text, errors) = run(&up, &upload);
    assert_eq!((code, text.as_str()), (Some(0), "a.localhost uploaded\n"), "{errors}");
    let (_, text, _) = run(&up, &["--json", "cert", "list"]);
    let all: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(all["results"][0]["source"], "custom");
    let (code, text, _) = run(&up, &["cert", "delete", "a.localhost"]);
    assert_eq!((code, text.as_str()), (Some(0), "a.localhost deleted\n"));
    let (_, text, _) = run(&up, &["status"]);
    assert!(text.contains("0 failing"), "{text}");
}

/// A credential never comes by the command line, and what a provider says is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_not_taken_from_the_command_line() {
    let _turn = shared().await;
    let up = Up::start().await;
    let (code, text, _) = run(&up, &["dns", "kinds"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("api_token (credential)"), "{text}");
    let (code, _, errors) = run(&up, &["dns", "add", "cloudflare", "--set", "api_token=canary"]);
    assert_eq!(code, Some(64));
    assert!(errors.contains("--secret-file api_token=FILE"), "{errors}");
    assert!(!errors.contains("canary"), "{errors}");
    let (code, _, errors) = run(&up, &["dns", "add", "cloudflare"]);
    assert_eq!(code, Some(64));
    assert!(errors.contains("no terminal"), "{errors}");
    assert_eq!(run(&up, &["dns", "add", "route54"]).0, Some(2));

    let file = up.home().join("token");
    fs::write(&file, "canary\n").expect("the directory is writable");
    let secret = format!("api_token={}", file.display());
    let endpoint = format!("endpoint=http://127.0.0.1:{}", free_port());
    let add = ["dns", "add", "cloudflare", "--secret-file", &secret, "--set", &endpoint];
    let (code, _, errors) = run(&up, &add);
    assert_eq!(code, Some(1));
    assert!(errors.contains("502 upstream") && !errors.contains("canary"), "{errors}");
    assert_eq!(run(&up, &["dns", "list"]).1, "no DNS providers yet\n");
    assert_eq!(run(&up, &["dns", "rm", "none"]).0, Some(2));
}

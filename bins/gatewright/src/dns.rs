//! The commands about DNS providers.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stdin};

use anyhow::Context;
use api::types::{
    Deleted, DnsDomain, DnsKind, DnsKindList, DnsProviderView, DnsProviderWrite, Written,
};
use http::Method;

use crate::arguments::{Dns, DnsAdd};
use crate::client::{Page, segment};
use crate::commands::{Session, query};
use crate::failure::Failure;
use crate::{files, password, tables};

impl Session<'_> {
    pub(crate) async fn dns(&self, command: Dns) -> Result<(), Failure> {
        match command {
            Dns::Kinds => {
                let kinds: DnsKindList = self.client()?.get("/api/dns/kinds").await?;
                self.answer(&kinds, |kinds| tables::dns_kinds(&kinds.results))
            }
            Dns::Add(add) => self.add_provider(add).await,
            Dns::List => {
                let all: Page<DnsProviderView> = self.client()?.all("/api/dns").await?;
                self.answer(&all, |all| tables::dns_providers(&all.results))
            }
            Dns::Show { id } => {
                let view: DnsProviderView = self.client()?.get(&path(&id)).await?;
                self.answer(&view, tables::dns_provider)
            }
            Dns::Domains => {
                let all: Page<DnsDomain> = self.client()?.all("/api/dns/domain").await?;
                self.answer(&all, |all| tables::dns_domains(&all.results))
            }
            Dns::Test { id } => {
                let path = format!("{}/refresh", path(&id));
                let body = self.client()?.send(Method::POST, &path, None).await?;
                let view: DnsProviderView = serde_json::from_slice(&body)?;
                self.answer(&view, |view| format!("{} works; {}\n", view.id, zones(view)))
            }
            Dns::Rm { ids, write } => {
                let client = self.client()?;
                for id in ids {
                    let path = format!("{}{}", path(&id), query(&write));
                    let body = client.send(Method::DELETE, &path, None).await?;
                    let written: Written<Deleted> = serde_json::from_slice(&body)?;
                    let done = if write.dry_run { "could be removed" } else { "removed" };
                    self.written(&written, &written.record.deleted, done)?;
                }
                Ok(())
            }
        }
    }

    async fn add_provider(&self, add: DnsAdd) -> Result<(), Failure> {
        let client = self.client()?;
        let kinds: DnsKindList = client.get("/api/dns/kinds").await?;
        let Some(kind) = kinds.results.iter().find(|kind| kind.id == add.kind) else {
            let known: Vec<_> = kinds.results.iter().map(|kind| kind.id.as_str()).collect();
            let text = format!("there is no kind {:?}; there are {}", add.kind, known.join(", "));
            return Err(Failure::NotFound(text));
        };
        check(kind, &add)?;
        let credentials = credentials(kind, &add)?;
        let body = DnsProviderWrite {
            id: add.id,
            kind: add.kind,
            settings: add.settings.into_iter().collect(),
            credentials,
            nameservers: add.nameservers,
        };
        let path = format!("/api/dns{}", query(&add.write));
        let written: Written<DnsProviderView> = client.write(Method::POST, &path, &body).await?;
        let view = &written.record;
        let done = if add.write.dry_run { "could be added" } else { "added" };
        self.written(&written, &view.id, &format!("{done}; {}", zones(view)))
    }
}

/// What the command line may not say.
fn check(kind: &DnsKind, add: &DnsAdd) -> Result<(), Failure> {
    let wrong = |text: String| Err(Failure::Usage(format!("dns add: {text}")));
    let secret = |name: &str| kind.fields.iter().any(|field| field.name == name && field.secret);
    if let Some((name, _)) = add.settings.iter().find(|(name, _)| secret(name)) {
        return wrong(format!(
            "--set {name}: it is a credential, and other users of this machine see command lines; use \
             --secret-file {name}=FILE (- is standard input), or leave it out to be asked for it"
        ));
    }
    let names = add.settings.iter().map(|(name, _)| name);
    let mut names: Vec<_> = names.chain(add.secrets.iter().map(|(name, _)| name)).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return wrong(format!("{} is given twice", pair[0]));
    }
    if add.secrets.iter().filter(|(_, path)| files::is_stdin(path)).count() > 1 {
        return wrong("only one credential can be standard input".to_owned());
    }
    Ok(())
}

/// The credentials that a file has, and those that somebody is asked for.
fn credentials(kind: &DnsKind, add: &DnsAdd) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = BTreeMap::new();
    for (name, path) in &add.secrets {
        let text = files::read(path)?.into_exposed();
        all.insert(name.clone(), text.trim_end_matches(['\r', '\n']).to_owned());
    }
    let missing = kind.fields.iter().filter(|field| field.secret && field.required);
    let missing: Vec<_> = missing.filter(|field| !all.contains_key(&field.name)).collect();
    let nobody = !stdin().is_terminal();
    if nobody && !missing.is_empty() {
        let flags: Vec<_> =
            missing.iter().map(|field| format!("--secret-file {}=FILE", field.name)).collect();
        return Err(Failure::Usage(format!(
            "dns add: there is no terminal to ask for credentials on: use {}",
            flags.join(" ")
        )));
    }
    for field in missing {
        let text = password::ask(&format!("{} ({})", field.title, field.help));
        let text = text.with_context(|| format!("asking for {}", field.name))?;
        all.insert(field.name.clone(), text.trim_end_matches(['\r', '\n']).to_owned());
    }
    Ok(all)
}

fn zones(view: &DnsProviderView) -> String {
    match view.zones.len() {
        0 => "it has no zones".to_owned(),
        1 => format!("one zone: {}", view.zones[0]),
        count => format!("{count} zones: {}", view.zones.join(", ")),
    }
}

fn path(id: &str) -> String {
    format!("/api/dns/{}", segment(id))
}

#[cfg(test)]
mod tests {
    use api::types::DnsField;
    use clap::FromArgMatches;

    use super::*;
    use crate::arguments::{Arguments, Command, command};

    fn kind() -> DnsKind {
        let field = |name: &str, secret| DnsField {
            name: name.to_owned(),
            title: name.to_owned(),
            secret,
            required: true,
            help: "help".to_owned(),
        };
        let fields = vec![field("api_token", true), field("endpoint", false)];
        let text = || "x".to_owned();
        DnsKind { id: text(), title: text(), help: text(), fields }
    }

    fn add(line: &[&str]) -> DnsAdd {
        let line = ["gatewright", "dns", "add", "x"].iter().chain(line);
        let matches = command().try_get_matches_from(line).unwrap();
        match Arguments::from_arg_matches(&matches).unwrap().command {
            Command::Dns(Dns::Add(add)) => add,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_credential_on_the_command_line_is_refused_without_repeating_it() {
        let refused = check(&kind(), &add(&["--set", "api_token=canary"])).unwrap_err();
        assert_eq!(refused.code(), 64);
        let text = refused.to_string();
        assert!(
            text.contains("--secret-file api_token=FILE") && !text.contains("canary"),
            "{text}"
        );
    }

    #[test]
    fn what_is_given_twice_is_refused() {
        for line in [
            &["--set", "endpoint=a", "--set", "endpoint=b"][..],
            &["--secret-file", "api_token=-", "--secret-file", "other=-"],
            &["--secret-file", "api_token=a", "--secret-file", "api_token=b"],
        ] {
            assert!(check(&kind(), &add(line)).is_err(), "{line:?}");
        }
        check(&kind(), &add(&["--set", "endpoint=a=b", "--secret-file", "api_token=-"])).unwrap();
    }

    #[test]
    fn a_credential_comes_from_a_file_without_its_line_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "canary\r\n").unwrap();
        let argument = format!("api_token={}", file.path().display());
        let found = credentials(&kind(), &add(&["--secret-file", &argument])).unwrap();
        assert_eq!(found["api_token"], "canary");
    }
}

//! The commands that talk to the API.

use std::fs;
use std::io::{Write, stderr, stdout};
use std::path::Path;

use anyhow::Context;
use api::types::{
    Applied, Deleted, HostView, LoginAnswer, LoginRequest, LookupAnswer, StatusView, StoreAccepted,
    Written,
};
use config::Env;
use http::Method;
use model::Secret;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::arguments::{
    self, Arguments, Ca, Command, Host, HostAdd, HostEdit, HostFields, Login, StoreCommand,
};
use crate::client::{Client, Page, segment};
use crate::credentials::Credentials;
use crate::failure::Failure;
use crate::{password, tables};

const DEFAULT_API: &str = "http://127.0.0.1:3000";

/// Runs any command but `up`.
pub(crate) fn run(arguments: Arguments, env: &Env) -> Result<(), Failure> {
    if let Command::Completions { shell } = arguments.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut arguments::command(), "gatewright", &mut script);
        return Ok(stdout().write_all(&script)?);
    }
    let url = arguments.api.as_deref().or(env.get("GATEWRIGHT_API")).unwrap_or(DEFAULT_API);
    let url = url.trim_end_matches('/').to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let session = Session { url, json: arguments.json, env };
    runtime.block_on(session.run(arguments.command))
}

/// A run of the program: which API, and how to answer.
pub(crate) struct Session<'e> {
    url: String,
    pub(crate) json: bool,
    env: &'e Env,
}

impl Session<'_> {
    async fn run(&self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Login(login) => self.login(login).await,
            Command::Logout => self.logout().await,
            Command::Host(host) => self.host(host).await,
            Command::Lookup { name } => self.lookup(&name).await,
            Command::Cert(cert) => self.cert(cert).await,
            Command::Dns(dns) => self.dns(dns).await,
            Command::History(history) => self.history(history).await,
            Command::Export(export) => self.export(export).await,
            Command::Import(import) => self.import(import).await,
            Command::Status => {
                let status: StatusView = self.client()?.get("/api/status").await?;
                self.answer(&status, tables::status)
            }
            Command::Store(StoreCommand::Accept { wait, no_wait }) => {
                let write = arguments::Write { wait, no_wait, dry_run: false };
                self.accept_store(&write).await
            }
            Command::Ca(Ca::Export { output }) => self.export_ca(output.as_deref()).await,
            // Needs no API and is done with already.
            Command::Completions { .. } => Ok(()),
        }
    }

    async fn login(&self, login: Login) -> Result<(), Failure> {
        let credentials = Credentials::new(self.env)?;
        let password = password::read(&login.username, login.password_file.as_deref(), self.env)?;
        let request =
            LoginRequest { username: login.username.clone(), password: password.into_exposed() };
        let client = Client::new(&self.url, None)?;
        let answer: LoginAnswer = client.write(Method::POST, "/api/auth/login", &request).await?;
        credentials.set(&self.url, Some(&Secret::new(answer.token)))?;
        let told = json!({ "username": login.username, "expires_at": answer.expires_at });
        self.answer(&told, |_| {
            format!("logged in as {} until {}\n", login.username, answer.expires_at)
        })
    }

    async fn logout(&self) -> Result<(), Failure> {
        let credentials = Credentials::new(self.env)?;
        let Some(token) = credentials.token(&self.url)? else {
            return self
                .answer(&json!({ "logged_out": false }), |_| "was not logged in\n".to_owned());
        };
        let client = Client::new(&self.url, Some(token))?;
        match client.send(Method::POST, "/api/auth/logout", None).await {
            Ok(_) => {}
            // A session that has ended is what is wanted.
            Err(Failure::Refused(problem)) if problem.status == 401 => {}
            Err(failure) => return Err(failure),
        }
        credentials.set(&self.url, None)?;
        self.answer(&json!({ "logged_out": true }), |_| "logged out\n".to_owned())
    }

    async fn host(&self, command: Host) -> Result<(), Failure> {
        match command {
            Host::Add(add) => self.add(add).await,
            Host::List => {
                let all: Page<HostView> = self.client()?.all("/api/host").await?;
                self.answer(&all, |all| tables::hosts(&all.results))
            }
            Host::Show { pattern } => {
                let path = format!("/api/host/{}", segment(&pattern));
                let host: HostView = self.client()?.get(&path).await?;
                self.answer(&host, tables::host)
            }
            Host::Edit(edit) => self.edit(edit).await,
            Host::Rm { patterns, write } => self.remove(&patterns, &write).await,
        }
    }

    async fn add(&self, add: HostAdd) -> Result<(), Failure> {
        let mut body = fields(&add.fields);
        body.insert("host".to_owned(), add.pattern.into());
        body.insert("upstreams".to_owned(), add.upstreams.into());
        let path = format!("/api/host{}", query(&add.write));
        let written: Written<HostView> = self.client()?.write(Method::POST, &path, &body).await?;
        let done = if add.write.dry_run { "could be added" } else { "added" };
        self.written(&written, &written.record.host, done)
    }

    async fn edit(&self, edit: HostEdit) -> Result<(), Failure> {
        let mut body = fields(&edit.fields);
        if !edit.upstreams.is_empty() {
            body.insert("upstreams".to_owned(), edit.upstreams.into());
        }
        if body.is_empty() {
            return Err(Failure::Usage("host edit: nothing to change was named".to_owned()));
        }
        let path = format!("/api/host/{}{}", segment(&edit.pattern), query(&edit.write));
        let written: Written<HostView> = self.client()?.write(Method::PATCH, &path, &body).await?;
        let done = if edit.write.dry_run { "could be changed" } else { "changed" };
        self.written(&written, &written.record.host, done)
    }

    async fn remove(&self, patterns: &[String], write: &arguments::Write) -> Result<(), Failure> {
        let client = self.client()?;
        for pattern in patterns {
            let path = format!("/api/host/{}{}", segment(pattern), query(write));
            let body = client.send(Method::DELETE, &path, None).await?;
            let written: Written<Deleted> = serde_json::from_slice(&body)?;
            let done = if write.dry_run { "could be removed" } else { "removed" };
            self.written(&written, &written.record.deleted, done)?;
        }
        Ok(())
    }

    async fn accept_store(&self, write: &arguments::Write) -> Result<(), Failure> {
        let path = format!("/api/store/accept{}", query(write));
        let body = self.client()?.send(Method::POST, &path, None).await?;
        let written: Written<StoreAccepted> = serde_json::from_slice(&body)?;
        self.written(&written, "the store", &format!("is accepted at {}", written.record.revision))
    }

    async fn lookup(&self, name: &str) -> Result<(), Failure> {
        let path = format!("/api/host/lookup/{}", segment(name));
        let answer: LookupAnswer = self.client()?.get(&path).await?;
        if self.json || answer.matched.is_some() {
            self.answer(&answer, tables::lookup)?;
        }
        match answer.matched {
            Some(_) => Ok(()),
            None => Err(Failure::NotFound(format!("{} leads nowhere", answer.name))),
        }
    }

    async fn export_ca(&self, output: Option<&Path>) -> Result<(), Failure> {
        let pem = Client::new(&self.url, None)?.text("/api/ca").await?;
        match output {
            Some(path) => fs::write(path, pem)
                .with_context(|| format!("{} can't be written", path.display()))?,
            None => stdout().write_all(pem.as_bytes())?,
        }
        Ok(())
    }

    /// A client with the token at hand, if there is one.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let token = match self.env.get("GATEWRIGHT_TOKEN") {
            Some(token) => Some(Secret::new(token.to_owned())),
            None => Credentials::new(self.env)
                .ok()
                .map(|kept| kept.token(&self.url))
                .transpose()?
                .flatten(),
        };
        Client::new(&self.url, token)
    }

    /// Tells what was written, and fails when it does not run everywhere yet.
    pub(crate) fn written<T: Serialize>(
        &self,
        written: &Written<T>,
        name: &str,
        done: &str,
    ) -> Result<(), Failure> {
        self.answer(written, |_| format!("{name} {done}\n"))?;
        match &written.applied {
            Some(Applied { applied: false, laggards, .. }) => {
                Err(Failure::NotApplied(laggards.clone()))
            }
            Some(Applied { proxies: 0, .. }) if !self.json => {
                Ok(writeln!(stderr(), "no proxy runs yet")?)
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn answer<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let text = match self.json {
            true => format!("{}\n", serde_json::to_string_pretty(value)?),
            false => text(value),
        };
        Ok(stdout().write_all(text.as_bytes())?)
    }
}

/// What is to be waited for, as a query.
pub(crate) fn query(write: &arguments::Write) -> String {
    let mut parts = Vec::new();
    if write.dry_run {
        parts.push("dry_run=true".to_owned());
    } else if !write.no_wait {
        parts.push(format!("wait=applied&timeout={}s", write.wait));
    }
    if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
}

/// The fields that were named.
fn fields(fields: &HostFields) -> Map<String, Value> {
    let HostFields { upstream_tls, preserve_host, force_https, certificate, enabled } = fields;
    let named = [
        ("upstream_tls", upstream_tls.as_deref().map(Value::from)),
        ("preserve_host", preserve_host.map(Value::from)),
        ("force_https", force_https.map(Value::from)),
        ("certificate", certificate.as_deref().map(Value::from)),
        ("enabled", enabled.map(Value::from)),
    ];
    let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    named.collect()
}

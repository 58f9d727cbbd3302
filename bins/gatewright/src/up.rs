//! `gatewright up`: both planes in one process, on one store.

use std::fs::DirBuilder;
use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use config::{Errors, LogFormat, StoreUrl, UpSettings};
use gatewright_api::{Api, FirstAdmin};
use gatewright_proxy::DataPlane;
use runtime::Shutdown;

use crate::failure::Failure;
use crate::keys;

/// Runs until a signal or a death.
pub(crate) fn start(settings: UpSettings, warnings: &[String]) -> Result<(), Failure> {
    let common = &settings.proxy.common;
    let format = match common.log_format {
        LogFormat::Json => telemetry::LogFormat::Json,
        LogFormat::Text => telemetry::LogFormat::Text,
    };
    telemetry::init_logs(&common.log, format).map_err(|error| {
        let problem = config::Problem { place: "LOG".to_owned(), message: error.to_string() };
        Failure::Settings(Errors(vec![problem]))
    })?;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    // For the Redis client, which takes the process' default.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new()?;
    let outcome = runtime.block_on(run(settings));
    // Blocking work may still hold a thread, and there is nothing left to wait for.
    runtime.shutdown_background();
    outcome
}

async fn run(mut settings: UpSettings) -> Result<(), Failure> {
    let shutdown = Shutdown::new();
    let signals = runtime::signals()?;
    let data = data_dir(&settings);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&data)
        .with_context(|| format!("{} can't be made", data.display()))?;
    let shared = gatewright_proxy::open(&settings.proxy).await?;
    // The store is ours from here on, and so are the keys beside it.
    fill_in_keys(&mut settings, &data)?;
    let access = shared.access.clone();
    let same = gatewright_api::Shared {
        backend: shared.backend.clone(),
        metrics: shared.metrics.clone(),
        clock: shared.clock.clone(),
    };
    let api = Api::bind(settings.api, same).await?;
    let plane = DataPlane::bind(&settings.proxy, shared)?.also_ready(Arc::new(api.ready()));
    let admin = api.first_admin(&shutdown).await?;
    greet(api.address(), plane.addresses(), &data, admin)?;

    // Each plane's probe answers for both.
    let ready = plane.ready();
    let announce = |admin: FirstAdmin| drop(writeln!(stdout(), "{admin}"));
    let both = async {
        let plane = plane.run(shutdown.clone());
        let api = api.run(shutdown.clone(), ready, announce);
        tokio::try_join!(plane, api).map_err(Failure::Died)
    };
    tokio::select! {
        outcome = both => outcome.map(|_| ()),
        () = signals.obey(shutdown.clone(), || access.reopen()) => Ok(()),
    }
}

/// The directory of the embedded store, where what seals it lies too.
fn data_dir(settings: &UpSettings) -> PathBuf {
    match &settings.proxy.common.store {
        StoreUrl::Embedded(directory) => directory.clone(),
        StoreUrl::Redis(_) => settings.proxy.common.state_dir.clone(),
    }
}

fn fill_in_keys(settings: &mut UpSettings, data: &Path) -> anyhow::Result<()> {
    if settings.api.secret_key.is_none() {
        settings.api.secret_key = Some(keys::key(&data.join("secret.key"))?);
    }
    if settings.api.common.cert_key.is_none() {
        let key = keys::key(&data.join("cert.key"))?;
        settings.api.common.cert_key = Some(key.clone());
        settings.proxy.common.cert_key = Some(key);
    }
    Ok(())
}

/// Tells where everything is, and how to begin.
fn greet(
    api: SocketAddr,
    proxy: &gatewright_proxy::Addresses,
    data: &Path,
    admin: Option<FirstAdmin>,
) -> anyhow::Result<()> {
    let urls = |scheme: &str, addresses: &[SocketAddr]| {
        let urls: Vec<_> =
            addresses.iter().map(|address| format!("{scheme}://{address}")).collect();
        urls.join(" ")
    };
    let mut out = format!("Gatewright {} is up\n\n", telemetry::VERSION);
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            out.push_str(&format!("  {name:<9}{value}\n"));
        }
    };
    line("HTTP", &urls("http", &proxy.http));
    line("HTTPS", &urls("https", &proxy.https));
    line("API", &urls("http", &[api]));
    line(
        "Metrics",
        &proxy.admin.map(|admin| format!("http://{admin}/metrics")).unwrap_or_default(),
    );
    line("Data", &data.display().to_string());
    if let Some(admin) = admin {
        out.push_str(&format!("\n{admin}\n"));
    }
    out.push_str(&format!("\n{}\n", next_steps(api, proxy)));
    stdout().write_all(out.as_bytes()).context("writing to standard output")
}

fn next_steps(api: SocketAddr, proxy: &gatewright_proxy::Addresses) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "gatewright".to_owned());
    let api = match api.to_string().as_str() {
        "127.0.0.1:3000" => String::new(),
        other => format!(" --api http://{other}"),
    };
    let port = proxy.https.first().map_or(443, SocketAddr::port);
    format!(
        "Next, in another terminal, with an application on port 9000:\n  \
         {program} login{api}\n  \
         {program} host add app.localhost 127.0.0.1:9000{api}\n  \
         {program} ca export{api} > gatewright-ca.pem\n  \
         curl --cacert gatewright-ca.pem https://app.localhost:{port}/\n"
    )
}

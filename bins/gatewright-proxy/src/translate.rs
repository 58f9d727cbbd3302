//! From settings as they are read to those of the crates that obey them.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use config::{AccessLogFormat, Exchange, ProxySettings};
use http::StatusCode;
use proxy::{ExchangeKind, Reach};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use telemetry::{AccessFormat, AccessSettings, AccessTarget};

/// The proxy's own settings.
///
/// # Errors
/// When the file of `UPSTREAM_ROOT_CA` can't be read or holds no certificate.
pub(crate) fn proxy(settings: &ProxySettings) -> anyhow::Result<proxy::Settings> {
    let mut out = proxy::Settings {
        http: listeners(&settings.http)?,
        https: listeners(&settings.https)?,
        https_public_port: settings.https_public_port.map(Into::into),
        admin: listeners(settings.admin.as_slice())?.into_iter().next(),
        workers: settings.workers,
        trusted_proxies: settings.trusted_proxies.iter().copied().collect(),
        proxy_protocol_from: settings.proxy_protocol_from.iter().copied().collect(),
        begins_traces: settings.begins_traces,
        host_histograms: settings.metrics_host_histograms,
        unknown_host_status: StatusCode::from_u16(settings.unknown_host_status)?,
        ..proxy::Settings::default()
    };
    out.limits.connections_per_client = settings.max_connections_per_client;
    out.upstream.reach = reach(settings);
    out.timeouts.header = settings.header_timeout;
    out.timeouts.idle = settings.idle_timeout;
    out.drain.lame_duck = settings.lame_duck;
    out.drain.deadline = settings.common.drain_timeout;
    out.upstream.connect_timeout = settings.connect_timeout;
    out.upstream.idle_timeout = settings.upstream_idle_timeout;
    out.upstream.exchange = match settings.upstream_exchange {
        Exchange::Codec => ExchangeKind::Codec,
        Exchange::Hyper => ExchangeKind::Hyper,
    };
    if let Some(path) = &settings.upstream_root_ca {
        out.upstream.extra_roots = certificates(path)
            .with_context(|| format!("UPSTREAM_ROOT_CA {} can't be used", path.display()))?;
    }
    Ok(out)
}

/// Where upstreams may not be: where this machine is administered. A port that another process took from the service manager
/// is not known here.
fn reach(settings: &ProxySettings) -> Reach {
    let own = settings.admin.iter().chain(&settings.api_listen);
    let own = own.filter_map(|listen| match listen {
        config::Listen::Address(address) => Some(*address),
        config::Listen::Inherited(_) => None,
    });
    Reach::new(own.collect(), settings.allow_upstreams.clone())
}

/// The access log's settings.
pub(crate) fn access_log(settings: &ProxySettings) -> AccessSettings {
    AccessSettings {
        format: match settings.access_log {
            AccessLogFormat::Json => AccessFormat::Json,
            AccessLogFormat::Combined => AccessFormat::Combined,
            AccessLogFormat::Off => AccessFormat::Off,
        },
        target: match &settings.access_log_file {
            Some(path) => AccessTarget::File(path.clone()),
            None => AccessTarget::Stdout,
        },
    }
}

/// Takes the sockets that the service manager opened; the addresses are left to the proxy to bind.
fn listeners(settings: &[config::Listen]) -> anyhow::Result<Vec<proxy::Listen>> {
    let mut listeners = Vec::new();
    for setting in settings {
        match setting {
            config::Listen::Address(address) => listeners.push(proxy::Listen::Address(*address)),
            config::Listen::Inherited(name) => {
                let sockets = runtime::inherited_listeners(name)
                    .with_context(|| format!("can't listen on {setting}"))?;
                let inherited = |socket| proxy::Listen::Inherited(name.clone(), Arc::new(socket));
                listeners.extend(sockets.into_iter().map(inherited));
            }
        }
    }
    Ok(listeners)
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?;
    if found.is_empty() {
        bail!("it holds no certificate");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use config::{Env, Invocation};

    use super::*;

    fn settings(args: &[&str]) -> ProxySettings {
        let args = ["gatewright-proxy"].iter().chain(args);
        match config::proxy(args, &Env::default()) {
            Ok(Invocation::Run(settings, _)) => settings,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_set_is_what_the_proxy_gets() {
        let settings = settings(&[
            "--http-listen=127.0.0.1:0",
            "--unknown-host-status=502",
            "--upstream-idle-timeout=0s",
            "--drain-timeout=7s",
            "--trusted-proxies=10.0.0.0/8",
            "--proxy-protocol-from=192.0.2.1",
            "--max-connections-per-client=9",
            "--trace-context=generate",
            "--metrics-host-histograms=3",
            "--proxy-admin-listen=127.0.0.1:9999",
            "--api-listen=127.0.0.1:3333",
            "--allow-upstreams=169.254.0.0/24",
        ]);
        let proxy = proxy(&settings).unwrap();
        assert_eq!((proxy.http.len(), proxy.https.len()), (1, 1));
        assert_eq!(proxy.unknown_host_status, StatusCode::BAD_GATEWAY);
        assert_eq!(proxy.upstream.idle_timeout, None);
        assert_eq!(proxy.drain.deadline, Duration::from_secs(7));
        assert!(proxy.trusted_proxies.contains([10, 1, 2, 3].into()));
        assert!(proxy.proxy_protocol_from.contains([192, 0, 2, 1].into()));
        assert!(proxy.begins_traces);
        assert_eq!((proxy.limits.connections_per_client, proxy.host_histograms), (9, 3));
        let refuses =
            |address: &str| proxy.upstream.reach.refuses(address.parse().unwrap(), |_| false);
        assert!(refuses("127.0.0.1:9999").is_some() && refuses("127.0.0.1:3333").is_some());
        assert!(refuses("169.254.1.1:80").is_some() && refuses("169.254.0.1:80").is_none());
        assert_eq!(access_log(&settings).target, AccessTarget::Stdout);
    }

    #[test]
    fn a_file_of_authorities_that_holds_none_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let flag = format!("--upstream-root-ca={}", file.path().display());
        let error = proxy(&settings(&[&flag])).unwrap_err();
        assert!(format!("{error:#}").contains("it holds no certificate"));
        assert!(proxy(&settings(&["--upstream-root-ca=/nonexistent"])).is_err());
    }
}

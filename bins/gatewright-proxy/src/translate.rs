//! From settings as they are read to those of the crates that obey them.

use std::path::Path;

use anyhow::{Context, bail};
use config::{AccessLogFormat, Exchange, ProxySettings};
use http::StatusCode;
use proxy::ExchangeKind;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use telemetry::{AccessFormat, AccessSettings, AccessTarget};

/// The proxy's own settings.
///
/// # Errors
/// When the file of `UPSTREAM_ROOT_CA` can't be read or holds no certificate.
pub(crate) fn proxy(settings: &ProxySettings) -> anyhow::Result<proxy::Settings> {
    let mut out = proxy::Settings {
        http: settings.http.iter().map(listen).collect::<anyhow::Result<_>>()?,
        https: settings.https.iter().map(listen).collect::<anyhow::Result<_>>()?,
        https_public_port: settings.https_public_port.map(Into::into),
        admin: settings.admin.as_ref().map(listen).transpose()?,
        workers: settings.workers,
        trusted_proxies: settings.trusted_proxies.iter().copied().collect(),
        unknown_host_status: StatusCode::from_u16(settings.unknown_host_status)?,
        ..proxy::Settings::default()
    };
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

fn listen(listen: &config::Listen) -> anyhow::Result<proxy::Listen> {
    match listen {
        config::Listen::Address(address) => Ok(proxy::Listen::Address(*address)),
        listen => bail!("can't listen on {listen}"),
    }
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?;
    if found.is_empty() {
        bail!("it holds no certificate");
    }
    Ok(found)
}

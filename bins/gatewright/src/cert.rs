//! The commands about certificates.

use std::path::Path;

use api::types::{CertDetail, CertExport, CertUpload, CertView, Deleted, IssuanceView, Written};
use http::Method;
use serde_json::json;

use crate::arguments::{self, Cert};
use crate::client::{Page, segment};
use crate::commands::{Session, query};
use crate::failure::Failure;
use crate::{files, tables};

impl Session<'_> {
    pub(crate) async fn cert(&self, command: Cert) -> Result<(), Failure> {
        match command {
            Cert::List => {
                let all: Page<CertView> = self.client()?.all("/api/cert").await?;
                self.answer(&all, |all| tables::certs(&all.results))
            }
            Cert::Show { name } => {
                let detail: CertDetail = self.client()?.get(&path(&name)).await?;
                self.answer(&detail, tables::cert)
            }
            Cert::Renew { name } => self.renew(&name).await,
            Cert::Upload { name, chain, key, write } => {
                self.upload_cert(&name, &chain, &key, &write).await
            }
            Cert::Delete { name, write } => {
                let path = format!("{}{}", path(&name), query(&write));
                let body = self.client()?.send(Method::DELETE, &path, None).await?;
                let written: Written<Deleted> = serde_json::from_slice(&body)?;
                let done = if write.dry_run { "could be deleted" } else { "deleted" };
                self.written(&written, &written.record.deleted, done)
            }
            Cert::Export { name, out_chain, out_key } => {
                self.export_cert(&name, &out_chain, &out_key).await
            }
        }
    }

    async fn renew(&self, name: &str) -> Result<(), Failure> {
        let path = format!("/api/host/{}/renew?wait=applied", segment(name));
        let body = self.client()?.send(Method::POST, &path, None).await?;
        let written: Written<CertDetail> = serde_json::from_slice(&body)?;
        let cert = &written.record.cert;
        // Whoever is asked elsewhere takes time; the local authority is done.
        let ordered = |it: &IssuanceView| it.requested_at.is_some() || it.started_at.is_some();
        let done = match cert.issuance.as_ref().is_some_and(ordered) {
            true => format!("is being renewed; see: gatewright cert show {}", cert.name),
            false => "renewed".to_owned(),
        };
        self.written(&written, &cert.name, &done)
    }

    async fn upload_cert(
        &self,
        name: &str,
        chain: &Path,
        key: &Path,
        write: &arguments::Write,
    ) -> Result<(), Failure> {
        if files::is_stdin(chain) && files::is_stdin(key) {
            let text = "cert upload: only one of --chain and --key can be standard input";
            return Err(Failure::Usage(text.to_owned()));
        }
        let (chain, key) = (files::read(chain)?, files::read(key)?);
        let body = CertUpload { chain: chain.into_exposed(), key: key.into_exposed() };
        let path = format!("{}{}", path(name), query(write));
        let written: Written<CertDetail> = self.client()?.write(Method::PUT, &path, &body).await?;
        let done = if write.dry_run { "could be uploaded" } else { "uploaded" };
        self.written(&written, &written.record.cert.name, done)
    }

    async fn export_cert(&self, name: &str, chain: &Path, key: &Path) -> Result<(), Failure> {
        let path = format!("{}/export", path(name));
        let export: CertExport = self.client()?.get(&path).await?;
        files::write_private(chain, &export.chain)?;
        files::write_private(key, &export.key)?;
        let told = json!({ "name": export.name, "chain": chain, "key": key });
        self.answer(&told, |_| {
            let (chain, key) = (chain.display(), key.display());
            format!("{}: chain in {chain}, private key in {key}\n", export.name)
        })
    }
}

fn path(name: &str) -> String {
    format!("/api/cert/{}", segment(name))
}

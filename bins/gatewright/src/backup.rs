//! The commands that take everything out and in.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, stdout};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use api::types::ImportAnswer;

use crate::arguments::{Export, Import};
use crate::commands::Session;
use crate::failure::Failure;
use crate::files::beside;
use crate::tables;

impl Session<'_> {
    pub(crate) async fn export(&self, export: Export) -> Result<(), Failure> {
        let secrets = if export.without_secrets { "none" } else { "sealed" };
        let path = format!("/api/export?secrets={secrets}");
        let Some(to) = export.file else {
            let last = self.client()?.download(&path, &mut stdout().lock()).await?;
            return whole(&last);
        };
        // Beside its place until it is whole, so that an old backup is not lost to half a new one.
        let part = beside(&to);
        let written = self.export_to(&path, &part).await;
        if let Err(failure) = written {
            let _ = fs::remove_file(&part);
            return Err(failure);
        }
        let moved = fs::rename(&part, &to);
        moved.with_context(|| format!("{} can't be written", to.display()))?;
        let told = serde_json::json!({ "file": to, "secrets": secrets });
        self.answer(&told, |_| format!("exported to {}\n", to.display()))
    }

    async fn export_to(&self, path: &str, part: &Path) -> Result<(), Failure> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(part);
        let file = file.with_context(|| format!("{} can't be written", part.display()))?;
        let mut file = BufWriter::new(file);
        let last = self.client()?.download(path, &mut file).await?;
        whole(&last)?;
        let file = file.into_inner().context("writing the file")?;
        Ok(file.sync_all()?)
    }

    pub(crate) async fn import(&self, import: Import) -> Result<(), Failure> {
        let mode = if import.replace { "replace" } else { "merge" };
        let dry_run = import.dry_run;
        let file = File::open(&import.file);
        let file = file.with_context(|| format!("{} can't be read", import.file.display()))?;
        let path = format!("/api/import?mode={mode}&dry_run={dry_run}");
        let body = self.client()?.upload(&path, file).await?;
        let answer: ImportAnswer = serde_json::from_slice(&body)?;
        self.answer(&answer, |answer| tables::imported(answer, dry_run))
    }
}

/// The last line has the checksum; without it the rest is no export.
fn whole(last: &str) -> Result<(), Failure> {
    match last.contains("\"checksum\"") {
        true => Ok(()),
        false => Err(anyhow::anyhow!("the export was cut off: its end is missing").into()),
    }
}

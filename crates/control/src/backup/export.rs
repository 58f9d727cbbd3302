use std::collections::BTreeMap;

use auth::Permission;
use futures_util::{Stream, stream};
use model::Revision;

use super::Secrets;
use super::file::{Checksum, End, FORMAT, Header, Line, line};
use crate::records::{KINDS, Kind};
use crate::{Actor, Control, Error};

/// How many records are read at once.
const PAGE: usize = 500;

/// An export under way.
struct Export {
    control: Control,
    secrets: Secrets,
    /// Which of the kinds is being read, and from where.
    kind: usize,
    cursor: Option<String>,
    checksum: Checksum,
    counts: BTreeMap<String, u64>,
}

impl Control {
    /// The file, in pieces as the store is read. What changes meanwhile may be in it or not; each record is whole.
    /// After an error there is nothing more: a file without its last line is no export.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::Unavailable`]; later ones come in the stream.
    pub async fn export(
        &self,
        actor: &Actor,
        secrets: Secrets,
    ) -> Result<impl Stream<Item = Result<String, Error>> + Send + use<>, Error> {
        actor.may(Permission::Backup)?;
        let revision = self.store().backend().revision().await?;
        tracing::info!(by = %actor.username(), %revision, "an export was begun");
        let mut export = Export {
            control: self.clone(),
            secrets,
            kind: 0,
            cursor: None,
            checksum: Checksum::new(),
            counts: BTreeMap::new(),
        };
        let header = line(&export.header(revision));
        export.checksum.add(header.as_bytes());
        let rest = stream::try_unfold(Some(export), |export| async move {
            match export {
                Some(export) => export.step().await.map(Some),
                None => Ok(None),
            }
        });
        Ok(futures_util::StreamExt::chain(stream::iter([Ok(header)]), rest))
    }
}

impl Export {
    fn header(&self, revision: Revision) -> Header {
        let sealer = self.control.store().sealer();
        let keys = [("SECRET_KEY", sealer.secret_key()), ("CERT_KEY", sealer.cert_key())];
        let key = |(name, seal): (&str, &store::Seal)| {
            (name.to_owned(), seal.key_id().map(str::to_owned))
        };
        Header {
            gatewright_export: FORMAT,
            version: telemetry::VERSION.to_owned(),
            at: self.control.now().to_string(),
            revision,
            secrets: if self.secrets == Secrets::Sealed { "sealed" } else { "none" }.to_owned(),
            keys: match self.secrets {
                Secrets::Sealed => keys.into_iter().map(key).collect(),
                Secrets::Left => BTreeMap::new(),
            },
            collections: KINDS
                .iter()
                .filter(|kind| self.has(kind))
                .map(|kind| kind.collection.name().to_owned())
                .collect(),
        }
    }

    /// Whether a kind is in it: not when all it is worth would be left out.
    fn has(&self, kind: &Kind) -> bool {
        self.secrets == Secrets::Sealed || kind.sealed_with.is_none()
    }

    /// The next page, or the end.
    async fn step(mut self) -> Result<(String, Option<Self>), Error> {
        while KINDS.get(self.kind).is_some_and(|kind| !self.has(kind)) {
            self.kind += 1;
        }
        let backend = self.control.store().backend().clone();
        let Some(kind) = KINDS.get(self.kind) else {
            let revision = backend.revision().await?;
            let checksum = self.checksum.text();
            return Ok((line(&End { counts: self.counts, revision, checksum }), None));
        };
        let page = backend.scan(kind.collection, self.cursor.as_deref(), PAGE).await?;
        let collection = kind.collection.name();
        let mut text = String::new();
        for (id, fields) in page.records {
            let fields = match self.secrets {
                Secrets::Sealed => fields,
                Secrets::Left => kind.without_secrets(fields),
            };
            text += &line(&Line { collection: collection.to_owned(), id, fields });
            *self.counts.entry(collection.to_owned()).or_default() += 1;
        }
        self.checksum.add(text.as_bytes());
        self.cursor = page.next;
        if self.cursor.is_none() {
            self.kind += 1;
        }
        Ok((text, Some(self)))
    }
}

//! The lines of the file.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use model::Revision;
use serde::{Deserialize, Serialize};
use store::Fields;

/// The version of the format that is written, and the only one that is read.
pub(super) const FORMAT: u32 = 1;
/// The longest line that is read, in bytes.
pub(super) const LONGEST_LINE: usize = 16 << 20;

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    /// The version of the format.
    pub(super) gatewright_export: u32,
    /// The version of the product.
    pub(super) version: String,
    /// When it was begun (RFC 3339).
    pub(super) at: String,
    /// Where the store stood then: later changes may be in it or not.
    pub(super) revision: Revision,
    /// `sealed`, or `none` when they are left out.
    pub(super) secrets: String,
    /// The ids of the keys that seal them, by setting; null where a key is missing and secrets stand in clear.
    pub(super) keys: BTreeMap<String, Option<String>>,
    /// The collections that are in it whole.
    pub(super) collections: Vec<String>,
}

/// Any line between the first and the last.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) collection: String,
    pub(super) id: String,
    pub(super) fields: Fields,
}

/// The last line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    /// How many lines each collection has.
    pub(super) counts: BTreeMap<String, u64>,
    /// Where the store stood at the end.
    pub(super) revision: Revision,
    /// `sha256:` and the hash of all lines before, in hexadecimal.
    pub(super) checksum: String,
}

/// The hash over the lines.
pub(super) struct Checksum(Context);

impl Checksum {
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Takes a line, its end included.
    pub(super) fn add(&mut self, line: &[u8]) {
        self.0.update(line);
    }

    pub(super) fn text(self) -> String {
        let hash = self.0.finish();
        let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }
}

/// A line with its end. Plain data: there is nothing in it that JSON can't say.
pub(super) fn line(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

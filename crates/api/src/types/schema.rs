//! Schemas of types that live below this crate.

use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

const TLS: &str =
    "How upstreams are spoken to: plain HTTP, HTTPS with a valid certificate, HTTPS with any.";
const MODE: &str = "How it comes by a certificate; `auto` decides by the name.";
const RIGHTS: &str =
    "What it may do: a viewer reads, a manager also writes hosts, an admin does everything.";

fn words(why: &str, words: &[&str]) -> Schema {
    ObjectBuilder::new()
        .description(Some(why))
        .schema_type(Type::String)
        .enum_values(Some(words.iter().copied()))
        .into()
}

fn words_or_null(why: &str, words: &[&'static str]) -> Schema {
    let words = words.iter().map(|word| Some(*word)).chain([None]);
    let types = SchemaType::from_iter([Type::String, Type::Null]);
    ObjectBuilder::new().description(Some(why)).schema_type(types).enum_values(Some(words)).into()
}

pub(crate) const UPSTREAM_TLS: [&str; 3] = ["off", "verify", "insecure"];
pub(crate) const CERTIFICATE_MODE: [&str; 5] = ["auto", "acme", "local", "custom", "none"];
pub(crate) const ROLE: [&str; 3] = ["viewer", "manager", "admin"];

pub(super) fn upstream_tls() -> Schema {
    words(TLS, &UPSTREAM_TLS)
}

pub(super) fn upstream_tls_or_null() -> Schema {
    words_or_null(TLS, &UPSTREAM_TLS)
}

pub(super) fn certificate_mode() -> Schema {
    words(MODE, &CERTIFICATE_MODE)
}

pub(super) fn certificate_mode_or_null() -> Schema {
    words_or_null(MODE, &CERTIFICATE_MODE)
}

pub(super) fn certificate_status() -> Schema {
    words("How it stands with its certificate.", &["none", "pending", "valid", "expired", "failed"])
}

pub(super) fn role() -> Schema {
    words(RIGHTS, &ROLE)
}

pub(super) fn role_or_null() -> Schema {
    words_or_null(RIGHTS, &ROLE)
}

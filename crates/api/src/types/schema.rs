//! Schemas of types that live below this crate.

use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

fn words(words: &[&str]) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.iter().copied()))
}

fn words_or_null(words: &[&'static str]) -> Schema {
    let words = words.iter().map(|word| Some(*word)).chain([None]);
    let types = SchemaType::from_iter([Type::String, Type::Null]);
    ObjectBuilder::new().schema_type(types).enum_values(Some(words)).into()
}

pub(crate) const UPSTREAM_TLS: [&str; 3] = ["off", "verify", "insecure"];
pub(crate) const CERTIFICATE_MODE: [&str; 5] = ["auto", "acme", "local", "custom", "none"];
pub(crate) const ROLE: [&str; 3] = ["viewer", "manager", "admin"];

pub(super) fn upstream_tls() -> Schema {
    words(&UPSTREAM_TLS).into()
}

pub(super) fn upstream_tls_or_null() -> Schema {
    words_or_null(&UPSTREAM_TLS)
}

pub(super) fn certificate_mode() -> Schema {
    words(&CERTIFICATE_MODE).into()
}

pub(super) fn certificate_mode_or_null() -> Schema {
    words_or_null(&CERTIFICATE_MODE)
}

pub(super) fn certificate_status() -> Schema {
    words(&["none", "pending", "valid", "expired", "failed"]).into()
}

pub(super) fn role() -> Schema {
    words(&ROLE).into()
}

pub(super) fn role_or_null() -> Schema {
    words_or_null(&ROLE)
}

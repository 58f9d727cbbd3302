//! Schemas of types that live below this crate.

use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};

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

/// What may be any JSON.
pub(super) fn anything() -> Schema {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).into()
}

pub(super) fn upstream_tls() -> Schema {
    words(TLS, &UPSTREAM_TLS)
}

pub(super) fn upstream_tls_or_null() -> Schema {
    words_or_null(TLS, &UPSTREAM_TLS)
}

pub(super) fn proxy_protocol_or_null() -> Schema {
    let why = "How upstreams are told whose a connection is, before anything else is sent: by this version of the PROXY protocol. \
               Such a connection serves one request.";
    words_or_null(why, &["v1", "v2"])
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

pub(super) fn certificate_source_or_null() -> Schema {
    let why = "Where it came from: an authority elsewhere, an upload, the local authority.";
    words_or_null(why, &["acme", "custom", "local"])
}

pub(super) fn role() -> Schema {
    words(RIGHTS, &ROLE)
}

pub(super) fn role_or_null() -> Schema {
    words_or_null(RIGHTS, &ROLE)
}

/// The expressions say what is certainly a name, in ASCII. Unicode names and IPv6 addresses in brackets are taken too,
/// but no expression can say which.
const LABEL: &str = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?";
const PORT: &str =
    "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
const HOST: &str = "A name, of which any label may be `*` (one label) or `**` (one or more). Unicode is taken and \
     stored as A-labels; an IPv6 address stands in brackets.";
const UPSTREAMS: &str = "Where requests go, in turn: `address:port`, an IPv6 address in brackets.";
const PASSWORD: &str = "At least 8 characters, at most 71 bytes of UTF-8, no NUL; any script.";

fn text(why: &str, pattern: String) -> ObjectBuilder {
    ObjectBuilder::new().description(Some(why)).schema_type(Type::String).pattern(Some(pattern))
}

fn or_null(schema: ObjectBuilder) -> Schema {
    schema.schema_type(SchemaType::from_iter([Type::String, Type::Null])).into()
}

fn host(why: &str) -> ObjectBuilder {
    let label = format!("(\\*\\*?|{LABEL})");
    text(why, format!("^{label}(\\.{label})*\\.?$")).max_length(Some(253))
}

pub(crate) fn host_pattern() -> Schema {
    host(HOST).examples(["*.example.com"]).into()
}

pub(super) fn host_pattern_or_null() -> Schema {
    or_null(host("The pattern, which can't change: when given it is that of the path."))
}

/// A name without wildcards.
pub(super) fn name_or_null() -> Schema {
    let why = "A name, without wildcards.";
    or_null(text(why, format!("^{LABEL}(\\.{LABEL})*\\.?$")).max_length(Some(253)))
}

pub(super) fn redirect_status_or_null() -> Schema {
    ObjectBuilder::new()
        .description(Some("301, 302, 307 or 308."))
        .schema_type(SchemaType::from_iter([Type::Integer, Type::Null]))
        .enum_values(Some([Some(301), Some(302), Some(307), Some(308), None]))
        .default(Some(308.into()))
        .into()
}

pub(crate) fn lookup_name() -> Schema {
    let why = "A name as a client sends it; a port is ignored.";
    text(why, format!("^{LABEL}(\\.{LABEL})*\\.?(:[0-9]{{1,5}})?$")).max_length(Some(253)).into()
}

pub(super) fn upstreams_or_null() -> Schema {
    // Names are kept in lower case, and no two may be alike.
    let label = LABEL.replace("A-Z", "");
    let item = text("An address and a port.", format!("^{label}(\\.{label})*:{PORT}$"));
    ArrayBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Array, Type::Null]))
        .description(Some(UPSTREAMS))
        .items(item.max_length(Some(253)).build())
        .max_items(Some(64))
        .unique_items(true)
        .examples([serde_json::json!(["127.0.0.1:9000"])])
        .into()
}

pub(crate) fn user_name() -> Schema {
    let why =
        "1 to 64 of `a-z 0-9 . _ - @`, starting with a letter or a digit; kept in lower case.";
    text(why, "^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$".to_owned()).into()
}

pub(super) fn new_password() -> Schema {
    text(PASSWORD, "^[ -~]{8,71}$".to_owned()).into()
}

pub(super) fn new_password_or_null() -> Schema {
    or_null(text(PASSWORD, "^[ -~]{8,71}$".to_owned()))
}

/// The most characters of a chain and of a key.
pub(crate) const LONGEST_CHAIN: usize = 256 << 10;
pub(crate) const LONGEST_KEY: usize = 32 << 10;

pub(super) fn chain_pem() -> Schema {
    let why = "The chain, PEM: the certificate first, each one issued by the one behind it.";
    let pattern = "-----BEGIN CERTIFICATE-----".to_owned();
    text(why, pattern).max_length(Some(LONGEST_CHAIN)).into()
}

pub(super) fn key_pem() -> Schema {
    let why = "The private key of the first certificate, PEM, not encrypted. Only an export shows it again.";
    let pattern = "-----BEGIN ([A-Z]+ )?PRIVATE KEY-----".to_owned();
    text(why, pattern).max_length(Some(LONGEST_KEY)).write_only(true).into()
}

/// The most settings of a provider, and the most characters of one.
pub(crate) const MOST_SETTINGS: usize = 32;
pub(crate) const LONGEST_SETTING: usize = 8 << 10;
pub(crate) const MOST_NAMESERVERS: usize = 16;

const PROVIDER_ID: &str = "1 to 63 of the characters a-z, 0-9 and -; not `kinds` and not `domain`.";

pub(crate) fn provider_id() -> Schema {
    text(PROVIDER_ID, "^[a-z0-9-]{1,63}$".to_owned()).into()
}

pub(super) fn provider_id_or_null() -> Schema {
    or_null(text(PROVIDER_ID, "^[a-z0-9-]{1,63}$".to_owned()))
}

pub(super) fn provider_kind() -> Schema {
    let kinds: Vec<_> = control::dns_kinds().iter().map(|kind| kind.id).collect();
    words("Its kind, one of `/api/dns/kinds`.", &kinds)
}

pub(super) fn provider_settings_or_null() -> Schema {
    texts("Settings by name. Credentials may stand here as well.", ObjectBuilder::new())
}

pub(super) fn provider_credentials_or_null() -> Schema {
    let why = "Credentials by name. They are sealed and never shown.";
    texts(why, ObjectBuilder::new().write_only(true))
}

fn texts(why: &str, object: ObjectBuilder) -> Schema {
    let value = ObjectBuilder::new().schema_type(Type::String).max_length(Some(LONGEST_SETTING));
    let name = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[a-z0-9_]{1,64}$"));
    object
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .description(Some(why))
        .additional_properties(Some(value))
        .property_names(Some(name.build()))
        .max_properties(Some(MOST_SETTINGS))
        .into()
}

pub(super) fn nameservers_or_null() -> Schema {
    let why =
        "Which name servers to ask whether a value has arrived; empty: those that the zone names.";
    let octet = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    let item = text(
        "An address and a port, 53 when left out; an IPv6 address with a port in brackets.",
        format!("^{octet}(\\.{octet}){{3}}(:{PORT})?$"),
    );
    ArrayBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Array, Type::Null]))
        .description(Some(why))
        .items(item.build())
        .max_items(Some(MOST_NAMESERVERS))
        .unique_items(true)
        .into()
}

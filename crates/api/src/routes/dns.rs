use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::extract::State;
use axum::response::Response;
use control::{DnsProviderSpec, Error};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use model::Secret;
use serde_json::Value;

use super::{answer, written};
use crate::App;
use crate::error::Failure;
use crate::extract::{Caller, IfMatch, Json, Parameters, Segment, WriteParameters};
use crate::reader::{At, Errors, Object, list, short, text, texts};
use crate::types::schema::{LONGEST_SETTING, MOST_NAMESERVERS, MOST_SETTINGS};
use crate::types::{
    Deleted, DnsDomain, DnsDomainList, DnsKind, DnsKindList, DnsProviderList, DnsProviderView,
    DnsProviderWrite, Written,
};

/// What a provider answers with but does not take.
const READ_ONLY: [&str; 7] =
    ["created_at", "created_by", "credentials_set", "etag", "revision", "updated_at", "zones"];
/// Names of routes, which stand where an id does.
const ROUTES: [&str; 2] = ["domain", "kinds"];
/// The port of DNS.
const DNS: u16 = 53;
/// The most bytes of a kind that is not known.
const LONGEST_KIND: usize = 64;

/// The kinds of DNS providers, with their settings.
#[utoipa::path(get, path = "/api/dns/kinds", tag = "dns", operation_id = "list_dns_kinds",
    responses((status = 200, body = DnsKindList, description = "The kinds.")))]
pub(crate) async fn list_kinds(Caller(_anyone): Caller) -> Result<Response, Failure> {
    let results = control::dns_kinds().iter().map(DnsKind::from).collect();
    answer(StatusCode::OK, None, &DnsKindList { results, next: None })
}

/// Lists the zones of all providers in the order of their names.
#[utoipa::path(get, path = "/api/dns/domain", tag = "dns", operation_id = "list_dns_domains",
    params(crate::openapi::ListQuery),
    responses((status = 200, body = DnsDomainList, description = "Some zones.")))]
pub(crate) async fn list_domains(
    State(app): State<App>,
    Caller(actor): Caller,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.list(&mut errors);
    errors.check(Some(()))?;
    let mut all = app.control.dns_providers().domains(&actor).await?;
    // Names and ids have no `@`, so that the pair is also the order.
    if let Some((name, provider)) =
        asked.after.as_deref().map(|it| it.rsplit_once('@').unwrap_or((it, "")))
    {
        all.retain(|it| (it.name.as_str(), it.provider.as_str()) > (name, provider));
    }
    let more = all.len() > asked.limit;
    all.truncate(asked.limit);
    let last = all.last().filter(|_| more);
    let next = last.map(|it| format!("{}@{}", it.name, it.provider));
    let results = all.into_iter().map(DnsDomain::from).collect();
    answer(StatusCode::OK, None, &DnsDomainList { results, next })
}

/// Lists DNS providers in the order of their ids.
#[utoipa::path(get, path = "/api/dns", tag = "dns", operation_id = "list_dns_providers",
    params(crate::openapi::ListQuery),
    responses((status = 200, body = DnsProviderList, description = "Some providers.")))]
pub(crate) async fn list_providers(
    State(app): State<App>,
    Caller(actor): Caller,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.list(&mut errors);
    errors.check(Some(()))?;
    let mut all = app.control.dns_providers().list(&actor).await?;
    if let Some(after) = &asked.after {
        all.retain(|it| it.id > *after);
    }
    let more = all.len() > asked.limit;
    all.truncate(asked.limit);
    let next = all.last().filter(|_| more).map(|it| it.id.clone());
    let results = all.into_iter().map(DnsProviderView::from).collect();
    answer(StatusCode::OK, None, &DnsProviderList { results, next })
}

/// Makes a DNS provider, once its credentials are proved by asking for its zones. For administrators.
#[utoipa::path(post, path = "/api/dns", tag = "dns", operation_id = "create_dns_provider",
    params(crate::openapi::WriteQuery), request_body = DnsProviderWrite,
    responses(
        (status = 201, body = Written<DnsProviderView>, description = "The provider as made.",
            headers(("ETag" = String, description = "Its entity tag."),
                ("Location" = String, description = "Where it is."))),
        (status = 200, body = Written<DnsProviderView>, description = "The provider as it would be: a dry run."),
        (status = 409, body = crate::types::Problem, content_type = "application/problem+json",
            description = "There is one with this id.")))]
pub(crate) async fn create_provider(
    State(app): State<App>,
    Caller(actor): Caller,
    parameters: Parameters,
    Json(body): Json,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.write(&mut errors);
    let read = read_provider(body, &mut errors);
    let (id, spec, places) = errors.check(read)?.apart();
    let made = app.control.dns_providers().create(&actor, id, spec, asked.dry_run).await;
    let view = made.map_err(|error| places.placed(error))?;
    let location = HeaderValue::try_from(format!("/api/dns/{}", view.id));
    let status = if asked.dry_run { StatusCode::OK } else { StatusCode::CREATED };
    let mut answer = changed(&app, status, view, asked).await?;
    if !asked.dry_run {
        let location = location.map_err(|_| Failure::internal())?;
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(answer)
}

/// Shows a DNS provider, without its credentials.
#[utoipa::path(get, path = "/api/dns/{id}", tag = "dns", operation_id = "show_dns_provider",
    params(crate::openapi::ProviderPath),
    responses((status = 200, body = DnsProviderView, description = "The provider.",
        headers(("ETag" = String, description = "Its entity tag.")))))]
pub(crate) async fn show_provider(
    State(app): State<App>,
    Caller(actor): Caller,
    Segment(id): Segment,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    parameters.none(&mut errors);
    let id = read_id(id, &mut errors);
    let id = errors.check(id)?;
    let view = DnsProviderView::from(app.control.dns_providers().get(&actor, &id).await?);
    answer(StatusCode::OK, view.etag.as_deref(), &view)
}

/// Replaces the settings of a DNS provider, once they are proved. Credentials that are left out stay. For administrators.
#[utoipa::path(put, path = "/api/dns/{id}", tag = "dns", operation_id = "replace_dns_provider",
    params(crate::openapi::ProviderPath, crate::openapi::WriteQuery, crate::openapi::IfMatchHeader),
    request_body = DnsProviderWrite,
    responses((status = 200, body = Written<DnsProviderView>, description = "The provider as it is now.",
        headers(("ETag" = String, description = "Its entity tag.")))))]
pub(crate) async fn replace_provider(
    State(app): State<App>,
    Caller(actor): Caller,
    Segment(id): Segment,
    parameters: Parameters,
    if_match: IfMatch,
    Json(body): Json,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.write(&mut errors);
    let id = read_id(id, &mut errors);
    let read = read_provider(body, &mut errors);
    let (id, read) = errors.check(id.zip(read))?;
    let (given, spec, places) = read.apart();
    if given.is_some_and(|given| given != id) {
        let why = "the id in the body is not that of the path: a DNS provider can't be renamed";
        return Err(Error::Refused(why).into());
    }
    let conditions = if_match.and(&asked);
    let replaced = app.control.dns_providers().replace(&actor, &id, spec, &conditions).await;
    let view = replaced.map_err(|error| places.placed(error))?;
    changed(&app, StatusCode::OK, view, asked).await
}

/// Deletes a DNS provider and what is known of its zones. For administrators.
#[utoipa::path(delete, path = "/api/dns/{id}", tag = "dns", operation_id = "delete_dns_provider",
    params(crate::openapi::ProviderPath, crate::openapi::WriteQuery, crate::openapi::IfMatchHeader),
    responses((status = 200, body = Written<Deleted>, description = "It is deleted.")))]
pub(crate) async fn delete_provider(
    State(app): State<App>,
    Caller(actor): Caller,
    Segment(id): Segment,
    parameters: Parameters,
    if_match: IfMatch,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.write(&mut errors);
    let id = read_id(id, &mut errors);
    let id = errors.check(id)?;
    let conditions = if_match.and(&asked);
    let revision = app.control.dns_providers().delete(&actor, &id, &conditions).await?;
    let record = Deleted { deleted: id, revision: revision.to_string() };
    let body = written(&app.control, &revision, asked, record).await?;
    answer(StatusCode::OK, None, &body)
}

/// Asks a DNS provider for its zones now, which also tries its credentials.
#[utoipa::path(post, path = "/api/dns/{id}/refresh", tag = "dns", operation_id = "refresh_dns_provider",
    params(crate::openapi::ProviderPath, crate::openapi::WaitQuery),
    responses((status = 200, body = Written<DnsProviderView>, description = "The provider with its zones.",
        headers(("ETag" = String, description = "Its entity tag.")))))]
pub(crate) async fn refresh_provider(
    State(app): State<App>,
    Caller(actor): Caller,
    Segment(id): Segment,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let asked = parameters.wait(&mut errors);
    let id = read_id(id, &mut errors);
    let id = errors.check(id)?;
    let view = app.control.dns_providers().refresh(&actor, &id).await?;
    changed(&app, StatusCode::OK, view, asked).await
}

/// The answer to a change of a provider.
async fn changed(
    app: &App,
    status: StatusCode,
    view: control::DnsProviderView,
    asked: WriteParameters,
) -> Result<Response, Failure> {
    let revision = view.revision.clone();
    let body = written(&app.control, &revision, asked, DnsProviderView::from(view)).await?;
    answer(status, body.record.etag.as_deref(), &body)
}

fn read_id(text: String, errors: &mut Errors) -> Option<String> {
    if is_id(&text) {
        return Some(text);
    }
    errors.add("{id}", ID);
    None
}

const ID: &str = "must be 1 to 63 of the characters a-z, 0-9 and -";

fn is_id(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(fits)
}

/// What a request says of a provider.
struct Provider {
    id: Option<String>,
    kind: String,
    settings: BTreeMap<String, String>,
    credentials: BTreeMap<String, String>,
    nameservers: Vec<SocketAddr>,
}

impl Provider {
    /// The id, what control is to make of it, and where everything was written.
    fn apart(self) -> (Option<String>, DnsProviderSpec, Places) {
        let places = Places {
            kind: self.kind.clone(),
            settings: self.settings.keys().cloned().collect(),
            credentials: self.credentials.keys().cloned().collect(),
        };
        let all = self.settings.into_iter().chain(self.credentials);
        let settings = all.map(|(name, value)| (name, Secret::new(value))).collect();
        let spec = DnsProviderSpec { kind: self.kind, settings, nameservers: self.nameservers };
        (self.id, spec, places)
    }
}

/// In which of the two objects each setting was written.
struct Places {
    kind: String,
    settings: BTreeSet<String>,
    credentials: BTreeSet<String>,
}

impl Places {
    /// The error with its pointers where the client wrote the values. What is missing is looked for where it belongs.
    fn placed(&self, error: Error) -> Error {
        let Error::Invalid { mut errors } = error else { return error };
        let kind = control::dns_kinds().iter().find(|kind| kind.id == self.kind);
        let secret = |name: &str| {
            let mut fields = kind.iter().flat_map(|kind| kind.fields);
            fields.any(|field| field.name == name && field.secret)
        };
        for error in &mut errors {
            let there = match error.pointer.strip_prefix("/settings/") {
                Some(name) if self.settings.contains(name) => false,
                Some(name) => self.credentials.contains(name) || secret(name),
                // The provider's word on the whole.
                None => error.pointer == "/settings" && !self.credentials.is_empty(),
            };
            if there {
                error.pointer = error.pointer.replacen("/settings", "/credentials", 1);
            }
        }
        Error::Invalid { errors }
    }
}

fn read_provider(body: Value, errors: &mut Errors) -> Option<Provider> {
    let mut object = Object::new(body, errors)?;
    let id = object.optional("id", new_id);
    let kind = object.required("kind", short(LONGEST_KIND));
    let settings = object.optional("settings", texts(MOST_SETTINGS, LONGEST_SETTING));
    let credentials = object.optional("credentials", texts(MOST_SETTINGS, LONGEST_SETTING));
    let servers = object.optional("nameservers", name_servers).unwrap_or_default();
    object.end(&READ_ONLY);
    let (settings, credentials) = (settings.unwrap_or_default(), credentials.unwrap_or_default());
    for name in credentials.keys().filter(|name| settings.contains_key(*name)) {
        errors.add(format!("/credentials/{name}"), "stands in settings as well");
    }
    Some(Provider { id, kind: kind?, settings, credentials, nameservers: servers })
}

fn new_id(at: &mut At<'_>, value: Value) -> Option<String> {
    match text(at, value)? {
        id if ROUTES.contains(&&*id) => {
            at.wrong(format_args!("{id:?} is the name of a route: choose another id"))
        }
        id if is_id(&id) => Some(id),
        _ => at.wrong(ID),
    }
}

fn name_servers(at: &mut At<'_>, value: Value) -> Option<Vec<SocketAddr>> {
    let servers: Vec<SocketAddr> =
        list::<NameServer>(at, value)?.into_iter().map(|it| it.0).collect();
    if servers.len() > MOST_NAMESERVERS {
        return at.wrong(format_args!("at most {MOST_NAMESERVERS} name servers"));
    }
    match servers.iter().enumerate().find(|(index, it)| servers[..*index].contains(it)) {
        Some((_, twice)) => at.wrong(format_args!("{twice} stands there twice")),
        None => Some(servers),
    }
}

/// The address of a name server.
struct NameServer(SocketAddr);

impl FromStr for NameServer {
    type Err = NotNameServer;

    fn from_str(text: &str) -> Result<Self, NotNameServer> {
        let alone = |text: &str| text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, DNS));
        let address = text.parse().ok().or_else(|| alone(text));
        address.filter(|it| it.port() != 0).map(Self).ok_or(NotNameServer)
    }
}

struct NotNameServer;

impl fmt::Display for NotNameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be address:port, such as 192.0.2.1:53 or [2001:db8::1]:53")
    }
}

use std::collections::BTreeMap;

use http::HeaderValue;
use model::Secret;

use crate::endpoint::Endpoint;
use crate::error::FieldError;
use crate::{Error, Kind};

/// The settings of a provider while they are read: collects what is wrong, so that all of it is told at once.
pub(crate) struct Form<'s> {
    settings: &'s BTreeMap<String, Secret<String>>,
    wrong: Vec<FieldError>,
}

impl<'s> Form<'s> {
    pub(crate) fn new(kind: &Kind, settings: &'s BTreeMap<String, Secret<String>>) -> Self {
        let mut form = Self { settings, wrong: Vec::new() };
        let unknown = settings.keys().filter(|name| kind.fields.iter().all(|it| it.name != *name));
        unknown.for_each(|name| form.fault(name, "there is no such setting"));
        let missing = kind.fields.iter().filter(|it| it.required && form.get(it.name).is_none());
        let missing: Vec<_> = missing.map(|it| it.name).collect();
        missing.into_iter().for_each(|name| form.fault(name, "is missing"));
        form
    }

    /// A value without the white space around it that comes along when it is pasted; `None` when there is nothing.
    pub(crate) fn get(&self, name: &str) -> Option<&'s str> {
        let value = self.settings.get(name)?.expose().trim();
        (!value.is_empty()).then_some(value)
    }

    /// A credential that is to stand in a header or a query. Empty when it is not usable, which [`finish`](Self::finish) tells.
    pub(crate) fn credential(&mut self, name: &str) -> Secret<String> {
        let value = self.get(name).unwrap_or_default();
        if !value.bytes().all(|it| it.is_ascii_graphic()) {
            self.fault(name, "has characters that no credential of this provider has");
        }
        Secret::new(value.to_owned())
    }

    /// The `endpoint` setting, or else the provider's own.
    pub(crate) fn endpoint(&mut self, default: &str) -> Option<Endpoint> {
        let endpoint = Endpoint::parse(self.get("endpoint").unwrap_or(default));
        endpoint.map_err(|message| self.fault("endpoint", message)).ok()
    }

    /// A comma list of DNS names, lower case and without the dot at the end; each once.
    pub(crate) fn names(&mut self, name: &str) -> Vec<String> {
        let mut names = Vec::new();
        for part in self.get(name).unwrap_or_default().split(',') {
            let part = part.trim().trim_end_matches('.').to_ascii_lowercase();
            if part.is_empty() {
                continue;
            }
            if let Err(error) = part.parse::<model::Hostname>() {
                self.fault(name, error.to_string());
            } else if !names.contains(&part) {
                names.push(part);
            }
        }
        names
    }

    /// Remembers that a setting is wrong.
    pub(crate) fn fault(&mut self, field: &str, message: impl Into<String>) {
        self.wrong.push(FieldError { field: field.to_owned(), message: message.into() });
    }

    /// What was read, if all is well.
    ///
    /// # Errors
    /// [`Error::Fields`] with all that is not.
    pub(crate) fn finish<T>(self, read: Option<T>) -> Result<T, Error> {
        read.filter(|_| self.wrong.is_empty()).ok_or(Error::Fields(self.wrong))
    }
}

/// `Authorization: Bearer …`, marked so that nothing prints it.
pub(crate) fn bearer(token: &Secret<String>) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

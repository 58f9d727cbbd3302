//! Reads a JSON object member by member, so that every wrong value is named at once.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use control::FieldError;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The most wrong values that one answer names.
const NAMED: usize = 100;

/// What was found wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Errors(Vec<FieldError>);

impl Errors {
    pub(crate) fn add(&mut self, pointer: impl Into<String>, detail: impl fmt::Display) {
        if self.0.len() < NAMED {
            self.0.push(FieldError::new(pointer, detail.to_string()));
        }
    }

    /// The value, if nothing was wrong. A value that is missing has been named.
    pub(crate) fn check<T>(self, value: Option<T>) -> Result<T, control::Error> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(control::Error::Invalid { errors: self.0 }),
        }
    }
}

/// A JSON object under reading. What nobody asked for is an error.
#[derive(Debug)]
pub(crate) struct Object<'e> {
    members: BTreeMap<String, Value>,
    errors: &'e mut Errors,
}

impl<'e> Object<'e> {
    /// `None` when it is no object, which is then named.
    pub(crate) fn new(value: Value, errors: &'e mut Errors) -> Option<Self> {
        match value {
            Value::Object(members) => Some(Self { members: members.into_iter().collect(), errors }),
            other => {
                errors.add("", format_args!("must be an object, not {}", kind(&other)));
                None
            }
        }
    }

    /// A member that must be there.
    pub(crate) fn required<T>(&mut self, name: &str, read: impl Read<T>) -> Option<T> {
        match self.members.remove(name) {
            Some(value) => read(&mut At::new(name, self.errors), value),
            None => {
                self.errors.add(pointer(name), "is required");
                None
            }
        }
    }

    /// A member that may be absent or null.
    pub(crate) fn optional<T>(&mut self, name: &str, read: impl Read<T>) -> Option<T> {
        match self.members.remove(name) {
            None | Some(Value::Null) => None,
            Some(value) => read(&mut At::new(name, self.errors), value),
        }
    }

    /// A member of a merge patch (RFC 7396): absent keeps (`None`), null goes back to the default.
    pub(crate) fn patch<T>(&mut self, name: &str, default: T, read: impl Read<T>) -> Option<T> {
        match self.members.remove(name) {
            None => None,
            Some(Value::Null) => Some(default),
            Some(value) => read(&mut At::new(name, self.errors), value),
        }
    }

    /// The members of these names that are there, as they are.
    pub(crate) fn take_all(&mut self, names: &[&str]) -> Map<String, Value> {
        let taken = names.iter().filter_map(|name| self.members.remove_entry(*name));
        taken.collect()
    }

    /// Names what somebody else found wrong with the members.
    pub(crate) fn refuse(&mut self, error: control::Error) {
        match error {
            control::Error::Invalid { errors } => {
                errors.into_iter().for_each(|it| self.errors.add(it.pointer, it.detail));
            }
            other => self.errors.add("", other),
        }
    }

    /// Names every member that was not read.
    pub(crate) fn end(self, read_only: &[&str]) {
        for name in self.members.keys() {
            let known = read_only.contains(&name.as_str());
            let detail = if known { "can't be written" } else { "is not a field of this" };
            self.errors.add(pointer(name), detail);
        }
    }
}

/// Turns a value into a type, or names what is wrong with it.
pub(crate) trait Read<T>: FnOnce(&mut At<'_>, Value) -> Option<T> {}

impl<T, F: FnOnce(&mut At<'_>, Value) -> Option<T>> Read<T> for F {}

/// The place of a value.
#[derive(Debug)]
pub(crate) struct At<'e> {
    pointer: String,
    errors: &'e mut Errors,
}

impl<'e> At<'e> {
    fn new(name: &str, errors: &'e mut Errors) -> Self {
        Self { pointer: pointer(name), errors }
    }

    /// Names what is wrong with this value.
    pub(crate) fn wrong<T>(&mut self, detail: impl fmt::Display) -> Option<T> {
        self.errors.add(&self.pointer, detail);
        None
    }

    fn must_be<T>(&mut self, wanted: &str, value: &Value) -> Option<T> {
        self.wrong(format_args!("must be {wanted}, not {}", kind(value)))
    }
}

pub(crate) fn boolean(at: &mut At<'_>, value: Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(value),
        other => at.must_be("true or false", &other),
    }
}

pub(crate) fn text(at: &mut At<'_>, value: Value) -> Option<String> {
    match value {
        Value::String(value) => Some(value),
        other => at.must_be("a text", &other),
    }
}

/// A text that is parsed.
pub(crate) fn parsed<T: FromStr<Err: fmt::Display>>(at: &mut At<'_>, value: Value) -> Option<T> {
    match text(at, value)?.parse() {
        Ok(value) => Some(value),
        Err(error) => at.wrong(error),
    }
}

/// One of some words.
pub(crate) fn word<T: DeserializeOwned>(words: &'static [&'static str]) -> impl Read<T> {
    move |at: &mut At<'_>, value: Value| {
        let known = value.as_str().is_some_and(|text| words.contains(&text));
        match serde_json::from_value(value).ok().filter(|_| known) {
            Some(value) => Some(value),
            None => at.wrong(format_args!("must be one of {}", words.join(", "))),
        }
    }
}

/// A list of texts that are parsed; every wrong one is named.
pub(crate) fn list<T: FromStr<Err: fmt::Display>>(at: &mut At<'_>, value: Value) -> Option<Vec<T>> {
    let Value::Array(items) = value else { return at.must_be("a list", &value) };
    let mut all = Vec::new();
    let mut right = true;
    for (index, item) in items.into_iter().enumerate() {
        let mut at = At { pointer: format!("{}/{index}", at.pointer), errors: at.errors };
        match parsed(&mut at, item) {
            Some(item) => all.push(item),
            None => right = false,
        }
    }
    right.then_some(all)
}

/// A text of at most so many bytes.
pub(crate) fn short(longest: usize) -> impl Read<String> {
    move |at: &mut At<'_>, value: Value| match text(at, value)? {
        text if text.len() > longest => at.wrong(format_args!("is longer than {longest} bytes")),
        text => Some(text),
    }
}

/// At most so many texts by name, of at most so many bytes each; a name is in lower case, with digits and `_`.
pub(crate) fn texts(most: usize, longest: usize) -> impl Read<BTreeMap<String, String>> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    move |at: &mut At<'_>, value: Value| {
        let Value::Object(members) = value else { return at.must_be("an object", &value) };
        if members.len() > most {
            return at.wrong(format_args!("has more than {most} members"));
        }
        let (mut all, mut right) = (BTreeMap::new(), true);
        for (name, value) in members {
            let pointer = format!("{}{}", at.pointer, pointer(&name));
            let mut at = At { pointer, errors: at.errors };
            let value = match (1..=64).contains(&name.len()) && name.chars().all(fits) {
                true => short(longest)(&mut at, value),
                false => at.wrong("there is no such setting"),
            };
            match value {
                Some(value) => drop(all.insert(name, value)),
                None => right = false,
            }
        }
        right.then_some(all)
    }
}

/// The JSON pointer of a member (RFC 6901 §3).
fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

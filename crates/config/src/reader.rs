//! From texts with their places to typed values, collecting every mistake.

use std::path::PathBuf;

use model::Secret;

use crate::acme::AcmeTable;
use crate::error::{Errors, Problem};
use crate::sources::{Given, Place};
use crate::table::{Program, SETTINGS};

/// Reads typed values out of what was given. A value that can't be read is noted and stands in as its default, so
/// that reading goes on to the next.
pub(crate) struct Reader<'g> {
    pub(crate) program: Program,
    given: &'g Given,
    acme: &'g [AcmeTable],
    development: bool,
    problems: Vec<Problem>,
    #[cfg(test)]
    read: std::cell::RefCell<Vec<&'static str>>,
}

impl<'g> Reader<'g> {
    pub(crate) fn new(program: Program, given: &'g Given, acme: &'g [AcmeTable]) -> Self {
        let mut reader = Self {
            program,
            given,
            acme,
            development: false,
            problems: Vec::new(),
            #[cfg(test)]
            read: std::cell::RefCell::default(),
        };
        reader.development = reader.text("PROFILE").0 == "development";
        reader
    }

    /// A required value.
    pub(crate) fn value<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (text, place) = self.text(name);
        if text.is_empty() {
            self.problem(&place, "must not be empty");
            return None;
        }
        self.parsed(name, &text, &place, parse)
    }

    /// A value that may be unset.
    pub(crate) fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (text, place) = self.text(name);
        if text.is_empty() { None } else { self.parsed(name, &text, &place, parse) }
    }

    /// A comma list.
    pub(crate) fn list<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let (text, place) = self.text(name);
        if text.trim().is_empty() {
            return Vec::new();
        }
        text.split(',').filter_map(|item| self.parsed(name, item.trim(), &place, &parse)).collect()
    }

    /// One of some words.
    pub(crate) fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        self.value(name, |text| {
            let known = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
            known.ok_or_else(|| {
                let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                format!("is none of {}", words.join(", "))
            })
        })
    }

    /// A path that may be unset.
    pub(crate) fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        self.optional(name, |text| Ok(PathBuf::from(text)))
    }

    /// A secret that may be unset.
    pub(crate) fn secret(&mut self, name: &'static str) -> Option<Secret<String>> {
        self.optional(name, |text| Ok(Secret::new(text.to_owned())))
    }

    /// The `[[acme]]` tables of the file.
    pub(crate) fn acme(&self) -> Vec<AcmeTable> {
        self.acme.to_vec()
    }

    /// Whether a setting was left at its default.
    pub(crate) fn is_default(&self, name: &'static str) -> bool {
        matches!(self.text(name).1, Place::Default(_))
    }

    /// Notes a mistake in how a setting goes with others.
    pub(crate) fn wrong(&mut self, name: &'static str, message: &str) {
        let (_, place) = self.text(name);
        self.problem(&place, message);
    }

    /// The settings made of what was read, unless there were mistakes.
    pub(crate) fn finish<T>(self, settings: Option<T>) -> Result<T, Errors> {
        match settings {
            Some(settings) if self.problems.is_empty() => Ok(settings),
            _ => Err(Errors(self.problems)),
        }
    }

    /// The text in force and where it stands.
    pub(crate) fn text(&self, name: &'static str) -> (String, Place) {
        #[cfg(test)]
        self.read.borrow_mut().push(name);
        match self.given.get(name) {
            Some((text, place)) => (text.clone(), place.clone()),
            None => (self.default(name).to_owned(), Place::Default(name)),
        }
    }

    fn default(&self, name: &str) -> &'static str {
        let setting = SETTINGS.iter().find(|setting| setting.name == name);
        setting.map_or("", |setting| setting.default_for(self.program, self.development))
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        text: &str,
        place: &Place,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(text) {
            Ok(value) => Some(value),
            Err(why) => {
                let shown = shown(name, text);
                self.problem(place, &format!("{shown} {why}"));
                None
            }
        }
    }

    /// Notes a mistake at a place.
    pub(crate) fn problem(&mut self, place: &Place, message: &str) {
        self.problems.push(Problem { place: place.to_string(), message: message.to_owned() });
    }
}

/// A value as it may be shown: quoted, without secrets.
pub(crate) fn shown(name: &str, text: &str) -> String {
    if SETTINGS.iter().any(|setting| setting.name == name && setting.secret) {
        return "(secret)".to_owned();
    }
    match name {
        "STORE" => format!("{:?}", crate::values::without_password_if_url(text)),
        _ => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A setting that is declared and not read would silently do nothing.
    #[test]
    fn every_declared_setting_is_read_by_its_programs() {
        let given = Given::default();
        for program in [Program::Proxy, Program::Api, Program::Up] {
            let mut reader = Reader::new(program, &given, &[]);
            match program {
                Program::Proxy => drop(crate::settings::proxy(&mut reader)),
                Program::Api => drop(crate::settings::api(&mut reader)),
                Program::Up => drop(crate::settings::up(&mut reader)),
            }
            let read = reader.read.take();
            for setting in SETTINGS {
                let concerns = setting.concerns(program);
                assert_eq!(
                    read.contains(&setting.name),
                    concerns,
                    "{} in {program:?}",
                    setting.name
                );
            }
            let unknown = read.iter().find(|name| !SETTINGS.iter().any(|s| s.name == **name));
            assert_eq!(unknown, None);
        }
    }
}

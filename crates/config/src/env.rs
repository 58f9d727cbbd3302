use std::collections::BTreeMap;

/// The environment, read once. Tests make their own.
#[derive(Clone, Debug, Default)]
pub struct Env {
    texts: BTreeMap<String, String>,
    /// Names of variables whose value is no UTF-8.
    unreadable: Vec<String>,
}

impl Env {
    /// The environment of this process. To be called by `main` and by nothing else.
    pub fn of_process() -> Self {
        let mut env = Self::default();
        for (name, value) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            match value.into_string() {
                Ok(value) => {
                    env.texts.insert(name, value);
                }
                Err(_) => env.unreadable.push(name),
            }
        }
        env
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// The names and values that begin with the prefix.
    pub(crate) fn with_prefix<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.texts
            .range(prefix.to_owned()..)
            .take_while(move |(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The names with the prefix whose value can't be read.
    pub(crate) fn unreadable<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.unreadable.iter().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Env {
    fn from(variables: [(&str, &str); N]) -> Self {
        let texts = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { texts: texts.collect(), unreadable: Vec::new() }
    }
}

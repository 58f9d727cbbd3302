use std::fmt;

/// A question that a request is asked on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gate {
    /// Is the client let in by its address?
    Access,
    /// Did it come by HTTPS where it must?
    Https,
    /// Is the host closed?
    Maintenance,
    /// Has it asked too often?
    RateLimit,
    /// Has it the right name and password?
    Credentials,
    /// Did it use the host's main name?
    Canonical,
    /// Is it sent elsewhere?
    Redirect,
    /// What is behind its path?
    Route,
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Access => "access",
            Self::Https => "https",
            Self::Maintenance => "maintenance",
            Self::RateLimit => "rate limit",
            Self::Credentials => "credentials",
            Self::Canonical => "canonical name",
            Self::Redirect => "redirect",
            Self::Route => "route",
        })
    }
}

/// Where [`decide`](crate::decide) tells what it finds. The data plane gives `()`, for which nothing is put together.
pub trait Trace {
    /// A gate was passed, or ended the request here, for this reason.
    fn step(&mut self, gate: Gate, passed: bool, why: impl FnOnce() -> String);
}

impl Trace for () {
    fn step(&mut self, _: Gate, _: bool, _: impl FnOnce() -> String) {}
}

/// One gate and how it came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub gate: Gate,
    /// Whether the request went on.
    pub passed: bool,
    /// Why, in words.
    pub why: String,
}

impl Trace for Vec<Step> {
    fn step(&mut self, gate: Gate, passed: bool, why: impl FnOnce() -> String) {
        self.push(Step { gate, passed, why: why() });
    }
}

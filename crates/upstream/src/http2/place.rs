use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::OnceCell;

use super::MAX_STREAMS;
use super::session::{Lease, Session};
use crate::connect::Named;
use crate::{Endpoint, Error};

/// The connections to one endpoint. The oldest with room is used first, so that those not needed grow idle.
#[derive(Debug)]
pub(super) struct Place {
    endpoint: Endpoint,
    /// Where its name leads; none for an address.
    named: Option<Rc<Named>>,
    sessions: RefCell<Vec<Rc<Session>>>,
    dial: RefCell<Option<Rc<Dial>>>,
}

/// A connection that is being opened, by whoever holds the cell's turn. When that one goes away the next takes over.
#[derive(Debug, Default)]
pub(super) struct Dial {
    done: OnceCell<Result<(), Failed>>,
    waiting: Cell<usize>,
}

/// Why no connection came about, for all who waited for it.
#[derive(Clone, Debug)]
pub(super) enum Failed {
    Timeout,
    Otherwise(io::ErrorKind, String),
}

impl Place {
    pub(super) fn new(endpoint: Endpoint, named: Option<Rc<Named>>) -> Self {
        Self { endpoint, named, sessions: RefCell::default(), dial: RefCell::default() }
    }

    /// Where the connections lead.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Which answer about the endpoint's name is in force.
    pub(super) fn generation(&self) -> u64 {
        self.named.as_ref().map_or(0, |named| named.generation())
    }

    /// Room on a connection that is there. Those that are over, idle for as long as `keep_alive`, or lead to where the
    /// name led before, are let go.
    pub(super) fn lease(&self, keep_alive: Duration) -> Option<Lease> {
        let mut sessions = self.sessions.borrow_mut();
        let mut at = 0;
        while let Some(session) = sessions.get(at) {
            if !session.is_usable(keep_alive) || session.generation() != self.generation() {
                sessions.remove(at);
                continue;
            }
            if session.has_room() {
                return Some(Lease::another(session.clone()));
            }
            at += 1;
        }
        None
    }

    pub(super) fn add(&self, session: Rc<Session>) {
        self.sessions.borrow_mut().push(session);
    }

    pub(super) fn remove(&self, session: &Rc<Session>) {
        self.sessions.borrow_mut().retain(|other| !Rc::ptr_eq(other, session));
    }

    /// Whether there is neither a connection nor one to come.
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.borrow().is_empty() && self.dial.borrow().is_none()
    }

    /// The connection that is being opened, while it has room for one more; else the next.
    pub(super) fn dial(&self) -> Rc<Dial> {
        let mut dial = self.dial.borrow_mut();
        match &*dial {
            Some(dial) if dial.waiting.get() < MAX_STREAMS => dial.clone(),
            _ => dial.insert(Rc::default()).clone(),
        }
    }

    /// Whoever wants a connection from now on opens another.
    pub(super) fn end_of(&self, dial: &Rc<Dial>) {
        self.dial.borrow_mut().take_if(|other| Rc::ptr_eq(other, dial));
    }
}

impl Dial {
    /// How it came out; `open` does it, unless somebody does already.
    pub(super) async fn told<F>(&self, open: impl FnOnce() -> F) -> Result<(), Failed>
    where
        F: Future<Output = Result<(), Failed>>,
    {
        self.waiting.set(self.waiting.get() + 1);
        self.done.get_or_init(open).await.clone()
    }
}

impl Failed {
    pub(super) fn by(error: &Error) -> Self {
        match error {
            Error::Connect { source, .. } => Self::Otherwise(source.kind(), source.to_string()),
            _ => Self::Timeout,
        }
    }

    pub(super) fn at(self, endpoint: &Endpoint) -> Error {
        let endpoint = endpoint.clone();
        match self {
            Self::Timeout => Error::ConnectTimeout { endpoint },
            Self::Otherwise(kind, text) => {
                Error::Connect { endpoint, source: io::Error::new(kind, text) }
            }
        }
    }
}

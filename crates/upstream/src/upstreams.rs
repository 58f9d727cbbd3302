use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::Body;
use runtime::Tasks;

use crate::codec::{self, Codec};
use crate::connect::Connector;
use crate::error::BoxError;
use crate::pool::Pools;
use crate::{Answer, Endpoint, Endpoints, Error, Outgoing, Settings};

/// All upstream connections of one worker thread.
#[derive(Debug)]
pub struct Upstreams {
    connector: Connector,
    codec: Rc<Codec>,
    pools: Rc<Pools<codec::Connection>>,
    /// Where the next walk over a set of endpoints begins.
    turns: RefCell<HashMap<u64, Cell<usize>>>,
}

impl Upstreams {
    /// Nothing is connected yet. `tasks` own the little that runs beside requests.
    pub fn new(settings: &Settings, tasks: &Tasks) -> Rc<Self> {
        Rc::new(Self {
            connector: Connector::new(settings),
            codec: Codec::new(settings),
            pools: Pools::new(settings, tasks.clone()),
            turns: RefCell::default(),
        })
    }

    /// The endpoints once around, beginning one further at each call (round robin per worker): try them one
    /// after the other as long as [`Error::may_try_elsewhere`].
    pub fn in_turn<'a>(
        &self,
        endpoints: &'a Endpoints,
    ) -> impl Iterator<Item = &'a Endpoint> + use<'a> {
        let all = endpoints.as_slice();
        let first = if all.len() > 1 { self.next_turn(endpoints.id()) % all.len() } else { 0 };
        all[first..].iter().chain(&all[..first])
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// `on_interim` is called for each `1xx` but 101. A connection that the upstream closed while it lay idle is
    /// replaced and the request repeated, but only where that can't do it twice.
    pub async fn send<B>(
        &self,
        endpoint: &Endpoint,
        outgoing: &mut Outgoing<B>,
        on_interim: impl FnMut(StatusCode, HeaderMap),
    ) -> Result<Answer, Error>
    where
        B: Body<Data = Bytes> + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let pool = self.pools.of(endpoint);
        codec::send(&self.codec, &self.connector, pool, outgoing, on_interim).await
    }

    /// Closes every unused connection, and from now on each one when its request is done. For the end of a drain.
    pub fn close(&self) {
        self.pools.close();
    }

    fn next_turn(&self, id: u64) -> usize {
        let mut turns = self.turns.borrow_mut();
        // Sets of endpoints come and go with the host table; forgetting where each stood is harmless.
        if turns.len() >= 4096 && !turns.contains_key(&id) {
            turns.clear();
        }
        let turn = turns.entry(id).or_default();
        turn.replace(turn.get().wrapping_add(1))
    }
}

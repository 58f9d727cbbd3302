use std::net::IpAddr;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::Body;
use model::UpstreamHttp;
use runtime::Tasks;

use crate::balance::{Balancer, Turns, Walk};
use crate::codec::{self, Codec};
use crate::connect::{Connector, Resolver};
use crate::error::BoxError;
use crate::http2::{self, Http2};
use crate::hyper_client::{self, HyperClient};
use crate::pool::Pools;
use crate::{Answer, Endpoint, Error, ExchangeKind, Outgoing, Settings};

/// All upstream connections of one worker thread.
#[derive(Debug)]
pub struct Upstreams {
    connector: Connector,
    exchange: Exchange,
    http2: Rc<Http2>,
    turns: Turns,
}

/// The two ways of speaking HTTP/1.1, each with its own connections.
#[derive(Debug)]
enum Exchange {
    Codec(Rc<Codec>, Rc<Pools<codec::Connection>>),
    Hyper(Rc<HyperClient>, Rc<Pools<hyper_client::Connection>>),
}

impl Upstreams {
    /// Nothing is connected yet. `tasks` own the little that runs beside requests.
    pub fn new(settings: Settings, tasks: Tasks) -> Rc<Self> {
        let resolver = Rc::new(Resolver::new(settings.resolve_ttl));
        Rc::new(Self {
            exchange: Exchange::new(&settings, resolver.clone(), tasks.clone()),
            http2: Http2::new(&settings, resolver.clone(), tasks),
            connector: Connector::new(settings, resolver),
            turns: Turns::default(),
        })
    }

    /// Begins a request's way along the upstreams of a group, for a client with this address and these fields.
    pub fn walk<'a>(
        &'a self,
        balancer: &'a Balancer,
        client: IpAddr,
        headers: &HeaderMap,
    ) -> Walk<'a> {
        Walk::new(&self.turns, balancer, client, headers)
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
        // RFC 9113 §8.6: HTTP/2 has no `Upgrade`.
        if endpoint.http() == UpstreamHttp::Two && outgoing.upgrade.is_none() {
            let sent = http2::send(&self.http2, &self.connector, endpoint, outgoing, on_interim);
            return Box::pin(sent).await;
        }
        match &self.exchange {
            Exchange::Codec(codec, pools) => {
                let pool = pools.of(endpoint);
                codec::send(codec, &self.connector, pool, endpoint, outgoing, on_interim).await
            }
            Exchange::Hyper(client, pools) => {
                let pool = pools.of(endpoint);
                let sent = hyper_client::send(
                    client,
                    &self.connector,
                    pool,
                    endpoint,
                    outgoing,
                    on_interim,
                );
                // Boxed: its size is not the codec's to bear.
                Box::pin(sent).await
            }
        }
    }

    /// Closes every unused connection, and from now on each one when its request is done. For the end of a drain.
    pub fn close(&self) {
        self.http2.close();
        match &self.exchange {
            Exchange::Codec(_, pools) => pools.close(),
            Exchange::Hyper(_, pools) => pools.close(),
        }
    }
}

impl Exchange {
    fn new(settings: &Settings, resolver: Rc<Resolver>, tasks: Tasks) -> Self {
        match settings.exchange {
            ExchangeKind::Codec => {
                Self::Codec(Codec::new(settings), Pools::new(settings, resolver, tasks))
            }
            ExchangeKind::Hyper => {
                let client = HyperClient::new(settings, tasks.clone());
                Self::Hyper(client, Pools::new(settings, resolver, tasks))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use http_body_util::Empty;
    use model::UpstreamTls;

    use super::*;

    /// It is part of the future that serves a request, which is moved at least once per request.
    #[test]
    fn the_future_of_a_send_is_small() {
        let upstreams = Upstreams::new(Settings::default(), Tasks::new());
        let endpoint = Endpoint::new("127.0.0.1:1".parse().unwrap(), UpstreamTls::Off);
        let target = "/".parse().unwrap();
        let body = Empty::<Bytes>::new();
        let mut outgoing = Outgoing::new(Method::GET, target, HeaderMap::new(), body);
        let sending = upstreams.send(&endpoint, &mut outgoing, |_, _| {});
        let size = size_of_val(&sending);
        assert!(size < 1024, "{size}");
    }
}

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Ending, Record, Schedule, pause};
use crate::client::{self, Front};

/// No test's answer takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends by `schedule` over one connection until stopped or until the peer says that it goes away.
pub(super) async fn run(
    front: Front,
    mut schedule: Schedule,
    streams: usize,
    mut stopped: watch::Receiver<bool>,
) -> Vec<Record> {
    let mut connection = match client::h2(&front, &schedule.plan.host).await {
        Ok(connection) => connection,
        Err(_) => {
            let (id, due) = schedule.next();
            return vec![Record { id, latency: due.elapsed(), at: due, ending: Ending::Abandoned }];
        }
    };
    let mut records = Vec::new();
    let mut open = JoinSet::new();
    loop {
        let (id, due) = schedule.next();
        while let Some(Ok(record)) = open.try_join_next() {
            records.push(record);
        }
        if !pause(due, &mut stopped).await || connection.ready().await.is_err() {
            break;
        }
        // On a machine that falls behind: sent late, and the delay counts as latency.
        while open.len() >= streams {
            records.extend(open.join_next().await.map(|ended| ended.expect("no panic")));
        }
        let answer = connection.send(request(&schedule, &id));
        open.spawn(async move {
            let ending =
                tokio::time::timeout(PATIENCE, ending(answer)).await.unwrap_or(Ending::Cut);
            Record { id, latency: due.elapsed(), at: Instant::now(), ending }
        });
    }
    while let Some(ended) = open.join_next().await {
        records.push(ended.expect("a request's task does not panic"));
    }
    records
}

fn request(schedule: &Schedule, id: &str) -> Request<client::Body> {
    let uri = format!("https://{}{}", schedule.plan.host, schedule.plan.path);
    Request::get(uri).header("x-test-id", id).body(client::empty()).expect("a request")
}

async fn ending(answer: impl Future<Output = hyper::Result<Response<Incoming>>>) -> Ending {
    match answer.await {
        Ok(response) => {
            let status = response.status().as_u16();
            match response.into_body().collect().await.map(|body| body.to_bytes()) {
                Ok::<Bytes, _>(_) => Ending::Whole(status),
                Err(_) => Ending::Cut,
            }
        }
        Err(error) if unread(&error) => Ending::Unread,
        Err(_) => Ending::Swallowed,
    }
}

/// Whether HTTP/2 itself says that the stream was not processed: refused, or above the last one of a `GOAWAY`.
fn unread(error: &hyper::Error) -> bool {
    if error.is_canceled() {
        return true; // never left this client
    }
    let cause = std::error::Error::source(error).and_then(|it| it.downcast_ref::<h2::Error>());
    cause.is_some_and(|it| {
        it.is_remote() && (it.is_go_away() || it.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

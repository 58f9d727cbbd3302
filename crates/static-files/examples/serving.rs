//! Measures answers of one thread beside tower-http's `ServeDir` and prints what it saw:
//! `cargo run --release -p gatewright-static-files --example serving`.
//!
//! The current-thread runtime stands for a worker. Times are per answer, body included, of files that the kernel has in
//! memory; rounds are interleaved and the best of each is told. CPU time is of the whole process, so that `ServeDir`'s
//! threads count.
#![allow(clippy::print_stdout, clippy::unwrap_used)] // printing is its whole job

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Empty};
use rustix::time::{ClockId, clock_gettime};
use static_files::{Directory, Head, Options};
use tower::ServiceExt;
use tower_http::services::ServeDir;

const ROUNDS: usize = 5;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let sizes =
        [("1k", 1 << 10), ("16k", 16 << 10), ("64k", 64 << 10), ("1m", 1 << 20), ("16m", 16 << 20)];
    for (name, size) in sizes {
        std::fs::write(folder.path().join(format!("{name}.js")), vec![b'x'; size]).unwrap();
    }
    let ours = Directory::open(folder.path(), Options::default()).unwrap();
    let theirs =
        ServeDir::new(folder.path()).precompressed_br().precompressed_gzip().precompressed_zstd();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    println!("| file | request | ours | its CPU | ServeDir | its CPU |\n|---|---|---|---|---|---|");
    for (name, size) in sizes {
        let answers = (50_000_000 / (size + 10_000)).clamp(20, 4_000);
        for (kind, encodings) in
            [("plain", ""), ("takes gzip, br, zstd", "gzip, deflate, br, zstd")]
        {
            let path = format!("/{name}.js");
            let mut best = [[Duration::MAX; 2]; 2];
            for _ in 0..ROUNDS {
                let seen = [
                    timed(&runtime, answers, async || ask_ours(&ours, &path, encodings).await),
                    timed(&runtime, answers, async || ask_theirs(&theirs, &path, encodings).await),
                ];
                for (best, seen) in best.iter_mut().flatten().zip(seen.iter().flatten()) {
                    *best = (*best).min(*seen);
                }
            }
            let [[a, b], [c, d]] = best;
            println!("| {name} | {kind} | {a:.1?} | {b:.1?} | {c:.1?} | {d:.1?} |");
        }
    }
}

/// Wall and CPU time of one answer.
fn timed(
    runtime: &tokio::runtime::Runtime,
    answers: usize,
    ask: impl AsyncFn() -> usize,
) -> [Duration; 2] {
    let count = u32::try_from(answers).unwrap();
    let (wall, cpu) = (Instant::now(), process_time());
    runtime.block_on(async {
        for _ in 0..answers {
            assert!(ask().await > 0);
        }
    });
    [wall.elapsed() / count, (process_time() - cpu) / count]
}

async fn ask_ours(directory: &Directory, path: &str, encodings: &'static str) -> usize {
    let mut headers = HeaderMap::new();
    headers.insert("accept-encoding", HeaderValue::from_static(encodings));
    let head = Head { method: &Method::GET, path, query: None, headers: &headers };
    drain(directory.serve(head).await.unwrap().into_body()).await
}

async fn ask_theirs(service: &ServeDir, path: &str, encodings: &'static str) -> usize {
    let request = Request::get(path).header("accept-encoding", encodings);
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    drain(service.clone().oneshot(request).await.unwrap().into_body()).await
}

async fn drain<B: http_body::Body<Data = Bytes> + Unpin>(mut body: B) -> usize
where
    B::Error: std::fmt::Debug,
{
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        size += frame.unwrap().into_data().unwrap().len();
    }
    size
}

fn process_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap()
}

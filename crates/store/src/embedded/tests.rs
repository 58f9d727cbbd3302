use std::sync::Arc;
use std::time::SystemTime;

use super::*;
use crate::{
    Expect,
    conformance::{Subject, suite},
};

#[tokio::test]
async fn it_conforms() {
    let home = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    suite(async || {
        number.set(number.get() + 1);
        let dir = home.path().join(number.get().to_string());
        let (clock, hand) = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        let backend = Arc::new(EmbeddedBackend::open_with(&dir, clock, 60).unwrap());
        Subject { first: backend.clone(), second: backend, log_limit: 60, hand: Some(hand) }
    })
    .await;
}

fn open(dir: &Path) -> Result<EmbeddedBackend, Error> {
    EmbeddedBackend::open(dir, Clock::system())
}

fn pair(number: u64) -> Txn {
    let fields = Fields::from([("number".to_owned(), number.to_string())]);
    let put = |txn: Txn, side| txn.put(record(side, number), fields.clone(), Expect::Absent);
    put(put(Txn::new(), "left"), "right")
}

fn record(side: &str, number: u64) -> Key {
    Key::new(Collection::Host, format!("{side}-{number}"))
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("made/on/the/way");
    let backend = open(&dir).unwrap();
    let revision = backend.commit(pair(1)).await.unwrap();
    let lease = backend.acquire("x", "a", Duration::from_secs(60)).await.unwrap().unwrap();
    drop(backend);

    let backend = open(&dir).unwrap();
    assert_eq!(backend.revision().await.unwrap(), revision);
    assert!(backend.get(&record("left", 1)).await.unwrap().is_some());
    // The holder is dead, and its token is not given out again.
    let next = backend.acquire("x", "a", Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(next.fence > lease.fence);
}

#[test]
fn the_directory_and_the_file_are_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    let _backend = open(&dir).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join("store.redb"))), (0o700, 0o600));
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("store.redb");
    let text = "something else ".repeat(1000);
    std::fs::write(&file, &text).unwrap();
    let error = open(home.path()).err().unwrap();
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);

    let in_the_way = home.path().join("file");
    std::fs::write(&in_the_way, "").unwrap();
    let error = open(&in_the_way).err().unwrap();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn writers_that_wait_together_share_a_commit() {
    let home = tempfile::tempdir().unwrap();
    let backend = Arc::new(open(home.path()).unwrap());
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..200 {
        let backend = backend.clone();
        writers.spawn(async move { backend.commit(pair(number)).await.unwrap().n });
    }
    let mut numbers: Vec<u64> = writers.join_all().await;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=200).collect::<Vec<_>>(), "each is a step of its own all the same");
}

mod killed {
    //! A process that is killed while it writes.

    use std::io::{BufRead, BufReader, Write};
    use std::process::{Child, Command, Stdio};
    use std::time::Instant;

    use super::*;

    const SEED: u64 = 0x5eed_0001;
    const BOUND: Duration = Duration::from_secs(5);
    const WRITERS: u64 = 4;

    /// Kills a writing process again and again, each time somewhere else, and looks at what it leaves.
    #[tokio::test]
    async fn no_acknowledged_write_is_lost_and_none_is_half_there() {
        let home = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let mut random = SEED;
        let (mut first, mut rounds, mut acknowledged) = (0, 0, Vec::new());
        while start.elapsed() < BOUND {
            let (acks, pause) = (step(&mut random) % 40, step(&mut random) % 4_000);
            let seen = write_and_kill(home.path(), first, acks, Duration::from_micros(pause));
            first = seen.iter().max().map_or(first, |last| last + 1) + WRITERS;
            acknowledged.extend(seen);
            check(home.path(), first, &acknowledged).await;
            rounds += 1;
        }
        println!("seed {SEED:#x}: {rounds} kills, {} acknowledged", acknowledged.len());
        assert!(rounds > 3 && acknowledged.len() > 20);
    }

    /// Starts a writer and kills it a moment after it has acknowledged so many; returns what it acknowledged.
    fn write_and_kill(dir: &Path, first: u64, acks: u64, pause: Duration) -> Vec<u64> {
        let mut child = spawn(dir, first);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut seen = Vec::new();
        let read = |line: String| line.split_once("ack ").and_then(|(_, n)| n.parse::<u64>().ok());
        while (seen.len() as u64) < acks {
            seen.extend(lines.next().map(read).expect("the writer ended by itself"));
        }
        if acks > 0 {
            let error = open(dir).err().expect("two processes have it open");
            assert!(error.to_string().contains(&dir.display().to_string()), "{error}");
            assert!(matches!(error, Error::InUse { .. }), "{error:?}");
        }
        let moment = Instant::now() + pause;
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts.
        seen.extend(lines.filter_map(read));
        seen
    }

    async fn check(dir: &Path, end: u64, acknowledged: &[u64]) {
        let backend = open(dir).unwrap();
        for number in acknowledged {
            let found = backend.get(&record("left", *number)).await.unwrap();
            assert!(found.is_some(), "{number} was acknowledged and is lost");
        }
        let mut there = 0;
        for number in 0..end {
            let left = backend.get(&record("left", number)).await.unwrap();
            assert_eq!(left, backend.get(&record("right", number)).await.unwrap());
            there += u64::from(left.is_some());
        }
        assert_eq!(backend.revision().await.unwrap().n, there);
    }

    fn spawn(dir: &Path, first: u64) -> Child {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::tests::killed::writer", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{first}\n{}", dir.display()).unwrap();
        child
    }

    #[tokio::test]
    #[ignore = "the process that the test above kills"]
    async fn writer() {
        let mut input = std::io::stdin().lines().map(Result::unwrap);
        let first: u64 = input.next().unwrap().parse().unwrap();
        let backend = Arc::new(open(Path::new(&input.next().unwrap())).unwrap());
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let backend = backend.clone();
            writers.spawn(async move {
                for number in (first + writer..).step_by(4) {
                    backend.commit(pair(number)).await.unwrap();
                    println!("ack {number}");
                }
            });
        }
        writers.join_all().await;
    }

    fn step(random: &mut u64) -> u64 {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        *random >> 16
    }
}

use std::sync::Arc;
use std::time::Instant;

use control::HostSpec;
use control::test_util::World;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Notify;

use super::*;

struct Served {
    world: World,
    dir: TempDir,
    stop: Arc<Notify>,
    serving: JoinSet<()>,
}

impl Served {
    async fn start() -> Self {
        let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
        world.control.bootstrap(&"admin".parse().unwrap(), Some(secret())).await.unwrap();
        let login = world.control.login("admin", secret(), [127, 0, 0, 1].into()).await.unwrap();
        let admin = world.control.authenticate(login.token.expose()).await.unwrap();
        for (pattern, upstream) in [("a.test", "127.0.0.1:1"), ("*.b.test", "127.0.0.1:2")] {
            let upstreams = vec![upstream.parse().unwrap()];
            let spec = HostSpec { upstreams, ..HostSpec::default() };
            let pattern = pattern.parse().unwrap();
            world.control.hosts().create(&admin, pattern, spec, false).await.unwrap();
        }
        let socket = LookupSocket::bind(&dir.path().join("lookup.sock"), None).unwrap();
        let (stop, control) = (Arc::new(Notify::new()), world.control.clone());
        let (mut serving, stopped) = (JoinSet::new(), stop.clone());
        serving.spawn(socket.serve(control, async move { stopped.notified().await }));
        Self { world, dir, stop, serving }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("lookup.sock")
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.path()).await.unwrap()
    }
}

fn secret() -> model::Secret<String> {
    model::Secret::new("correct horse battery".to_owned())
}

/// The next line, read byte by byte: no test sends much.
async fn line(stream: &mut UnixStream) -> Option<Value> {
    let mut text = Vec::new();
    loop {
        match stream.read_u8().await {
            Ok(b'\n') => return Some(serde_json::from_slice(&text).unwrap()),
            Ok(byte) => text.push(byte),
            Err(_) => return None,
        }
    }
}

#[tokio::test]
async fn requests_joined_split_and_with_or_without_newline_are_answered_in_order() {
    let served = Served::start().await;
    let mut stream = served.connect().await;
    let sent =
        [r#"{"domain":"a.test"}"#, "{\"domain\":\"x.b.test\"}\n{\"domain\":\"no.test\"}{\"do"];
    for part in sent {
        stream.write_all(part.as_bytes()).await.unwrap();
    }
    let first = line(&mut stream).await.unwrap();
    assert_eq!((&first["ip"], &first["targetPort"]), (&json!("127.0.0.1"), &json!(1)));
    assert_eq!((&first["forcessl"], &first["targets"]), (&json!(true), &json!([])));
    let second = line(&mut stream).await.unwrap();
    assert_eq!((&second["host"], &second["targetPort"]), (&json!("*.b.test"), &json!(2)));
    assert_eq!(line(&mut stream).await.unwrap(), json!({}));
    for byte in b"main\":\"A.TEST.\"}" {
        stream.write_all(&[*byte]).await.unwrap();
    }
    assert_eq!(line(&mut stream).await.unwrap(), first);
    for odd in [r#"{"domain":5}"#, "[]", r#"{"domain":"*.b.test"}"#, r#"{"domain":"a b"}"#, "{}"] {
        stream.write_all(odd.as_bytes()).await.unwrap();
        assert_eq!(line(&mut stream).await.unwrap(), json!({}), "{odd}");
    }
}

#[tokio::test]
async fn what_is_no_json_or_has_no_end_is_hung_up_on() {
    let served = Served::start().await;
    for sent in ["nonsense".to_owned(), format!("{{\"domain\":\"{}", "a".repeat(8000))] {
        let mut stream = served.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        assert_eq!(line(&mut stream).await, None, "{sent}");
    }
}

#[tokio::test]
async fn it_answers_without_the_store_from_what_it_has() {
    let served = Served::start().await;
    let mut stream = served.connect().await;
    stream.write_all(br#"{"domain":"a.test"}"#).await.unwrap();
    assert!(line(&mut stream).await.is_some());
    served.world.unplug(true);
    let asked = Instant::now();
    stream.write_all(br#"{"domain":"a.test"}{"domain":"no.test"}"#).await.unwrap();
    assert_eq!(line(&mut stream).await.unwrap()["host"], "a.test");
    assert_eq!(line(&mut stream).await.unwrap(), json!({}));
    assert!(asked.elapsed() < 4 * Duration::from_millis(100));
}

#[tokio::test]
async fn who_knows_nothing_says_nothing() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    world.unplug(true);
    let path = dir.path().join("lookup.sock");
    let socket = LookupSocket::bind(&path, None).unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(socket.serve(world.control.clone(), std::future::pending()));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(br#"{"domain":"a.test"}"#).await.unwrap();
    assert_eq!(line(&mut stream).await, None);
}

#[tokio::test]
async fn its_file_has_its_mode_and_goes_with_it() {
    let mut served = Served::start().await;
    let path = served.path();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
    assert_eq!(fs::read_dir(served.dir.path()).unwrap().count(), 1);
    served.stop.notify_one();
    served.serving.join_next().await.unwrap().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_dead_ones_file_is_replaced_and_a_living_one_is_an_error() {
    let served = Served::start().await;
    let error = LookupSocket::bind(&served.path(), None).unwrap_err();
    assert!(error.to_string().contains("another process serves it"), "{error}");

    let dead = served.dir.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    assert!(dead.exists());
    let first = LookupSocket::bind(&dead, None).unwrap();
    assert!(StdUnixStream::connect(&dead).is_ok());
    // One that came later stays when the earlier one goes.
    fs::remove_file(&dead).unwrap();
    let second = LookupSocket::bind(&dead, None).unwrap();
    drop(first);
    assert!(dead.exists());
    drop(second);
    assert!(!dead.exists());

    let file = served.dir.path().join("file");
    fs::write(&file, "data").unwrap();
    let error = LookupSocket::bind(&file, None).unwrap_err();
    assert!(error.to_string().contains("something else"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"data");
    assert!(LookupSocket::bind(&file.join("lookup.sock"), None).is_err());
}

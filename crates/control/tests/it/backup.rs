use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use control::{
    Actor, Conditions, Control, Cost, Error, EventFilter, Import, ImportMode, Imported, Reach,
    Secrets,
};
use futures_util::TryStreamExt;
use model::{Allowed, CertRecord, CertSource, Role, Secret, Timestamp};
use proptest::prelude::*;
use store::{
    Backend, Collection, EmbeddedBackend, Expect, Fields, Key, LocalCaRecord, MemoryBackend,
    Sealer, Store, Txn,
};

use crate::world::{World, pattern, secret, to, user};

/// A control plane on a store with keys of its own.
struct Site {
    control: Control,
    store: Store,
}

const KEY: &str = "0123456789abcdef";

impl Site {
    fn new(backend: Arc<dyn Backend>, key: &str) -> Self {
        let clock = runtime::Clock::system();
        let key = secret(key);
        let sealer = Sealer::new(Some(&key), Some(&key), false).unwrap();
        let store = Store::new(backend, sealer, clock);
        Self { control: control(&store), store }
    }

    fn memory() -> Self {
        Self::new(Arc::new(MemoryBackend::new().unwrap()), KEY)
    }

    async fn admin(&self) -> Actor {
        let control = &self.control;
        control.bootstrap(&user("admin"), Some(secret("correct horse"))).await.unwrap();
        let login = control.login("admin", secret("correct horse"), [127, 0, 0, 1].into()).await;
        control.authenticate(login.unwrap().token.expose()).await.unwrap()
    }

    async fn fill(&self, hosts: &[(String, u16)]) -> Actor {
        let admin = self.admin().await;
        for (name, port) in hosts {
            let spec = to(&[&format!("127.0.0.1:{port}")]);
            self.control.hosts().create(&admin, pattern(name), spec, false).await.unwrap();
        }
        self.control.ca_root_pem().await.unwrap();
        let cert = CertRecord {
            name: pattern("a.test"),
            chain_pem: "chain".to_owned(),
            key_pem: Secret::new("PRIVATE".to_owned()),
            source: CertSource::Custom,
            not_before: Timestamp::from_millis(1),
            not_after: Timestamp::from_millis(2),
        };
        self.store.put(&cert, Expect::Absent).await.unwrap();
        admin
    }

    async fn export(&self, actor: &Actor, secrets: Secrets) -> String {
        self.control.export(actor, secrets).await.unwrap().try_collect().await.unwrap()
    }

    async fn import(&self, actor: &Actor, text: &str, mode: ImportMode) -> Result<Imported, Error> {
        self.control.import(actor, import(text, mode, false)).await
    }

    /// Everything that belongs into a backup.
    async fn content(&self) -> Vec<(Key, Fields)> {
        let mut all = Vec::new();
        for collection in
            [Collection::Cert, Collection::Host, Collection::LocalCa, Collection::User]
        {
            let mut cursor = None;
            loop {
                let page = self.store.backend().scan(collection, cursor.as_deref(), 7).await;
                let page = page.unwrap();
                let records = page.records.into_iter();
                all.extend(records.map(|(id, fields)| (Key::new(collection, id), fields)));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        all.sort();
        all
    }
}

fn control(store: &Store) -> Control {
    Control::new(store.clone(), runtime::Clock::system(), Cost::new(4).unwrap()).unwrap()
}

fn import(text: &str, mode: ImportMode, dry_run: bool) -> Import {
    let mut file = control::spool().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Import { file, mode, dry_run }
}

/// The same export with its records changed and its end made to fit.
fn altered(text: &str, change: impl Fn(&str) -> Option<String>) -> String {
    let lines: Vec<_> = text.lines().collect();
    let (end, lines) = lines.split_last().unwrap();
    let kept = lines.iter().filter_map(|line| change(line)).map(|line| line + "\n");
    let text: String = kept.collect();
    let mut end: serde_json::Value = serde_json::from_str(end).unwrap();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    end["checksum"] = format!("sha256:{hex}").into();
    let mut counts = std::collections::BTreeMap::<String, u64>::new();
    for line in text.lines().skip(1) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        *counts.entry(line["collection"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    end["counts"] = serde_json::to_value(counts).unwrap();
    format!("{text}{end}\n")
}

fn details(error: &Error) -> Vec<String> {
    match error {
        Error::Invalid { errors } => {
            errors.iter().map(|error| format!("{}: {}", error.pointer, error.detail)).collect()
        }
        other => panic!("not invalid: {other:?}"),
    }
}

fn some_hosts() -> Vec<(String, u16)> {
    (1..=300).map(|number| (format!("h{number}.test"), number)).collect()
}

#[test]
fn what_comes_out_goes_in_again_and_is_the_same() {
    let name = "[a-z]{1,8}(\\.[a-z]{1,8}){0,2}|\\*\\.[a-z]{1,8}";
    let hosts = prop::collection::btree_map(name, 1..=u16::MAX, 0..20);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(12));
    let outcome = runner.run(&hosts, |hosts| {
        let hosts: Vec<_> = hosts.into_iter().collect();
        runtime.block_on(round_trip(&hosts));
        Ok(())
    });
    outcome.unwrap();
}

/// Embedded to memory to another embedded one.
async fn round_trip(hosts: &[(String, u16)]) {
    let home = tempfile::tempdir().unwrap();
    let embedded = |name: &str| {
        let clock = runtime::Clock::system();
        Arc::new(EmbeddedBackend::open(&home.path().join(name), clock).unwrap())
    };
    let first = Site::new(embedded("first"), KEY);
    let admin = first.fill(hosts).await;
    let text = first.export(&admin, Secrets::Sealed).await;
    let wanted = first.content().await;
    assert_eq!(text.lines().count(), wanted.len() + 2);
    for other in [Site::memory(), Site::new(embedded("second"), KEY)] {
        let admin = other.fill(&[("only.here.test".to_owned(), 1)]).await;
        let done = other.import(&admin, &text, ImportMode::Replace).await.unwrap();
        assert_eq!(done.counts[&Collection::Host].deleted, 1);
        assert_eq!(other.content().await, wanted);
        // Again: nothing is left to do.
        let revision = other.store.backend().revision().await.unwrap();
        other.import(&admin, &text, ImportMode::Replace).await.unwrap();
        assert_eq!(other.store.backend().revision().await.unwrap(), revision);
        let again = other.export(&admin, Secrets::Sealed).await;
        let lines = |text: &str| {
            let count = text.lines().count();
            let mut lines: Vec<_> =
                text.lines().skip(1).take(count - 2).map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(lines(&again), lines(&text));
    }
}

#[tokio::test]
async fn a_merge_leaves_what_the_file_lacks() {
    let (one, other) = (Site::memory(), Site::memory());
    let admin = one.fill(&some_hosts()).await;
    let text = one.export(&admin, Secrets::Sealed).await;
    let there = other.fill(&[("h1.test".to_owned(), 9), ("mine.test".to_owned(), 9)]).await;
    let before = other.content().await;
    let tried = other.control.import(&there, import(&text, ImportMode::Merge, true)).await.unwrap();
    assert_eq!(other.content().await, before, "a dry run wrote something");
    let done = other.import(&there, &text, ImportMode::Merge).await.unwrap();
    assert_eq!((&tried.counts, &tried.changes), (&done.counts, &done.changes));
    let hosts = done.counts[&Collection::Host];
    assert_eq!((hosts.created, hosts.updated, hosts.deleted), (299, 1, 0));
    let all = other.content().await;
    assert_eq!(all.iter().filter(|(key, _)| key.collection == Collection::Host).count(), 301);
    // Told, record by record.
    let filter = control::EventFilter::host(Some("h7.test".to_owned()));
    let told = other.control.history(&there, &filter, None, 10).await.unwrap().events;
    assert_eq!((told.len(), told[0].why.as_deref()), (1, Some("import")));
}

#[tokio::test]
async fn a_wrong_key_is_named_before_anything_is_written() {
    let one = Site::memory();
    let admin = one.fill(&some_hosts()).await;
    let text = one.export(&admin, Secrets::Sealed).await;
    assert!(!text.contains("PRIVATE"));
    let other = Site::new(Arc::new(MemoryBackend::new().unwrap()), "another key of 16");
    let there = other.admin().await;
    let before = other.content().await;
    let error = other.import(&there, &text, ImportMode::Merge).await.unwrap_err();
    let details = details(&error);
    assert_eq!(details.len(), 2, "{details:?}");
    assert!(details[0].contains("another CERT_KEY") && details[1].contains("another SECRET_KEY"));
    assert_eq!(other.content().await, before);
    // Without secrets it goes in, with what can do without.
    let text = one.export(&admin, Secrets::Left).await;
    assert!(!text.contains("$2b$") && !text.contains("\"Cert\",\"id"), "a secret");
    other.import(&there, &text, ImportMode::Replace).await.unwrap();
    assert_eq!(other.content().await.len(), 301);
    other.control.login("admin", secret("correct horse"), [127, 0, 0, 2].into()).await.unwrap();
}

#[tokio::test]
async fn an_account_without_its_secret_can_not_log_in() {
    let (one, other) = (Site::memory(), Site::memory());
    let admin = one.admin().await;
    let password = secret("correct horse");
    one.control.users().create(&admin, user("ann"), Role::Admin, password, false).await.unwrap();
    let text = one.export(&admin, Secrets::Left).await;
    let there = other.admin().await;
    other.import(&there, &text, ImportMode::Replace).await.unwrap();
    let refused = other.control.login("ann", secret("correct horse"), [127, 0, 0, 1].into()).await;
    assert!(matches!(refused, Err(Error::Unauthorised)), "{refused:?}");
    let refused = other.control.login("ann", secret("*"), [127, 0, 0, 1].into()).await;
    assert!(matches!(refused, Err(Error::Unauthorised)), "{refused:?}");
}

#[tokio::test]
async fn every_wrong_record_is_named_and_nothing_is_written() {
    let site = Site::memory();
    let admin = site.fill(&some_hosts()).await;
    let text = site.export(&admin, Secrets::Sealed).await;
    let before = site.store.backend().revision().await.unwrap();
    let wrong = altered(&text, |line| {
        let line = line.replace("\"id\":\"h1.test\"", "\"id\":\"other.test\"");
        let line = line.replace("\"targetPort\":\"2\"", "\"targetPort\":\"many\"");
        Some(line.replace("\"gw_role\":\"admin\"", "\"gw_role\":\"king\""))
    });
    let error = site.import(&admin, &wrong, ImportMode::Merge).await.unwrap_err();
    let found = details(&error);
    assert_eq!(found.len(), 3, "{found:?}");
    for part in ["other.test", "targetPort", "gw_role"] {
        assert!(found.iter().any(|text| text.contains(part)), "{part} in {found:?}");
    }
    let cases: [(String, &str); 8] = [
        (String::new(), "no export"),
        ("{}\n".to_owned(), "no header"),
        (text.replace("\"gatewright_export\":1", "\"gatewright_export\":2"), "format 2"),
        (text.lines().take(5).map(|line| format!("{line}\n")).collect(), "cut off"),
        (text.replace("\"targetPort\":\"7\"", "\"targetPort\":\"8\""), "checksum"),
        (format!("{text}{{}}\n"), "after the end"),
        (
            altered(&text, |line| {
                Some(line.replace("\"collection\":\"Host\"", "\"collection\":\"AuthToken\""))
            }),
            "kind",
        ),
        (altered(&text, |line| Some(line.replace("[\"LocalCa\"", "[\"Challenge\""))), "Challenge"),
    ];
    for (text, part) in cases {
        let error = site.import(&admin, &text, ImportMode::Replace).await.unwrap_err();
        let found = details(&error);
        assert!(found.iter().any(|text| text.contains(part)), "{part} in {found:?}");
    }
    assert_eq!(site.store.backend().revision().await.unwrap(), before);
}

/// Only new hosts and edits were checked for where proxies send nothing: a file and a rollback brought such upstreams back.
#[tokio::test]
async fn an_upstream_out_of_reach_comes_in_by_no_import_and_by_no_rollback() {
    let open = Site::memory();
    let metadata = "169.254.169.254:80".parse().unwrap();
    open.control.keeps_within(Reach::new(Vec::new(), vec![Allowed::Address(metadata)]));
    let admin = open.admin().await;
    let (hosts, name) = (open.control.hosts(), pattern("a.test"));
    hosts.create(&admin, name.clone(), to(&["169.254.169.254:80"]), false).await.unwrap();
    let file = open.export(&admin, Secrets::Sealed).await;
    let any = Conditions { if_match: None, dry_run: false };
    hosts.delete(&admin, &name, &any).await.unwrap();
    let made = open.control.history(&admin, &EventFilter::default(), None, 9).await.unwrap();
    let deleted = made.events[0].number;

    let strict = Site::memory();
    let actor = strict.admin().await;
    let refused = strict.import(&actor, &file, ImportMode::Merge).await.unwrap_err();
    let why = details(&refused).join("\n");
    assert!(why.contains("/upstreams/0: 169.254.169.254:80 is link-local"), "{why}");
    assert!(open.import(&admin, &file, ImportMode::Merge).await.is_ok());

    hosts.delete(&admin, &name, &any).await.unwrap();
    let other = Site { control: control(&open.store), store: open.store.clone() };
    let refused = other.control.roll_back(&admin, deleted, &any, false).await.unwrap_err();
    assert!(details(&refused).join("\n").contains("169.254.169.254:80 is link-local"));
    open.control.roll_back(&admin, deleted, &any, false).await.unwrap();
}

#[tokio::test]
async fn who_imports_remains_an_administrator() {
    let site = Site::memory();
    let admin = site.fill(&[]).await;
    let text = site.export(&admin, Secrets::Sealed).await;
    let without = altered(&text, |line| (!line.contains("\"User\",\"id")).then(|| line.to_owned()));
    let refused = site.import(&admin, &without, ImportMode::Replace).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    site.import(&admin, &without, ImportMode::Merge).await.unwrap();
    let lower = altered(&text, |line| {
        Some(line.replace("\"gw_role\":\"admin\"", "\"gw_role\":\"viewer\""))
    });
    for mode in [ImportMode::Merge, ImportMode::Replace] {
        let refused = site.import(&admin, &lower, mode).await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    }
    let world = World::new();
    let admin = world.admin().await;
    let manager = world.account(&admin, "max", Role::Manager).await;
    let refused = world.control.import(&manager, import(&text, ImportMode::Merge, false)).await;
    assert!(matches!(refused, Err(Error::Forbidden)), "{refused:?}");
    assert!(matches!(
        world.control.export(&manager, Secrets::Left).await.err(),
        Some(Error::Forbidden)
    ));
}

#[tokio::test]
async fn sessions_of_accounts_with_another_password_end() {
    let site = Site::memory();
    let admin = site.admin().await;
    let create = async |password: &str| {
        let password = secret(password);
        site.control
            .users()
            .create(&admin, user("ann"), Role::Viewer, password, false)
            .await
            .unwrap();
    };
    create("correct horse").await;
    let text = site.export(&admin, Secrets::Sealed).await;
    let patch = control::UserPatch { role: None, password: Some(secret("battery staple")) };
    let any = control::Conditions::default();
    site.control.users().patch(&admin, &user("ann"), patch, &any).await.unwrap();
    let ann =
        site.control.login("ann", secret("battery staple"), [127, 0, 0, 1].into()).await.unwrap();
    site.import(&admin, &text, ImportMode::Merge).await.unwrap();
    let ended = site.control.authenticate(ann.token.expose()).await;
    assert!(matches!(ended, Err(Error::Unauthorised)), "{ended:?}");
    site.control.me(&admin).await.unwrap();
}

/// What a crash half-way leaves is whole records, and the same import again does the rest.
#[tokio::test]
async fn an_import_that_ended_half_way_is_finished_by_another() {
    let (one, other) = (Site::memory(), Site::memory());
    let admin = one.fill(&some_hosts()).await;
    let text = one.export(&admin, Secrets::Sealed).await;
    let wanted = one.content().await;
    let there = other.fill(&[("mine.test".to_owned(), 9)]).await;
    // The state after some of the batches.
    let txn = wanted
        .iter()
        .take(150)
        .fold(Txn::new(), |txn, (key, fields)| txn.put(key.clone(), fields.clone(), Expect::Any));
    other.store.backend().commit(txn).await.unwrap();
    other.import(&there, &text, ImportMode::Replace).await.unwrap();
    assert_eq!(other.content().await, wanted);
    assert!(other.store.get::<LocalCaRecord>(LocalCaRecord::ID).await.unwrap().is_some());
}

#[test]
fn the_file_that_is_received_is_nobody_elses() {
    let mut file = control::spool().unwrap();
    file.write_all(b"text").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "text");
}

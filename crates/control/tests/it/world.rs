use std::sync::Arc;
use std::time::{Duration, SystemTime};

use control::{Actor, Control, Cost, HostSpec};
use model::{HostPattern, Role, Secret, Username};
use runtime::{Clock, ManualClock};
use store::{MemoryBackend, Sealer, Store};

/// A store with one control plane on it, at a time of the test's making.
pub(crate) struct World {
    pub(crate) control: Control,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) hand: ManualClock,
}

/// 2026-09-21, 14:13:20 UTC.
pub(crate) const START: u64 = 1_790_000_000;

impl World {
    pub(crate) fn new() -> Self {
        let (clock, hand) = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(START));
        let backend = MemoryBackend::with_clock(clock.clone()).unwrap();
        let sealer = Sealer::new(None, None, true).unwrap();
        let store = Store::new(Arc::new(backend), sealer, clock.clone());
        let control = replica(&store, &clock);
        Self { control, store, clock, hand }
    }

    /// Another control plane on the same store.
    pub(crate) fn replica(&self) -> Control {
        replica(&self.store, &self.clock)
    }

    /// The first administrator, logged in.
    pub(crate) async fn admin(&self) -> Actor {
        self.control.bootstrap(&user("admin"), Some(secret("correct horse"))).await.unwrap();
        self.login("admin").await
    }

    /// A new account, logged in.
    pub(crate) async fn account(&self, admin: &Actor, name: &str, role: Role) -> Actor {
        let password = secret("correct horse");
        self.control.users().create(admin, user(name), role, password, false).await.unwrap();
        self.login(name).await
    }

    pub(crate) async fn login(&self, name: &str) -> Actor {
        let login = self.control.login(name, secret("correct horse"), address(name)).await.unwrap();
        self.control.authenticate(login.token.expose()).await.unwrap()
    }
}

fn replica(store: &Store, clock: &Clock) -> Control {
    Control::new(store.clone(), clock.clone(), Cost::new(4).unwrap()).unwrap()
}

/// An address for each name, so that only the tests of the limit meet it.
fn address(name: &str) -> std::net::IpAddr {
    let bytes: Vec<u8> = name.bytes().chain([0; 4]).collect();
    [10, bytes[0], bytes[1], bytes[2]].into()
}

pub(crate) fn user(name: &str) -> Username {
    name.parse().unwrap()
}

pub(crate) fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

pub(crate) fn pattern(text: &str) -> HostPattern {
    text.parse().unwrap()
}

pub(crate) fn to(upstreams: &[&str]) -> HostSpec {
    let upstreams = upstreams.iter().map(|text| text.parse().unwrap()).collect();
    HostSpec { upstreams, ..HostSpec::default() }
}

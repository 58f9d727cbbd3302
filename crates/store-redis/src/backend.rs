use std::sync::Arc;
use std::time::Duration;

use fred::error::Error as RedisError;
use fred::interfaces::HashesInterface;
use fred::types::Value;
use model::Revision;
use store::{
    Backend, BoxFuture, Changes, Collection, Error, Expect, Fields, Hints, HistoryEntry, Key,
    Lease, NewEntries, Op, ScanPage, Txn,
};
use tokio::task::JoinSet;

use crate::RedisSettings;
use crate::answer::{self, corrupt, epoch_and_n, fields, read_changes, read_history};
use crate::connection::Connection;
use crate::layout::Layout;
use crate::legacy;
use crate::script::{Change, Scripts};
use crate::sweep::sweep;

/// How often a transaction is judged again when a record changed between reading and writing it.
const ATTEMPTS: usize = 8;

/// The store on Redis.
///
/// It reconnects by itself, with jittered backoff and without end; meanwhile an operation waits for about a second and
/// then fails with [`Error::Unavailable`]. A reconnect is a hint. Edits of hosts, certificates and challenges by
/// programs that know nothing of revisions are noticed by client-side caching in broadcast mode: [`Hints::touched`].
/// A commit to a server with replicas waits until one of them has it, for half a second at most.
pub struct RedisBackend {
    link: Arc<Link>,
    /// Ends with the backend.
    _sweeper: JoinSet<()>,
}

/// What every operation needs.
pub(crate) struct Link {
    pub(crate) connection: Connection,
    pub(crate) layout: Layout,
    pub(crate) scripts: Scripts,
    log_limit: usize,
}

impl RedisBackend {
    /// Starts to connect and waits up to two seconds for the first connection. A server that is down is no error:
    /// it is as if it went down later.
    ///
    /// # Errors
    /// When the client can't be made.
    pub async fn connect(settings: &RedisSettings) -> Result<Self, crate::Error> {
        let layout = Layout::new(&settings.prefix, settings.legacy.clone());
        let connection = Connection::start(settings, &layout).await?;
        let log_limit = settings.log_limit;
        let link = Arc::new(Link { connection, layout, scripts: Scripts::new(), log_limit });
        let mut sweeper = JoinSet::new();
        sweeper.spawn(sweep(link.clone()));
        Ok(Self { link, _sweeper: sweeper })
    }
}

impl Link {
    /// What a failed command means to the caller.
    pub(crate) fn failed(&self, what: &str, error: RedisError) -> Error {
        answer::failed(what, self.connection.explain(error))
    }

    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Fields>, Error> {
        let record = self.record(key).await?;
        legacy::with_copy(self, key, record).await
    }

    /// What the record's own key holds.
    async fn record(&self, key: &Key) -> Result<Option<Fields>, Error> {
        let name = self.layout.record(key);
        let found: Value = self
            .connection
            .client
            .hgetall(name)
            .await
            .map_err(|error| self.failed("reading a record", error))?;
        let fields = fields(found);
        Ok((!fields.is_empty()).then_some(fields))
    }

    async fn revision(&self) -> Result<Revision, Error> {
        let names = vec!["epoch", "n"];
        let found: Vec<Option<String>> = self
            .connection
            .client
            .hmget(self.layout.revision(), names)
            .await
            .map_err(|error| self.failed("reading the revision", error))?;
        let mut found = found.into_iter().flatten();
        match (found.next(), found.next()) {
            (Some(epoch), Some(n)) => epoch_and_n(epoch, &n),
            _ => Ok(store::unborn()),
        }
    }

    async fn commit(&self, mut txn: Txn) -> Result<Revision, Error> {
        let history = txn.take_history();
        let ops = txn.into_ops();
        if ops.is_empty() {
            return self.revision().await;
        }
        let mut conflict = None;
        for _ in 0..ATTEMPTS {
            let mut changes = Vec::with_capacity(ops.len());
            for op in &ops {
                let content = self.expected_content(op).await?;
                changes.push(Change::from_op(&self.layout, op, content));
            }
            let answer = self.run_changes(&changes, &history).await?;
            let mut answer = answer.into_iter();
            match (answer.next().as_deref(), answer.next(), answer.next()) {
                (Some("ok"), Some(epoch), Some(n)) => return epoch_and_n(epoch, &n),
                (Some("conflict"), Some(place), _) => {
                    let op = place.parse::<usize>().ok().and_then(|place| ops.get(place - 1));
                    let op = op.ok_or_else(|| corrupt("a conflict without a place"))?;
                    conflict = Some(op.key.clone());
                    // Only content may have changed between reading and judging it.
                    if !matches!(op.expect, Expect::ETag(_)) {
                        break;
                    }
                }
                (Some("type"), Some(key), _) => {
                    return Err(corrupt(&format!("{key} holds another type of value")));
                }
                _ => return Err(corrupt("an unknown answer to a transaction")),
            }
        }
        conflict.map_or_else(
            || Err(corrupt("a transaction without end")),
            |key| Err(Error::Conflict { key }),
        )
    }

    /// Runs the commit script. The history's key is named only when there is something for it, so that a user who may
    /// not touch it can commit the rest.
    pub(crate) async fn run_changes(
        &self,
        changes: &[Change],
        history: &NewEntries,
    ) -> Result<Vec<String>, Error> {
        let mut keys = vec![self.layout.revision(), self.layout.changes(), self.layout.expiries()];
        let mut arguments = vec![
            Value::from(store::new_epoch()?.as_str()),
            Value::from(self.log_limit.to_string()),
            Value::from(self.layout.hints()),
            Value::from(changes.len().to_string()),
        ];
        for change in changes {
            change.write(&mut keys, &mut arguments);
        }
        arguments.push(Value::from(history.texts.len().to_string()));
        if !history.texts.is_empty() {
            keys.push(self.layout.history());
            let trim = history.texts.len() + store::HISTORY_TRIM;
            arguments.extend([history.keep, trim].map(|number| Value::from(number.to_string())));
            arguments.extend(history.texts.iter().map(|text| Value::from(text.as_str())));
        }
        let answer = self.connection.commit(&self.scripts.commit, keys, arguments).await;
        answer.map_err(|error| self.failed("writing a transaction", error))
    }

    /// The content that stands for an expected ETag; what the tag does not fit is a conflict right away. None for a tag
    /// of what others wrote where there is no record.
    async fn expected_content(&self, op: &Op) -> Result<Option<Fields>, Error> {
        if !matches!(op.expect, Expect::ETag(_)) {
            return Ok(None);
        }
        let record = self.record(&op.key).await?;
        let current = legacy::with_copy(self, &op.key, record.clone()).await?;
        if op.expect.holds(current.as_ref()) {
            Ok(record)
        } else {
            Err(Error::Conflict { key: op.key.clone() })
        }
    }

    async fn changes_since(&self, since: &Revision) -> Result<Changes, Error> {
        let keys = vec![self.layout.revision(), self.layout.changes()];
        let arguments = vec![Value::from(since.epoch.as_str()), Value::from(since.n.to_string())];
        let answer = self.connection.read(&self.scripts.changes, keys, arguments).await;
        read_changes(answer.map_err(|error| self.failed("reading the changes", error))?)
    }

    async fn history(&self, before: Option<u64>, limit: usize) -> Result<Vec<HistoryEntry>, Error> {
        let before = before.map(|number| number.to_string()).unwrap_or_default();
        let arguments = vec![Value::from(before), Value::from(limit.to_string())];
        let keys = vec![self.layout.history()];
        let answer = self.connection.read(&self.scripts.history, keys, arguments).await;
        let answer: Vec<String> =
            answer.map_err(|error| self.failed("reading the history", error))?;
        read_history(&answer)
    }

    async fn write_lease(&self, key: &Key, fields: &Fields, ttl: Duration) -> Result<(), Error> {
        let keys = vec![self.layout.index(key.collection), self.layout.record(key)];
        let mut arguments = vec![Value::from(key.id.as_str()), Value::from(millis(ttl))];
        for part in fields.iter().flat_map(|(name, value)| [name, value]) {
            arguments.push(Value::from(part.as_str()));
        }
        let answer = self.connection.write::<i64>(&self.scripts.lease, keys, arguments).await;
        answer.map(drop).map_err(|error| self.failed("writing a lease", error))
    }

    async fn lock(&self, verb: &str, name: &str, ttl: Duration, what: &str) -> Result<u64, Error> {
        let keys = vec![self.layout.lock(name), self.layout.fence()];
        let arguments = vec![Value::from(verb), Value::from(millis(ttl)), Value::from(what)];
        let answer = self.connection.write(&self.scripts.lock, keys, arguments).await;
        answer.map_err(|error| self.failed("taking or giving back a lock", error))
    }
}

impl Backend for RedisBackend {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Fields>, Error>> {
        Box::pin(self.link.get(key))
    }

    fn scan<'a>(
        &'a self,
        collection: Collection,
        cursor: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ScanPage, Error>> {
        Box::pin(legacy::page(&self.link, collection, cursor, limit.max(1)))
    }

    fn revision(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        Box::pin(self.link.revision())
    }

    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Revision, Error>> {
        Box::pin(self.link.commit(txn))
    }

    fn changes_since<'a>(&'a self, since: &'a Revision) -> BoxFuture<'a, Result<Changes, Error>> {
        Box::pin(self.link.changes_since(since))
    }

    fn history(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<HistoryEntry>, Error>> {
        Box::pin(self.link.history(before, limit))
    }

    fn watch(&self) -> Hints {
        self.link.connection.hints.subscribe()
    }

    fn put_lease<'a>(
        &'a self,
        key: &'a Key,
        fields: &'a Fields,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.link.write_lease(key, fields, ttl))
    }

    fn delete_lease<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { self.link.write_lease(key, &Fields::new(), Duration::ZERO).await })
    }

    fn acquire<'a>(
        &'a self,
        name: &'a str,
        holder: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<Lease>, Error>> {
        Box::pin(async move {
            let fence = self.link.lock("acquire", name, ttl, holder).await?;
            let lease = || Lease { name: name.to_owned(), holder: holder.to_owned(), fence };
            Ok((fence != 0).then(lease))
        })
    }

    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            Ok(self.link.lock("renew", &lease.name, ttl, &lock_value(lease)).await? != 0)
        })
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let value = lock_value(lease);
            self.link.lock("release", &lease.name, Duration::ZERO, &value).await.map(drop)
        })
    }
}

/// What a lock's key holds.
fn lock_value(lease: &Lease) -> String {
    format!("{}:{}", lease.fence, lease.holder)
}

/// A time to live as Redis takes it: at least one millisecond.
fn millis(ttl: Duration) -> String {
    ttl.as_millis().max(1).to_string()
}

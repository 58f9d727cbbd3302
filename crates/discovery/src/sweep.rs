//! Reading everything, page by page: for the first load, after a gap, and now and then for what nothing told of.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use model::{Revision, Timestamp};
use store::{Backend, Collection, Key, ScanPage};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::guard::{self, Doubt};
use crate::pace::Pace;
use crate::replica::{Look, Replica};

/// What the data plane needs of the store. A page of each is read in turn: hosts and their certificates come up together.
const COLLECTIONS: [Collection; 3] = [Collection::Cert, Collection::Challenge, Collection::Host];
/// How many records a page has at most: room for four batches of Redis' own.
const PAGE: usize = 2_400;
/// How many pages of a hasty reading are taken over together at most.
const PAGES: usize = 16;
/// They are seen once they make the table larger by this part of it: to show a change copies what it shares with what was
/// shown before, and the first hosts are shown at once.
const PART: usize = 8;
/// How many pages of a collection a hasty reading has ready: so that the store works on while they are taken over.
const AHEAD: usize = 2;
/// How many records that a sweep did not show are read at once.
const READS: usize = 64;

/// Whether everything is to be read, and how soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reading {
    /// Only what changed.
    No,
    /// Everything, a page now and then.
    Spread,
    /// Everything, as fast as it goes.
    Now,
}

/// A reading of everything under way.
pub(crate) struct Sweep {
    pub(crate) reading: Reading,
    /// Where the store stood when it began.
    revision: Revision,
    /// Whether the tables reach that revision by it; else they have it by the log.
    pub(crate) moves: bool,
    /// The word of an operator by which all is believed.
    word: Option<Timestamp>,
    /// Whether something may have changed behind it: there will have to be another.
    again: bool,
    /// What was told of and read since a hasty one began: a page read ahead may show it as it was before.
    told: HashSet<Key>,
    /// The collections that are not read to their end, the next one first.
    parts: VecDeque<Part>,
    /// How many pages were read.
    pages: usize,
    pace: Pace,
}

/// A collection, and where in it a sweep is.
struct Part {
    collection: Collection,
    cursor: Option<String>,
    /// The pages from there on, if they are read while others are taken over.
    ahead: Option<Ahead>,
}

impl Part {
    fn new(collection: Collection) -> Self {
        Self { collection, cursor: None, ahead: None }
    }

    /// The page at the cursor. After an error it is asked for again.
    async fn page(
        &mut self,
        backend: &Arc<dyn Backend>,
        reading: Reading,
    ) -> Result<ScanPage, store::Error> {
        if reading != Reading::Now {
            return backend.scan(self.collection, self.cursor.as_deref(), PAGE).await;
        }
        let ahead = self.ahead.get_or_insert_with(|| {
            Ahead::of(backend.clone(), self.collection, self.cursor.clone())
        });
        match ahead.pages.recv().await {
            Some(Ok(page)) => Ok(page),
            broken => {
                self.ahead = None;
                match broken {
                    Some(page) => page,
                    None => backend.scan(self.collection, self.cursor.as_deref(), PAGE).await,
                }
            }
        }
    }
}

/// A task that reads one page after the other, up to the last one or the first error. It ends with this.
struct Ahead {
    pages: mpsc::Receiver<Result<ScanPage, store::Error>>,
    _task: JoinSet<()>,
}

impl Ahead {
    fn of(backend: Arc<dyn Backend>, collection: Collection, mut cursor: Option<String>) -> Self {
        let (sender, pages) = mpsc::channel(AHEAD);
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                let page = backend.scan(collection, cursor.as_deref(), PAGE).await;
                cursor = page.as_ref().ok().and_then(|page| page.next.clone());
                if sender.send(page).await.is_err() || cursor.is_none() {
                    return;
                }
            }
        });
        Self { pages, _task: task }
    }
}

impl Sweep {
    /// Whether a collection is among those that are read.
    pub(crate) fn reads(collection: Collection) -> bool {
        COLLECTIONS.contains(&collection)
    }
}

impl Replica {
    /// Begins a sweep, unless one is under way that does as well.
    pub(crate) fn begin(
        &mut self,
        reading: Reading,
        found: &Revision,
        moves: bool,
        word: Option<Timestamp>,
    ) {
        if reading == Reading::No {
            return;
        }
        if let Some(sweep) = &self.sweep
            && sweep.revision.epoch == found.epoch
            && sweep.word == word
            && sweep.reading >= reading
            && sweep.moves >= moves
        {
            return;
        }
        self.round = self.round.wrapping_add(1);
        let revision = found.clone();
        self.sweep = Some(Sweep {
            reading,
            revision,
            moves,
            word,
            again: false,
            told: HashSet::new(),
            parts: COLLECTIONS.map(Part::new).into(),
            pages: 0,
            pace: Pace::default(),
        });
    }

    /// Whether everything is being read, and how.
    pub(crate) fn reading(&self) -> Reading {
        self.sweep.as_ref().map_or(Reading::No, |sweep| sweep.reading)
    }

    /// How long the sweep rests after a page that took so long.
    pub(crate) fn rest(&mut self, took: Duration) -> Duration {
        let Some(sweep) = &mut self.sweep else { return Duration::ZERO };
        sweep.pace.rest(took, self.pages.saturating_sub(sweep.pages))
    }

    /// Notes that a record was read for itself, so that no page read before undoes it.
    pub(crate) fn tell(&mut self, key: &Key) {
        if let Some(sweep) = &mut self.sweep
            && sweep.reading == Reading::Now
        {
            sweep.told.insert(key.clone());
        }
    }

    /// Has another sweep follow the one under way, if there is one.
    pub(crate) fn sweep_again(&mut self) {
        if let Some(sweep) = &mut self.sweep {
            sweep.again = true;
        }
    }

    /// Reads the next pages of a sweep that is hasty, or the next one, and has them seen together; after the last one what is
    /// gone is taken out. Cancel safe.
    pub(crate) async fn stride(&mut self) -> Result<Look, store::Error> {
        let pages = match self.reading() {
            Reading::Now => (self.tables.hosts() / (PAGE * PART)).clamp(1, PAGES),
            Reading::Spread => 1,
            Reading::No => 0,
        };
        let tables = self.tables.clone();
        let together = tables.hold();
        for _ in 0..pages {
            self.step().await?;
        }
        // What the tables are then said to show has to be seen.
        drop(together);
        match &self.sweep {
            Some(sweep) if sweep.parts.is_empty() => self.finish().await,
            _ => Ok(Look::Done),
        }
    }

    /// Reads the next page, if there is one, and takes it over.
    async fn step(&mut self) -> Result<(), store::Error> {
        let Some(sweep) = &mut self.sweep else { return Ok(()) };
        let Some(part) = sweep.parts.front_mut() else { return Ok(()) };
        let collection = part.collection;
        let page = part.page(self.store.backend(), sweep.reading).await?;
        sweep.pages += 1;
        let part = sweep.parts.pop_front();
        if let (Some(part), Some(cursor)) = (part, page.next) {
            sweep.parts.push_back(Part { cursor: Some(cursor), ..part });
        }
        for (id, fields) in page.records {
            let key = Key::new(collection, id);
            if self.sweep.as_ref().is_none_or(|sweep| !sweep.told.contains(&key)) {
                self.apply(&key, Some(&fields));
            }
        }
        Ok(())
    }

    /// What the sweep did not show is probably gone; a read says so for certain.
    async fn finish(&mut self) -> Result<Look, store::Error> {
        let gone = self.unseen().await?;
        let Some(sweep) = &self.sweep else { return Ok(Look::Done) };
        let (revision, moves, word) = (sweep.revision.clone(), sweep.moves, sweep.word);
        if !self.stands(&revision).await? {
            self.sweep = None;
            return Ok(Look::Again);
        }
        let ended = self.sweep.take();
        self.pages = ended.as_ref().map_or(0, |sweep| sweep.pages);
        let again = ended.is_some_and(|sweep| sweep.again);
        let first = self.applied.is_none();
        if moves {
            self.applied = Some(revision.clone());
        }
        let hosts = gone.iter().filter(|key| self.is_routed(key)).count();
        let routed = self.tables.hosts();
        let standing = self.alarm.as_ref().map(|alarm| alarm.doubt);
        let too_much =
            guard::is_too_much(hosts, routed) || (standing == Some(Doubt::DropsHosts) && hosts > 0);
        if too_much && !first && word.is_none() {
            let detail = format!("{hosts} of {routed} hosts are gone from the store at {revision}");
            // Of what is gone only answers to challenges go: they end by themselves.
            for key in gone.iter().filter(|key| key.collection == Collection::Challenge) {
                self.apply(key, None);
            }
            self.raise(Doubt::DropsHosts, detail, revision);
        } else {
            gone.iter().for_each(|key| self.apply(key, None));
            self.lower();
            self.accepted_at = word.or(self.accepted_at);
            self.settle();
            self.note_word(&revision.epoch).await;
        }
        Ok(if again { Look::Again } else { Look::Done })
    }

    /// The records that this sweep did not show and that are not there; the others are taken over.
    async fn unseen(&mut self) -> Result<Vec<Key>, store::Error> {
        let unseen = self.known.iter().filter(|(_, known)| known.round != self.round);
        let unseen: Vec<_> = unseen.map(|(key, _)| key.clone()).collect();
        let mut gone = Vec::new();
        for keys in unseen.chunks(READS) {
            let asked: Vec<_> = keys.iter().collect();
            let found = self.fetch(&asked).await?;
            for (key, fields) in keys.iter().zip(found) {
                match fields {
                    Some(fields) => self.apply(key, Some(&fields)),
                    None => gone.push(key.clone()),
                }
            }
        }
        Ok(gone)
    }

    fn is_routed(&self, key: &Key) -> bool {
        key.collection == Collection::Host && self.tables.has_host(&key.id)
    }
}

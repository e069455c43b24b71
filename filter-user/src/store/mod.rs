//! What must survive the agent: the block list and the never-block list, in SQLite.
//!
//! One thread owns the database and writes in groups: everything that is waiting goes into one transaction. Nobody
//! waits for the disk but an administrator, who is told "done" only when it is ([`Store::flushed`]). When the disk
//! fails, blocking goes on, what could not be written waits for it, and what does not fit is counted as lost.

mod access;
mod backup;
mod day;
mod history;
mod readable;
mod schema;
mod search;
mod writer;

use std::fs::{File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use filter_core::decision::{Block, Never};
use filter_core::event::EventId;
use filter_core::time::Timestamp;
use ipnet::IpNet;
use tokio::sync::oneshot;

pub use access::{AccessRecord, Accounts};
pub use backup::{BackupError, Copied, backup};
pub use day::{Day, HOURS};
pub use history::{EVENTS_LIMIT, EventFilter, History, PAGE_LIMIT};
pub use writer::{Entry, Mark};
use writer::{Job, Trouble};

/// Changes that may wait for the disk; a full queue loses changes rather than memory.
const QUEUE_LIMIT: usize = 65_536;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be made or entered.
    #[error(
        "cannot use the state directory {path}: {source}; set `state_directory` to one that this user may write"
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another process has the directory.
    #[error(
        "another gatepost keeps its state in {0}; stop it first, or set `state_directory` to another directory"
    )]
    Taken(PathBuf),
    /// The file cannot be read or written.
    #[error("cannot use the database {path}: {source}; {}", remedy(source))]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// There is nothing to be read.
    #[error(
        "cannot read the event log {path}: {source}; name the agent's own file with --config, and run this as its user"
    )]
    NoLog {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is to be read only, and is not of this version.
    #[error(
        "the database {path} has layout {found}; start the agent of this version once, which brings it up to date"
    )]
    OtherLayout {
        /// The file.
        path: PathBuf,
        /// The layout of the file.
        found: i64,
    },
    /// The file was written by a later version.
    #[error(
        "the database {path} has layout {found}, this version knows {known}; install the version that wrote it"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The layout of the file.
        found: i64,
        /// The layout of this version.
        known: i64,
    },
}

impl StoreError {
    /// The database of a directory can be opened, and not be read.
    pub fn unreadable(directory: &Path, source: rusqlite::Error) -> Self {
        Self::Database { path: history::in_directory(directory), source }
    }

    /// Whether more permission would help.
    pub fn is_permission(&self) -> bool {
        match self {
            Self::Directory { source, .. } | Self::NoLog { source, .. } => {
                source.kind() == std::io::ErrorKind::PermissionDenied
            }
            Self::Taken(_) | Self::Database { .. } | Self::OtherLayout { .. } | Self::Newer { .. } => false,
        }
    }
}

fn remedy(error: &rusqlite::Error) -> &'static str {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, PermissionDenied, ReadOnly,
    };
    match error.sqlite_error_code() {
        Some(DatabaseBusy | DatabaseLocked) => "end the program that has it open, then start again",
        Some(CannotOpen | PermissionDenied | ReadOnly) => "let this user write it, or set `state_directory`",
        Some(DiskFull) => "free some space on its disk, then start again",
        _ => "look at the disk, or move the file away to start with empty lists",
    }
}

/// What was asked for is in force, and is not on the disk.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "the change is in force, but is lost at a restart until it can be written: {0}; look at the disk of the state directory"
)]
pub struct NotDurable(String);

/// What the database held when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The block list.
    pub blocks: Vec<Block>,
    /// The never-block list, without built-in entries.
    pub nevers: Vec<Never>,
    /// The last event of the log.
    pub last_event: EventId,
    /// Automatic blocks that the log knows of, oldest first.
    pub past: Vec<(IpNet, Timestamp)>,
}

/// The way to the writer; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    jobs: SyncSender<Job>,
    trouble: Arc<Trouble>,
    history: History,
}

impl Store {
    /// Opens the database in a directory, making both if they are not there, and starts the writer.
    pub fn open(directory: &Path) -> Result<(Self, Stored), StoreError> {
        let in_directory = |source| StoreError::Directory { path: directory.to_path_buf(), source };
        // Not for others: it says who wrote to whom, and when.
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(in_directory)?;
        let lock = File::open(directory).map_err(in_directory)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Taken(directory.to_path_buf())),
            Err(TryLockError::Error(source)) => return Err(in_directory(source)),
        }
        let path = history::in_directory(directory);
        let (database, stored) = schema::open(&path)?;
        let (jobs, queue) = sync_channel(QUEUE_LIMIT);
        let trouble = Arc::new(Trouble::default());
        let told = Arc::clone(&trouble);
        let run = move || {
            writer::run(database, &queue, &told);
            drop(lock);
        };
        std::thread::Builder::new().name("store".to_owned()).spawn(run).map_err(in_directory)?;
        Ok((Self { jobs, trouble, history: History::new(path) }, stored))
    }

    /// Hands changes and events to the writer, which puts them into one transaction; never waits. Events give way to
    /// changes: they may fill half the queue.
    pub fn write(&self, entries: Vec<Entry>) {
        let trouble = &self.trouble;
        let has_room = |entry: &Entry| {
            let limit = if matches!(entry, Entry::Event(_)) { QUEUE_LIMIT / 2 } else { QUEUE_LIMIT };
            let fits = trouble.queued.fetch_add(1, Ordering::Relaxed) < limit;
            if !fits {
                trouble.lose(entry);
            }
            fits
        };
        let entries: Vec<_> = entries.into_iter().filter(has_room).collect();
        if entries.is_empty() {
            return;
        }
        let unsent = match self.jobs.try_send(Job::Write(entries)) {
            Err(
                TrySendError::Full(Job::Write(entries)) | TrySendError::Disconnected(Job::Write(entries)),
            ) => entries,
            Ok(()) | Err(_) => Vec::new(),
        };
        for entry in &unsent {
            trouble.lose(entry);
        }
    }

    /// The way to the event log.
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Events that did not reach the disk.
    pub fn events_lost(&self) -> u64 {
        self.trouble.events_lost.load(Ordering::Relaxed)
    }

    /// Waits until everything that was put before is on the disk.
    pub async fn flushed(&self) -> Result<(), NotDurable> {
        let (done, wait) = oneshot::channel();
        let mut job = Job::Flush(done);
        while let Err(error) = self.jobs.try_send(job) {
            job = match error {
                TrySendError::Full(job) => job,
                TrySendError::Disconnected(_) => return Err(NotDurable("the writer has ended".to_owned())),
            };
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        wait.await.unwrap_or_else(|_| Err(NotDurable("the writer has ended".to_owned())))
    }

    /// Changes and events on their way to the writer.
    pub fn queued(&self) -> u64 {
        self.trouble.queued.load(Ordering::Relaxed) as u64
    }

    /// Bytes of the database and of what has not been moved into it yet.
    pub fn size(&self) -> u64 {
        self.history.size()
    }

    /// Changes that wait for a disk that takes them.
    pub fn pending(&self) -> u64 {
        self.trouble.pending.load(Ordering::Relaxed)
    }

    /// Changes that did not reach the disk.
    pub fn lost(&self) -> u64 {
        self.trouble.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use filter_core::decision::Origin;
    use filter_core::engine::Record;
    use filter_core::event::{Event, What};
    use filter_core::offence::Kind;
    use filter_core::service::ServiceName;

    fn block(network: &str) -> Block {
        Block {
            network: network.parse().unwrap(),
            origin: Origin::Smtp,
            reason: "score 1050".to_owned(),
            author: "engine".to_owned(),
            since: Timestamp::from_millis(1),
            until: Timestamp::FAR_FUTURE,
            observed: false,
            event: EventId(3),
        }
    }

    #[tokio::test]
    async fn lists_survive_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let never = Never {
            network: "2001:db8::/48".parse().unwrap(),
            comment: "branch office".to_owned(),
            author: "root".to_owned(),
            since: Timestamp::from_millis(2),
            until: None,
            built_in: false,
        };
        {
            let (store, stored) = Store::open(directory.path()).unwrap();
            assert!(stored.blocks.is_empty() && stored.nevers.is_empty());
            store.write(vec![Entry::Change(Record::PutBlock(block("192.0.2.7/32")))]);
            store.write(vec![Entry::Change(Record::PutBlock(block("10.0.0.0/8")))]);
            store.write(vec![Entry::Change(Record::PutNever(never.clone()))]);
            store.write(vec![Entry::Change(Record::DropBlock("10.0.0.0/8".parse().unwrap()))]);
            store.flushed().await.unwrap();
            assert_eq!((store.lost(), store.pending()), (0, 0));
        }
        // The first writer ends when it has noticed that nobody can ask it any more.
        let (_store, stored) = loop {
            match Store::open(directory.path()) {
                Err(StoreError::Taken(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
                result => break result.unwrap(),
            }
        };
        assert_eq!((stored.blocks, stored.nevers), (vec![block("192.0.2.7/32")], vec![never]));
    }

    #[tokio::test]
    async fn a_damaged_database_is_set_aside_and_a_new_one_begun() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gatepost.db");
        let rubbish = "this is not a database, not at all".repeat(100);
        std::fs::write(&path, &rubbish).unwrap();
        let (store, stored) = Store::open(directory.path()).unwrap();
        assert!(stored.blocks.is_empty() && stored.nevers.is_empty());
        store.write(vec![Entry::Change(Record::PutBlock(block("192.0.2.7/32")))]);
        store.flushed().await.unwrap();
        let names = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
        let aside = names.filter(|path| path.to_string_lossy().contains("damaged"));
        let kept: Vec<_> = aside.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        assert_eq!(kept, [rubbish]);
    }

    #[tokio::test]
    async fn what_the_disk_does_not_take_is_said_and_written_later() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(directory.path()).unwrap();
        // Another writer holds the database for longer than SQLite waits.
        let other = rusqlite::Connection::open(directory.path().join("gatepost.db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        store.write(vec![Entry::Change(Record::PutBlock(block("192.0.2.7/32")))]);
        let told = store.flushed().await.unwrap_err().to_string();
        assert!(told.contains("in force"), "{told}");
        assert_eq!((store.lost(), store.pending()), (0, 1));
        other.execute_batch("COMMIT").unwrap();
        store.flushed().await.unwrap();
        assert_eq!((store.lost(), store.pending()), (0, 0));
        let count = "SELECT count(*) FROM block";
        assert_eq!(other.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    }

    fn event(id: u64, network: &str, what: What) -> Event {
        let (id, time) = (EventId(id), Timestamp::from_millis(1_800_000_000_000));
        Event { id, time, network: network.parse().unwrap(), what, answered_by: None }
    }

    #[tokio::test]
    async fn the_event_log_is_asked_by_network_and_kind_and_knows_what_led_to_what() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(directory.path()).unwrap();
        let offence = || What::Offence {
            kind: Kind::RelayDenied,
            number: 1,
            multiplier: 100,
            score: 100,
            detail: "RCPT TO:<x@y>".to_owned(),
            failed_logins: 0,
            service: ServiceName::SMTP,
            account: None,
            reported: None,
        };
        let blocked = What::Blocked {
            origin: Origin::Smtp,
            reason: "score 1000".to_owned(),
            author: "engine".to_owned(),
            until: Timestamp::FAR_FUTURE,
            enforced: true,
            led_by: vec![EventId(1), EventId(3)],
        };
        store.write(vec![Entry::Event(event(1, "192.0.2.7/32", offence()))]);
        store.write(vec![Entry::Event(event(2, "192.0.2.8/32", offence()))]);
        store.write(vec![Entry::Event(event(3, "192.0.2.7/32", offence()))]);
        store.write(vec![Entry::Event(event(4, "192.0.2.7/32", blocked))]);
        store.write(vec![Entry::Event(event(5, "192.0.0.0/16", What::NoRoom))]);
        store.write(vec![Entry::Event(event(6, "2001:db8::7/128", offence()))]);
        store.flushed().await.unwrap();
        let ids = |filter: EventFilter| {
            let events = store.history().events(&filter).unwrap();
            events.iter().map(|event| event.id.0).collect::<Vec<_>>()
        };
        let network =
            |text: &str| EventFilter { network: Some(text.parse().unwrap()), ..EventFilter::default() };
        assert_eq!(ids(EventFilter::default()), [1, 2, 3, 4, 5, 6]);
        assert_eq!(ids(network("192.0.2.7/32")), [1, 3, 4, 5]);
        assert_eq!(ids(network("192.0.2.0/24")), [1, 2, 3, 4, 5]);
        assert_eq!(ids(network("::/0")), [6], "IPv4 is no part of IPv6");
        assert_eq!(ids(EventFilter { kind: Some("blocked".to_owned()), ..network("192.0.2.0/24") }), [4]);
        assert_eq!(ids(EventFilter { limit: Some(2), ..EventFilter::default() }), [5, 6]);
        assert_eq!(
            ids(EventFilter { limit: Some(2), after: Some(EventId(1)), ..EventFilter::default() }),
            [2, 3]
        );
        let unanswered = |since| {
            let events = store.history().unanswered(Timestamp::from_millis(since)).unwrap();
            events.iter().map(|event| event.id.0).collect::<Vec<_>>()
        };
        assert_eq!(unanswered(1_800_000_000_000), [2, 6]);
        assert!(unanswered(1_800_000_000_001).is_empty());
        let behind = store.history().behind(&[EventId(4)], &[EventId(2)]).unwrap();
        let behind: Vec<_> = behind.iter().map(|event| (event.id.0, event.answered_by)).collect();
        assert_eq!(behind, [(1, Some(EventId(4))), (2, None), (3, Some(EventId(4)))]);
    }

    #[tokio::test]
    async fn what_comes_together_is_seen_together() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(directory.path()).unwrap();
        let reader = rusqlite::Connection::open(directory.path().join("gatepost.db")).unwrap();
        let count =
            || reader.query_row("SELECT count(*) FROM block", [], |row| row.get::<_, i64>(0)).unwrap();
        let host = |number: u16| {
            let [high, low] = number.to_be_bytes();
            Entry::Change(Record::PutBlock(block(&format!("10.0.{high}.{low}/32"))))
        };
        // More than one group of the writer's.
        store.write((0..5000).map(host).collect());
        let seen = loop {
            let seen = count();
            if seen > 0 {
                break seen;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(seen, 5000, "part of a batch was visible");
        store.flushed().await.unwrap();
        assert_eq!(store.trouble.queued.load(Ordering::Relaxed), 0, "places in the queue are given back");
    }

    #[test]
    fn a_directory_has_one_owner() {
        let directory = tempfile::tempdir().unwrap();
        let _first = Store::open(directory.path()).unwrap();
        assert!(matches!(Store::open(directory.path()), Err(StoreError::Taken(_))));
    }

    #[test]
    fn a_database_of_a_later_version_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        drop(Store::open(directory.path()).unwrap());
        let database = rusqlite::Connection::open(directory.path().join("gatepost.db")).unwrap();
        database.pragma_update(None, "user_version", 99).unwrap();
        // The first owner's thread may not have noticed yet that it owns no more.
        let opened = loop {
            match Store::open(directory.path()) {
                Err(StoreError::Taken(_)) => std::thread::yield_now(),
                opened => break opened,
            }
        };
        assert!(matches!(opened, Err(StoreError::Newer { found: 99, .. })));
    }
}

//! What must survive the agent: the block list and the never-block list, in SQLite.
//!
//! One thread owns the database and writes in groups: everything that is waiting goes into one transaction. Nobody
//! waits for the disk but an administrator, who is told "done" only when it is ([`Store::flushed`]). When the disk
//! fails, blocking goes on: the loss is counted and logged.

mod schema;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use filter_core::decision::{Block, Never};
use filter_core::engine::Record;
use tokio::sync::oneshot;

use writer::Job;

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
    /// The file is not a database, or is damaged.
    #[error("cannot use the database {path}: {source}; move it away to start with empty lists")]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
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

/// What the database held when it was opened.
pub type Stored = (Vec<Block>, Vec<Never>);

/// The way to the writer; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    jobs: SyncSender<Job>,
    lost: Arc<AtomicU64>,
}

impl Store {
    /// Opens the database in a directory, making both if they are not there, and starts the writer.
    pub fn open(directory: &Path) -> Result<(Self, Stored), StoreError> {
        let in_directory = |source| StoreError::Directory { path: directory.to_path_buf(), source };
        std::fs::create_dir_all(directory).map_err(in_directory)?;
        let path = directory.join("gatepost.db");
        let (database, stored) = schema::open(&path)?;
        let (jobs, queue) = sync_channel(QUEUE_LIMIT);
        let lost = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&lost);
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer::run(database, &queue, &count))
            .map_err(in_directory)?;
        Ok((Self { jobs, lost }, stored))
    }

    /// Hands a change to the writer; never waits.
    pub fn put(&self, record: Record) {
        if self.jobs.try_send(Job::Write(record)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything that was put before is on the disk, or counted as lost.
    pub async fn flushed(&self) {
        let (done, wait) = oneshot::channel();
        if self.jobs.try_send(Job::Flush(done)).is_ok() {
            // The sender is dropped only when the writer has gone, and then there is nothing to wait for.
            let _ = wait.await;
        }
    }

    /// Changes that did not reach the disk.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use filter_core::decision::Origin;
    use filter_core::time::Timestamp;

    use super::*;

    fn block(network: &str) -> Block {
        Block {
            network: network.parse().unwrap(),
            origin: Origin::Smtp,
            reason: "score 1050".to_owned(),
            author: "engine".to_owned(),
            since: Timestamp::from_millis(1),
            until: Timestamp::FAR_FUTURE,
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
            assert_eq!(stored, (vec![], vec![]));
            store.put(Record::PutBlock(block("192.0.2.7/32")));
            store.put(Record::PutBlock(block("10.0.0.0/8")));
            store.put(Record::PutNever(never.clone()));
            store.put(Record::DropBlock("10.0.0.0/8".parse().unwrap()));
            store.flushed().await;
            assert_eq!(store.lost(), 0);
        }
        let (_store, stored) = Store::open(directory.path()).unwrap();
        assert_eq!(stored, (vec![block("192.0.2.7/32")], vec![never]));
    }

    #[test]
    fn what_is_no_database_is_named_with_its_remedy() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(
            directory.path().join("gatepost.db"),
            "this is not a database, not at all".repeat(100),
        )
        .unwrap();
        let error = Store::open(directory.path()).unwrap_err().to_string();
        assert!(error.contains("gatepost.db") && error.contains("move it away"), "{error}");
    }

    #[test]
    fn a_database_of_a_later_version_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        drop(Store::open(directory.path()).unwrap());
        let database = rusqlite::Connection::open(directory.path().join("gatepost.db")).unwrap();
        database.pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(Store::open(directory.path()), Err(StoreError::Newer { found: 99, .. })));
    }
}

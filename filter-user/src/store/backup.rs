//! A copy of the database as it was at one moment, taken while the writer works or without one.
//!
//! The copy appears under its name when it is whole, checked and on the disk; before that there is nothing of that
//! name, or what was there. It is for its owner alone: it says who wrote to whom, and when.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use tempfile::NamedTempFile;

use super::history;

/// How long a database that is being checkpointed is waited for between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// What a copy holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// Entries of the block list.
    pub blocks: u64,
    /// Entries of the never-block list, without built-in ones.
    pub never: u64,
    /// Events of the log.
    pub events: u64,
    /// Its size.
    pub bytes: u64,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Nothing to copy.
    #[error("there is no database {0}; run the agent once, or name its configuration with --config")]
    NoDatabase(PathBuf),
    /// The copy would take something away.
    #[error("{0} is there already; name another file, or use --force to replace it")]
    Exists(PathBuf),
    /// The copy would take the database away.
    #[error("{0} belongs to the database itself; name a file elsewhere")]
    Itself(PathBuf),
    /// Not to be written.
    #[error("cannot write {path}: {source}; name a file in a directory with room that this user may write")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Not to be read, or not to be copied.
    #[error("cannot copy the database {path}: {source}; look at its disk and at that of the copy")]
    Copy {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The database is damaged, and so would be its copy.
    #[error(
        "the database {path} is damaged ({verdict}), and no copy has been made; start the agent again, it sets it aside"
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        verdict: String,
    },
}

impl BackupError {
    /// Whether more permission would help.
    pub fn is_permission(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly};
        match self {
            Self::Write { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            Self::Copy { source, .. } => {
                matches!(source.sqlite_error_code(), Some(CannotOpen | PermissionDenied | ReadOnly))
            }
            Self::NoDatabase(_) | Self::Exists(_) | Self::Itself(_) | Self::Damaged { .. } => false,
        }
    }
}

/// Copies the database of a state directory to a file. Reads and writes the disk.
pub fn backup(directory: &Path, file: &Path, force: bool) -> Result<Copied, BackupError> {
    let path = history::in_directory(directory);
    if !path.exists() {
        return Err(BackupError::NoDatabase(path));
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unwritable = |source| BackupError::Write { path: file.to_path_buf(), source };
    if is_part_of(&path, folder, file) {
        return Err(BackupError::Itself(file.to_path_buf()));
    }
    // Asked before the work, and once more when it is done.
    if !force && file.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(file.to_path_buf()));
    }
    // Made with mode 0600, in the folder of its later name.
    let copy = NamedTempFile::new_in(folder).map_err(unwritable)?;
    let copied = fill(&path, copy.path())?;
    copy.as_file().sync_all().map_err(unwritable)?;
    let bytes = copy.as_file().metadata().map_err(unwritable)?.len();
    let named = if force { copy.persist(file) } else { copy.persist_noclobber(file) };
    named.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists(file.to_path_buf()),
        _ => unwritable(error.error),
    })?;
    // The name, too, must survive a loss of power.
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(unwritable)?;
    Ok(Copied { bytes, ..copied })
}

/// Whether a file is the database, or one of those that SQLite keeps beside it.
fn is_part_of(database: &Path, folder: &Path, file: &Path) -> bool {
    let (Ok(here), Ok(there)) = (database.canonicalize(), folder.canonicalize()) else { return false };
    let file = file.file_name().map_or_else(|| there.clone(), |name| there.join(name));
    let target = file.canonicalize().unwrap_or(file);
    let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", here.display()));
    ["", "-wal", "-shm", "-journal"].into_iter().any(|suffix| target == beside(suffix))
}

fn fill(path: &Path, copy: &Path) -> Result<Copied, BackupError> {
    let fault = |source| BackupError::Copy { path: path.to_path_buf(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(path, flags).map_err(fault)?;
    let mut target = Connection::open(copy).map_err(fault)?;
    // All pages in one step: a step is one reading transaction, which does not hold up the writer; several would
    // begin again each time that it writes.
    let backup = Backup::new(&source, &mut target).map_err(fault)?;
    backup.run_to_completion(i32::MAX, PAUSE, None).map_err(fault)?;
    drop(backup);
    // One file, which can be carried away without what would lie beside it.
    target.pragma_update(None, "journal_mode", "DELETE").map_err(fault)?;
    let verdict: String = target.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(fault)?;
    if verdict != "ok" {
        return Err(BackupError::Damaged { path: path.to_path_buf(), verdict });
    }
    let count = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        target.query_row(&sql, [], |row| row.get::<_, i64>(0)).map(|count| u64::try_from(count).unwrap_or(0))
    };
    let tables = [count("block"), count("never"), count("event")];
    let [blocks, never, events] = tables.map(|count| count.map_err(fault));
    let copied = Copied { blocks: blocks?, never: never?, events: events?, bytes: 0 };
    target.close().map_err(|(_, source)| fault(source))?;
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use filter_core::engine::Record;
    use filter_core::event::EventId;

    use super::super::{Entry, Store};
    use super::*;

    fn block(host: u8) -> Entry {
        Entry::Change(Record::PutBlock(filter_core::decision::Block {
            network: filter_core::client::host([192, 0, 2, host].into()),
            origin: filter_core::decision::Origin::Manual,
            reason: "spam".to_owned(),
            author: "root".to_owned(),
            since: filter_core::time::Timestamp::from_millis(1),
            until: filter_core::time::Timestamp::FAR_FUTURE,
            observed: false,
            event: EventId(u64::from(host)),
        }))
    }

    #[tokio::test]
    async fn a_copy_is_one_file_for_its_owner_and_a_store_of_its_own() {
        let (state, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (store, _) = Store::open(state.path()).unwrap();
        store.write((1..=9).map(block).collect());
        store.flushed().await.unwrap();
        let file = elsewhere.path().join("gatepost.db");
        let copied = backup(state.path(), &file, false).unwrap();
        assert_eq!((copied.blocks, copied.never, copied.events), (9, 0, 0));
        assert_eq!(copied.bytes, fs::metadata(&file).unwrap().len());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1, "one file");
        store.write(vec![block(10)]);
        store.flushed().await.unwrap();
        let (_restored, stored) = Store::open(elsewhere.path()).unwrap();
        assert_eq!(stored.blocks.len(), 9);
    }

    #[test]
    fn nothing_is_overwritten_without_force_and_never_the_database() {
        let (state, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = elsewhere.path().join("copy.db");
        assert!(matches!(backup(state.path(), &file, false), Err(BackupError::NoDatabase(_))));
        let _store = Store::open(state.path()).unwrap();
        fs::write(&file, "precious").unwrap();
        assert!(matches!(backup(state.path(), &file, false), Err(BackupError::Exists(_))));
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
        backup(state.path(), &file, true).unwrap();
        assert!(fs::read(&file).unwrap().starts_with(b"SQLite format 3"));
        std::os::unix::fs::symlink(state.path().join("gatepost.db"), elsewhere.path().join("link")).unwrap();
        for own in [
            state.path().join("gatepost.db"),
            state.path().join("gatepost.db-wal"),
            elsewhere.path().join("link"),
        ] {
            assert!(
                matches!(backup(state.path(), &own, true), Err(BackupError::Itself(_))),
                "{}",
                own.display()
            );
        }
        let nowhere = elsewhere.path().join("missing/copy.db");
        assert!(matches!(backup(state.path(), &nowhere, false), Err(BackupError::Write { .. })));
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 2, "a failure leaves something");
    }
}

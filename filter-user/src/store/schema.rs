//! The layout of the database, and how its rows become decisions again.

use std::path::{Path, PathBuf};

use filter_core::decision::{Block, Never, Origin};
use filter_core::event::EventId;
use filter_core::time::Timestamp;
use ipnet::IpNet;
use rusqlite::types::Type;
use rusqlite::{Connection, Row};

use super::readable::readable;
use super::{StoreError, Stored, history};

/// Each step brings the layout from its index to the next; a step that has been released is never changed.
const MIGRATIONS: [&str; 5] = [
    "
    CREATE TABLE block (
        network TEXT PRIMARY KEY,
        origin  TEXT NOT NULL,
        reason  TEXT NOT NULL,
        author  TEXT NOT NULL,
        since   INTEGER NOT NULL, -- milliseconds since 1970, UTC
        until   INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE never (
        network TEXT PRIMARY KEY,
        comment TEXT NOT NULL,
        author  TEXT NOT NULL,
        since   INTEGER NOT NULL,
        until   INTEGER          -- NULL: for good
    ) STRICT;
",
    "ALTER TABLE block ADD COLUMN observed INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE block ADD COLUMN event INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE event (
        id          INTEGER PRIMARY KEY,
        time        INTEGER NOT NULL,
        network     TEXT NOT NULL,
        first       BLOB NOT NULL,     -- 4 or 6, and its first address
        kind        TEXT NOT NULL,
        answered_by INTEGER,
        what        TEXT NOT NULL      -- JSON
    ) STRICT;
    CREATE INDEX event_by_first ON event (first, id);
    CREATE INDEX event_by_network ON event (network, id);
    CREATE INDEX event_by_kind ON event (kind, id) WHERE kind <> 'offence' AND kind <> 'dropped';
    CREATE INDEX event_by_answer ON event (answered_by) WHERE answered_by IS NOT NULL;",
    "CREATE TABLE user (
        name     TEXT PRIMARY KEY,
        role     TEXT NOT NULL,
        author   TEXT NOT NULL,
        since    INTEGER NOT NULL,
        password TEXT NOT NULL     -- Argon2id, in the PHC notation
    ) STRICT;
    CREATE TABLE token (
        name   TEXT PRIMARY KEY,
        role   TEXT NOT NULL,
        author TEXT NOT NULL,
        since  INTEGER NOT NULL,
        until  INTEGER,            -- NULL: for good
        digest BLOB NOT NULL       -- SHA-256
    ) STRICT;
    CREATE TABLE audit (
        id     INTEGER PRIMARY KEY,
        time   INTEGER NOT NULL,
        author TEXT NOT NULL,
        origin TEXT NOT NULL,
        what   TEXT NOT NULL
    ) STRICT;",
    "CREATE TABLE mark (
        source   TEXT PRIMARY KEY, -- a log file, or `journal`
        position TEXT NOT NULL     -- how far it has been read, as its reader writes it
    ) STRICT;",
    "CREATE INDEX event_by_service ON event (json_extract(what, '$.service') COLLATE NOCASE, id) WHERE kind = 'offence';
    CREATE INDEX event_by_account ON event (json_extract(what, '$.account') COLLATE NOCASE, id)
        WHERE kind = 'offence' AND json_extract(what, '$.account') IS NOT NULL;
    CREATE INDEX event_by_drop ON event (id) WHERE kind = 'dropped';",
];

/// Opens the database, brings its layout up to date and reads both lists. One that is damaged is set aside, and the
/// lists begin empty: the kernel still holds the blocks, and a gateway without an agent helps nobody.
pub(super) fn open(path: &Path) -> Result<(Connection, Stored), StoreError> {
    match open_sound(path) {
        Err(StoreError::Database { source, .. }) if is_damage(&source) => {
            let aside = set_aside(path)?;
            tracing::error!(error = %source, aside = %aside.display(), "the database is damaged and has been set aside");
            open_sound(path)
        }
        result => result,
    }
}

fn open_sound(path: &Path) -> Result<(Connection, Stored), StoreError> {
    let fault = |source| StoreError::Database { path: path.to_path_buf(), source };
    let mut database = Connection::open(path).map_err(fault)?;
    database.pragma_update(None, "journal_mode", "WAL").map_err(fault)?;
    let verdict: String =
        database.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(fault)?;
    if verdict != "ok" {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(fault(rusqlite::Error::SqliteFailure(code, Some(verdict))));
    }
    let found: i64 = database.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fault)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::Newer { path: path.to_path_buf(), found, known });
    }
    let transaction = database.transaction().map_err(fault)?;
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step).map_err(fault)?;
    }
    transaction.pragma_update(None, "user_version", known).map_err(fault)?;
    transaction.commit().map_err(fault)?;
    let stored = read(&database).map_err(fault)?;
    Ok((database, stored))
}

/// Reads both lists through a connection that need not write; none: the layout is one of another version.
pub(super) fn read_only(database: &Connection) -> rusqlite::Result<Result<Stored, i64>> {
    let found: i64 = database.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if usize::try_from(found) == Ok(MIGRATIONS.len()) { read(database).map(Ok) } else { Ok(Err(found)) }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

/// Renames the database and what SQLite keeps beside it.
fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let now = crate::clock::now().wall.as_millis();
    let named = |suffix: &str| PathBuf::from(format!("{}.damaged-{now}{suffix}", path.display()));
    for suffix in ["", "-wal", "-shm"] {
        let from = PathBuf::from(format!("{}{suffix}", path.display()));
        match std::fs::rename(&from, named(suffix)) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Directory { path: from, source });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(named(""))
}

/// Both lists.
pub(super) fn lists(database: &Connection) -> rusqlite::Result<(Vec<Block>, Vec<Never>)> {
    let mut blocks = database
        .prepare("SELECT network, origin, reason, author, since, until, observed, event FROM block")?;
    let blocks = readable(blocks.query_map([], block_of)?)?;
    let mut nevers = database.prepare("SELECT network, comment, author, since, until FROM never")?;
    let nevers = readable(nevers.query_map([], never_of)?)?;
    Ok((blocks, nevers))
}

fn read(database: &Connection) -> rusqlite::Result<Stored> {
    let (blocks, nevers) = lists(database)?;
    let last: i64 = database.query_row("SELECT coalesce(max(id), 0) FROM event", [], |row| row.get(0))?;
    let past = history::past_blocks(database)?;
    Ok(Stored { blocks, nevers, last_event: EventId(u64::try_from(last).unwrap_or(0)), past })
}

fn block_of(row: &Row<'_>) -> rusqlite::Result<Block> {
    Ok(Block {
        network: network_of(row)?,
        origin: match row.get_ref(1)?.as_str()? {
            "smtp" => Origin::Smtp,
            "login" => Origin::Login,
            "feed" => Origin::Feed,
            _ => Origin::Manual,
        },
        reason: row.get(2)?,
        author: row.get(3)?,
        since: Timestamp::from_millis(row.get(4)?),
        until: Timestamp::from_millis(row.get(5)?),
        observed: row.get(6)?,
        event: EventId(u64::try_from(row.get::<_, i64>(7)?).unwrap_or(0)),
    })
}

fn never_of(row: &Row<'_>) -> rusqlite::Result<Never> {
    Ok(Never {
        network: network_of(row)?,
        comment: row.get(1)?,
        author: row.get(2)?,
        since: Timestamp::from_millis(row.get(3)?),
        until: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_millis),
        built_in: false,
    })
}

fn network_of(row: &Row<'_>) -> rusqlite::Result<IpNet> {
    let text: String = row.get(0)?;
    text.parse().map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as its version left it.
    fn database_of(version: usize, path: &Path) {
        let database = Connection::open(path).unwrap();
        for step in &MIGRATIONS[..version] {
            database.execute_batch(step).unwrap();
        }
        database.pragma_update(None, "user_version", i64::try_from(version).unwrap()).unwrap();
        let rows = "INSERT INTO block (network, origin, reason, author, since, until)
                    VALUES ('192.0.2.7/32', 'smtp', 'score 1050', 'engine', 1, 2);
                    INSERT INTO never (network, comment, author, since, until)
                    VALUES ('2001:db8::/48', 'branch office', 'root', 3, NULL);";
        database.execute_batch(rows).unwrap();
    }

    #[test]
    fn a_database_of_every_earlier_version_is_brought_up_to_date() {
        for version in 1..=MIGRATIONS.len() {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("gatepost.db");
            database_of(version, &path);
            for _ in 0..2 {
                let (database, stored) = open(&path).unwrap();
                let found: i64 = database.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
                assert_eq!(usize::try_from(found), Ok(MIGRATIONS.len()), "from version {version}");
                let [block] = stored.blocks.as_slice() else { panic!("{:?}", stored.blocks) };
                let [never] = stored.nevers.as_slice() else { panic!("{:?}", stored.nevers) };
                assert_eq!((block.reason.as_str(), block.until.as_millis()), ("score 1050", 2));
                assert_eq!((never.comment.as_str(), never.until), ("branch office", None));
                assert!(!block.observed && block.event == EventId(0));
                for table in ["event", "user", "token", "audit"] {
                    let count = format!("SELECT count(*) FROM {table}");
                    assert_eq!(database.query_row(&count, [], |row| row.get::<_, i64>(0)), Ok(0), "{table}");
                }
            }
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is set aside");
        }
    }

    #[test]
    fn a_database_of_a_later_version_is_left_alone_and_the_remedy_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gatepost.db");
        database_of(MIGRATIONS.len(), &path);
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let error = open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
        assert!(error.to_string().contains("install the version that wrote it"), "{error}");
    }
}

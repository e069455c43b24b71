//! The layout of the database, and how its rows become decisions again.

use std::path::Path;

use filter_core::decision::{Block, Never, Origin};
use filter_core::time::Timestamp;
use ipnet::IpNet;
use rusqlite::types::Type;
use rusqlite::{Connection, Row};

use super::{StoreError, Stored};

/// Each step brings the layout from its index to the next; a step that has been released is never changed.
const MIGRATIONS: [&str; 1] = ["
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
"];

/// Opens the database, brings its layout up to date and reads both lists.
pub(super) fn open(path: &Path) -> Result<(Connection, Stored), StoreError> {
    let fault = |source| StoreError::Database { path: path.to_path_buf(), source };
    let mut database = Connection::open(path).map_err(fault)?;
    database.pragma_update(None, "journal_mode", "WAL").map_err(fault)?;
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

fn read(database: &Connection) -> rusqlite::Result<Stored> {
    let mut blocks = database.prepare("SELECT network, origin, reason, author, since, until FROM block")?;
    let blocks = blocks.query_map([], block_of)?.collect::<Result<_, _>>()?;
    let mut nevers = database.prepare("SELECT network, comment, author, since, until FROM never")?;
    let nevers = nevers.query_map([], never_of)?.collect::<Result<_, _>>()?;
    Ok((blocks, nevers))
}

fn block_of(row: &Row<'_>) -> rusqlite::Result<Block> {
    Ok(Block {
        network: network_of(row)?,
        origin: match row.get_ref(1)?.as_str()? {
            "smtp" => Origin::Smtp,
            _ => Origin::Manual,
        },
        reason: row.get(2)?,
        author: row.get(3)?,
        since: Timestamp::from_millis(row.get(4)?),
        until: Timestamp::from_millis(row.get(5)?),
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

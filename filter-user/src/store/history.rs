//! The event log in the database: written by the one writer, read by anybody through a connection of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use filter_core::decision::{Block, Never, Origin};
use filter_core::engine::PAST_LIMIT;
use filter_core::event::{Event, EventId, What};
use filter_core::time::Timestamp;
use ipnet::IpNet;
use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, Row, Transaction, params, params_from_iter};
use serde::{Deserialize, Serialize};

use super::readable::readable;
use super::search::{Search, bytes, number};
use super::{StoreError, Stored, schema};

/// How long an event is kept.
const KEPT_FOR: Duration = Duration::from_hours(24 * 30);
/// Events that are kept at most; the oldest go first.
pub const EVENTS_LIMIT: u64 = 1_000_000;
/// Events of one answer.
pub const PAGE_LIMIT: u32 = 10_000;

/// Which events are wanted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventFilter {
    /// Of addresses in this network, and of networks around it.
    pub network: Option<IpNet>,
    /// Of this kind, such as `blocked`.
    pub kind: Option<String>,
    /// Offences at this service.
    pub service: Option<String>,
    /// Offences about this account, in capital letters or small ones.
    pub account: Option<String>,
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Later than this event, and from there on; none: the latest.
    pub after: Option<EventId>,
    /// Earlier than this event.
    pub before: Option<EventId>,
    /// How many at most.
    pub limit: Option<u32>,
}

/// Reads the event log.
#[derive(Debug, Clone)]
pub struct History {
    path: PathBuf,
}

impl History {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Bytes of the files that the log is part of.
    pub(super) fn size(&self) -> u64 {
        let waiting = self.path.with_extension("db-wal");
        [&self.path, &waiting].into_iter().filter_map(|path| Some(std::fs::metadata(path).ok()?.len())).sum()
    }

    /// The log of a state directory, with an agent or without, and both lists as they are now. Writes nothing.
    pub fn open(directory: &Path) -> Result<(Self, Stored), StoreError> {
        let history = Self::new(in_directory(directory));
        // SQLite does not tell the one who may not from the one who looks in the wrong place.
        File::open(&history.path)
            .map_err(|source| StoreError::NoLog { path: history.path.clone(), source })?;
        let fault = |source| StoreError::Database { path: history.path.clone(), source };
        let database = history.connect().map_err(fault)?;
        match schema::read_only(&database).map_err(fault)? {
            Ok(stored) => Ok((history, stored)),
            Err(found) => Err(StoreError::OtherLayout { path: history.path, found }),
        }
    }

    /// Both lists as they are now, without built-in entries. Reads the disk.
    pub fn lists(&self) -> rusqlite::Result<(Vec<Block>, Vec<Never>)> {
        schema::lists(&self.connect()?)
    }

    /// The events that a filter lets through, oldest first. Reads the disk.
    pub fn events(&self, filter: &EventFilter) -> rusqlite::Result<Vec<Event>> {
        let database = self.connect()?;
        let first = filter.since.map(|since| first_since(&database, since.as_millis())).transpose()?;
        let Search { sql, values } = Search::new(filter, first);
        let mut events = {
            let mut statement = database.prepare(&sql)?;
            readable(statement.query_map(params_from_iter(values), event_of)?)?
        };
        events.sort_by_key(|event| event.id);
        Ok(events)
    }

    /// What clients did that nothing answers for yet, from the latest back to a time, oldest first. Reads the disk.
    pub fn unanswered(&self, since: Timestamp) -> rusqlite::Result<Vec<Event>> {
        let sql = "SELECT id, time, network, what, answered_by, kind FROM event ORDER BY id DESC";
        let database = self.connect()?;
        let mut statement = database.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            // The log is in the order of time, as far as the wall clock is; so the rest of it need not be read.
            if row.get::<_, i64>(1)? < since.as_millis() {
                break;
            }
            let by_client = matches!(row.get_ref(5)?.as_str()?, "offence" | "succeeded");
            if by_client && row.get::<_, Option<i64>>(4)?.is_none() {
                events.push(event_of(row));
            }
        }
        events.reverse();
        readable(events)
    }

    /// How far each log has been read. Reads the disk.
    pub fn marks(&self) -> rusqlite::Result<Vec<(String, String)>> {
        let database = self.connect()?;
        let mut marks = database.prepare("SELECT source, position FROM mark")?;
        marks.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    }

    /// The events that others answer for, and these events themselves, oldest first. Reads the disk.
    pub fn behind(&self, answers: &[EventId], events: &[EventId]) -> rusqlite::Result<Vec<Event>> {
        let marks = |count: usize| vec!["?"; count].join(", ");
        let sql = format!(
            "SELECT id, time, network, what, answered_by FROM event \
             WHERE answered_by IN ({}) OR id IN ({}) ORDER BY id LIMIT {PAGE_LIMIT}",
            marks(answers.len()),
            marks(events.len())
        );
        self.query(&sql, params_from_iter(answers.iter().chain(events).map(|id| number(*id))))
    }

    fn query(&self, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<Vec<Event>> {
        readable(self.connect()?.prepare(sql)?.query_map(values, event_of)?)
    }

    pub(super) fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(&self.path, flags)
    }
}

/// An event from which on all are of that time; the log is in the order of time, as far as the wall clock is, and times have no index.
pub(super) fn first_since(database: &Connection, since: i64) -> rusqlite::Result<i64> {
    let (mut low, mut high): (i64, i64) =
        database.query_row("SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM event", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let mut statement = database.prepare("SELECT time FROM event WHERE id >= ?1 ORDER BY id LIMIT 1")?;
    while low < high {
        let middle = low + (high - low) / 2;
        if statement.query_row([middle], |row| row.get::<_, i64>(0))? < since {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// Enters an event, and itself into those that it answers for.
pub(super) fn insert(transaction: &Transaction<'_>, event: &Event) -> rusqlite::Result<()> {
    let what = serde_json::to_string(&event.what)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let sql = "INSERT INTO event (id, time, network, first, kind, answered_by, what) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    transaction.prepare_cached(sql)?.execute(params![
        number(event.id),
        event.time.as_millis(),
        event.network.to_string(),
        bytes(event.network.network()),
        event.what.name(),
        event.answered_by.map(number),
        what,
    ])?;
    let mut answer = transaction.prepare_cached("UPDATE event SET answered_by = ?1 WHERE id = ?2")?;
    for answered in event.what.answers() {
        answer.execute([number(event.id), number(*answered)])?;
    }
    Ok(())
}

/// Automatic blocks that were enforced, oldest first: the memory for repeat offenders.
pub(super) fn past_blocks(database: &Connection) -> rusqlite::Result<Vec<(IpNet, Timestamp)>> {
    let sql = "SELECT id, time, network, what, answered_by FROM event WHERE kind = 'blocked' ORDER BY id DESC LIMIT ?1";
    let mut statement = database.prepare(sql)?;
    let limit = i64::try_from(PAST_LIMIT).unwrap_or(i64::MAX);
    let events = readable(statement.query_map([limit], event_of)?)?;
    let automatic = |event: &Event| {
        matches!(event.what, What::Blocked { origin: Origin::Smtp | Origin::Login, enforced: true, .. })
    };
    Ok(events.into_iter().rev().filter(automatic).map(|event| (event.network, event.time)).collect())
}

/// Forgets events that are too old, or too many.
pub(super) fn prune(database: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let newest: i64 = database.query_row("SELECT coalesce(max(id), 0) FROM event", [], |row| row.get(0))?;
    let oldest = newest.saturating_sub(i64::try_from(EVENTS_LIMIT).unwrap_or(i64::MAX));
    let sql = "DELETE FROM event WHERE id <= ?1 OR time < ?2";
    database.execute(sql, [oldest, now.before(KEPT_FOR).as_millis()]).map(drop)
}

fn event_of(row: &Row<'_>) -> rusqlite::Result<Event> {
    let unreadable = |column, error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error);
    let network: String = row.get(2)?;
    let what: String = row.get(3)?;
    Ok(Event {
        id: id(row.get(0)?),
        time: Timestamp::from_millis(row.get(1)?),
        network: network.parse().map_err(|error| unreadable(2, Box::new(error)))?,
        what: serde_json::from_str(&what).map_err(|error| unreadable(3, Box::new(error)))?,
        answered_by: row.get::<_, Option<i64>>(4)?.map(id),
    })
}

fn id(number: i64) -> EventId {
    EventId(u64::try_from(number).unwrap_or(0))
}

/// Where the log of a state directory is.
pub(super) fn in_directory(directory: &Path) -> PathBuf {
    directory.join("gatepost.db")
}

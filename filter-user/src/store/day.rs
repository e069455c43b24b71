//! What happened how often in the last day: each event is read once, and later only those that have come since. One that stands for
//! several counts as several.
//!
//! A day may hold a million events, which takes SQLite a second to count.

use std::collections::BTreeMap;
use std::time::Duration;

use filter_core::time::Timestamp;

use super::History;
use super::history::first_since;

/// How finely it is counted, in milliseconds.
const SLOT: i64 = 300_000;
/// Slots of an hour.
const SLOTS_PER_HOUR: i64 = 12;
/// Hours that are counted.
pub const HOURS: usize = 24;
/// The same as a span.
const SPAN: Duration = Duration::from_hours(24);

/// The events of the last day, by slot and by what happened; offences by their kind.
#[derive(Debug, Default)]
pub struct Day {
    counts: BTreeMap<(i64, String), u64>,
    /// The last event that is counted; none: nothing has been read.
    last: Option<i64>,
}

impl Day {
    /// Counts what has come since the last time. Reads the disk.
    pub fn read(&mut self, history: &History, now: Timestamp) -> rusqlite::Result<()> {
        let since = now.before(SPAN).as_millis();
        let database = history.connect()?;
        let last = match self.last {
            Some(last) => last,
            None => first_since(&database, since)?.saturating_sub(1),
        };
        let sql = "SELECT time / ?3 AS slot, coalesce(json_extract(what, '$.kind'), kind) AS name, \
                   sum(coalesce(json_extract(what, '$.reported.count'), 1)), max(id) \
                   FROM event WHERE id > ?1 AND time >= ?2 GROUP BY slot, name";
        let mut statement = database.prepare(sql)?;
        let mut rows = statement.query([last, since, SLOT])?;
        let mut newest = last;
        while let Some(row) = rows.next()? {
            let count = u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
            *self.counts.entry((row.get(0)?, row.get(1)?)).or_default() += count;
            newest = newest.max(row.get(3)?);
        }
        self.last = Some(newest);
        let oldest = since / SLOT;
        self.counts.retain(|(slot, _), _| *slot >= oldest);
        Ok(())
    }

    /// How many there were in each of the last hours, the oldest first.
    pub fn hours(&self, now: Timestamp) -> BTreeMap<String, Vec<u64>> {
        let current = now.as_millis() / SLOT;
        let mut hours: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for ((slot, name), count) in &self.counts {
            let ago = usize::try_from((current - slot).max(0) / SLOTS_PER_HOUR).unwrap_or(HOURS);
            let Some(place) = (HOURS - 1).checked_sub(ago) else { continue };
            let series = hours.entry(name.clone()).or_insert_with(|| vec![0; HOURS]);
            if let Some(hour) = series.get_mut(place) {
                *hour += count;
            }
        }
        hours
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Entry, Store};
    use filter_core::event::{Event, EventId, Reported, What};
    use filter_core::offence::Kind;
    use filter_core::report::Source;
    use filter_core::service::ServiceName;

    fn event(id: u64, time: Timestamp, what: What) -> Entry {
        let network = "192.0.2.7/32".parse().unwrap();
        Entry::Event(Event { id: EventId(id), time, network, what, answered_by: None })
    }

    #[tokio::test]
    async fn an_event_is_counted_once_in_its_hour_and_forgotten_after_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path()).unwrap();
        let now = Timestamp::from_millis(1_800_000_000_000);
        let ago = |minutes: u64| now.before(Duration::from_mins(minutes));
        let by = || What::Unblocked { by: None, forgave: Vec::new() };
        store.write(vec![
            event(1, ago(25 * 60), What::NoRoom),
            event(2, ago(90), by()),
            event(3, ago(89), by()),
            event(4, ago(1), What::NoRoom),
        ]);
        store.flushed().await.unwrap();
        let mut day = Day::default();
        for _ in 0..2 {
            day.read(store.history(), now).unwrap();
            let hours = day.hours(now);
            assert_eq!(hours["unblocked"][HOURS - 2], 2);
            assert_eq!((hours["no-room"][HOURS - 1], hours["no-room"].iter().sum::<u64>()), (1, 1));
        }
        store.write(vec![event(5, now, by())]);
        store.flushed().await.unwrap();
        day.read(store.history(), now).unwrap();
        assert_eq!(day.hours(now)["unblocked"].iter().sum::<u64>(), 3);
        let overflow = What::Offence {
            kind: Kind::SessionOverflow,
            number: Kind::SessionOverflow.number(),
            multiplier: 0,
            score: 0,
            detail: String::new(),
            failed_logins: 0,
            service: ServiceName::SMTP,
            account: None,
            reported: Some(Reported {
                source: Source::Session,
                happened: None,
                weight: None,
                count: 10,
                is_local: false,
            }),
        };
        store.write(vec![event(6, now, overflow)]);
        store.flushed().await.unwrap();
        day.read(store.history(), now).unwrap();
        assert_eq!(day.hours(now)["session-overflow"][HOURS - 1], 10);
        let tomorrow = now.after(SPAN + Duration::from_hours(1));
        day.read(store.history(), tomorrow).unwrap();
        assert!(day.hours(tomorrow).is_empty());
    }
}

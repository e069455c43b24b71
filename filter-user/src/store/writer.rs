//! The one thread that writes to the database, and tries again while the disk does not let it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use filter_core::engine::Record;
use filter_core::event::Event;
use rusqlite::{Connection, Transaction, params};
use tokio::sync::oneshot;

use super::{AccessRecord, NotDurable, QUEUE_LIMIT, access, history};
use crate::clock;
use crate::telemetry::histogram;

/// Changes that share one transaction; more would only make the first ones wait. What comes in one job stays together.
const GROUP_LIMIT: usize = 1024;

/// How long a disk that has failed is left alone.
const RETRY: Duration = Duration::from_secs(2);

/// Events between two looks at the length of the log.
const PRUNE_EVERY: usize = 10_000;

/// What the writer is asked to do.
pub(super) enum Job {
    Write(Vec<Entry>),
    /// Answer when everything before is on the disk, or why it is not.
    Flush(oneshot::Sender<Result<(), NotDurable>>),
}

/// Something to be written.
#[derive(Debug)]
pub enum Entry {
    /// A change of the lists.
    Change(Record),
    /// An event of the log.
    Event(Event),
    /// Who may come in, and who did what.
    Access(AccessRecord),
}

/// What the writer cannot do at the moment, and how much it has not done.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// Changes that wait for the disk.
    pub(super) pending: AtomicU64,
    /// Changes that never reached it.
    pub(super) lost: AtomicU64,
    /// Events that never reached it.
    pub(super) events_lost: AtomicU64,
    /// Everything that is on its way to the writer.
    pub(super) queued: AtomicUsize,
}

impl Trouble {
    /// An entry that had a place in the queue does not reach the writer.
    pub(super) fn lose(&self, entry: &Entry) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
        self.count_lost(entry);
    }

    fn count_lost(&self, entry: &Entry) {
        let lost = if matches!(entry, Entry::Event(_)) { &self.events_lost } else { &self.lost };
        lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes until the last sender has gone.
pub(super) fn run(mut database: Connection, queue: &Receiver<Job>, trouble: &Trouble) {
    let mut pending: VecDeque<Entry> = VecDeque::new();
    // So that the first events after a start shorten a log that has aged meanwhile.
    let mut written = PRUNE_EVERY;
    loop {
        let first = match queue.recv_timeout(if pending.is_empty() { Duration::MAX } else { RETRY }) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let (mut waiting, mut group) = (Vec::new(), 0);
        let mut next = first;
        while let Some(job) = next {
            match job {
                Job::Write(entries) => {
                    group += entries.len();
                    trouble.queued.fetch_sub(entries.len(), Ordering::Relaxed);
                    written += entries.iter().filter(|entry| matches!(entry, Entry::Event(_))).count();
                    pending.extend(entries);
                }
                Job::Flush(done) => {
                    group += 1;
                    waiting.push(done);
                }
            }
            next = if group < GROUP_LIMIT { queue.try_recv().ok() } else { None };
        }
        let begun = (!pending.is_empty()).then(Instant::now);
        let outcome = write_all(&mut database, &mut pending, trouble);
        if let Some(begun) = begun {
            histogram::STORE_COMMIT.observe(begun.elapsed());
        }
        if written >= PRUNE_EVERY && outcome.is_ok() {
            written = 0;
            if let Err(error) = history::prune(&database, clock::now().wall) {
                tracing::warn!(%error, "the event log cannot be shortened; it is tried again");
            }
        }
        let had_trouble = trouble.pending.swap(pending.len() as u64, Ordering::Relaxed) > 0;
        match &outcome {
            // Once per spell of trouble: a full disk would otherwise fill the log as well.
            Err(error) if !had_trouble => {
                tracing::error!(%error, "the store cannot be written; blocking goes on, and it is tried again");
            }
            Ok(()) if had_trouble => tracing::info!("the store can be written again; nothing waits any more"),
            Ok(()) | Err(_) => {}
        }
        let outcome = outcome.map_err(|error| NotDurable(error.to_string()));
        for done in waiting {
            // Whoever asked may have stopped waiting.
            let _ = done.send(outcome.clone());
        }
    }
}

/// Writes what waits; what stays waits for a disk that works.
fn write_all(
    database: &mut Connection,
    pending: &mut VecDeque<Entry>,
    trouble: &Trouble,
) -> rusqlite::Result<()> {
    let Err(error) = write(database, pending.make_contiguous()) else {
        pending.clear();
        return Ok(());
    };
    if !is_about_the_record(&error) {
        shed(pending, QUEUE_LIMIT, trouble);
        return Err(error);
    }
    // One record that the database will never take must not hold up the others.
    while let Some(record) = pending.front() {
        match write(database, std::slice::from_ref(record)) {
            Ok(()) => {}
            Err(error) if is_about_the_record(&error) => {
                tracing::error!(%error, ?record, "a change cannot be stored and is lost at a restart");
                trouble.count_lost(record);
            }
            Err(error) => return Err(error),
        }
        pending.pop_front();
    }
    Ok(())
}

/// Gives up what is too much to wait: the oldest events first, for without a change a block would not outlive the agent.
fn shed(pending: &mut VecDeque<Entry>, limit: usize, trouble: &Trouble) {
    let mut too_many = pending.len().saturating_sub(limit);
    if too_many == 0 {
        return;
    }
    pending.retain(|entry| {
        let goes = too_many > 0 && matches!(entry, Entry::Event(_));
        if goes {
            too_many -= 1;
            trouble.count_lost(entry);
        }
        !goes
    });
    for entry in pending.drain(..too_many.min(pending.len())) {
        trouble.count_lost(&entry);
    }
}

fn is_about_the_record(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
    matches!(error.sqlite_error_code(), Some(ConstraintViolation | TooBig | TypeMismatch))
}

fn write(database: &mut Connection, entries: &[Entry]) -> rusqlite::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let transaction = database.transaction()?;
    for entry in entries {
        match entry {
            Entry::Change(record) => apply(&transaction, record)?,
            Entry::Event(event) => history::insert(&transaction, event)?,
            Entry::Access(record) => access::apply(&transaction, record)?,
        }
    }
    transaction.commit()
}

fn apply(transaction: &Transaction<'_>, record: &Record) -> rusqlite::Result<()> {
    match record {
        Record::PutBlock(block) => {
            let sql = "INSERT OR REPLACE INTO block (network, origin, reason, author, since, until, observed, event) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            transaction.prepare_cached(sql)?.execute(params![
                block.network.to_string(),
                block.origin.name(),
                block.reason,
                block.author,
                block.since.as_millis(),
                block.until.as_millis(),
                block.observed,
                i64::try_from(block.event.0).unwrap_or(i64::MAX),
            ])
        }
        Record::DropBlock(network) => {
            transaction.prepare_cached("DELETE FROM block WHERE network = ?1")?.execute([network.to_string()])
        }
        Record::PutNever(never) => {
            let sql = "INSERT OR REPLACE INTO never (network, comment, author, since, until) \
                       VALUES (?1, ?2, ?3, ?4, ?5)";
            transaction.prepare_cached(sql)?.execute(params![
                never.network.to_string(),
                never.comment,
                never.author,
                never.since.as_millis(),
                never.until.map(filter_core::time::Timestamp::as_millis),
            ])
        }
        Record::DropNever(network) => {
            transaction.prepare_cached("DELETE FROM never WHERE network = ?1")?.execute([network.to_string()])
        }
    }
    .map(drop)
}

#[cfg(test)]
mod tests {
    use filter_core::event::{EventId, What};
    use filter_core::time::Timestamp;

    use super::*;

    #[test]
    fn events_give_way_to_changes_and_each_is_counted_as_what_it_is() {
        let network = "192.0.2.7/32".parse().unwrap();
        let event = |id| {
            let (id, time) = (EventId(id), Timestamp::from_millis(0));
            Entry::Event(Event { id, time, network, what: What::NoRoom, answered_by: None })
        };
        let change = || Entry::Change(Record::DropBlock(network));
        let mut pending: VecDeque<_> = [change(), event(1), event(2), change(), event(3)].into();
        let trouble = Trouble::default();
        shed(&mut pending, 3, &trouble);
        assert!(matches!(pending.make_contiguous(), [Entry::Change(_), Entry::Change(_), Entry::Event(_)]));
        shed(&mut pending, 1, &trouble);
        assert!(matches!(pending.make_contiguous(), [Entry::Change(_)]));
        let lost = |count: &AtomicU64| count.load(Ordering::Relaxed);
        assert_eq!((lost(&trouble.events_lost), lost(&trouble.lost)), (3, 1));
    }
}

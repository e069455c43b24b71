//! The one thread that writes to the database.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use filter_core::engine::Record;
use rusqlite::{Connection, Transaction, params};
use tokio::sync::oneshot;

/// Changes that share one transaction; more would only make the first ones wait.
const GROUP_LIMIT: usize = 1024;

/// What the writer is asked to do.
pub(super) enum Job {
    Write(Record),
    Flush(oneshot::Sender<()>),
}

/// Writes until the last sender has gone.
pub(super) fn run(mut database: Connection, queue: &Receiver<Job>, lost: &AtomicU64) {
    while let Ok(first) = queue.recv() {
        let mut records = Vec::new();
        let mut waiting = Vec::new();
        let more = std::iter::from_fn(|| queue.try_recv().ok());
        for job in std::iter::once(first).chain(more).take(GROUP_LIMIT) {
            match job {
                Job::Write(record) => records.push(record),
                Job::Flush(done) => waiting.push(done),
            }
        }
        if let Err(error) = write(&mut database, &records) {
            let before = lost.fetch_add(records.len() as u64, Ordering::Relaxed);
            // Once per spell of trouble: a full disk would otherwise fill the log as well.
            if before == 0 {
                tracing::error!(%error, "the store cannot be written; blocking goes on, changes are lost at a restart");
            }
        }
        for done in waiting {
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
        }
    }
}

fn write(database: &mut Connection, records: &[Record]) -> rusqlite::Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let transaction = database.transaction()?;
    for record in records {
        apply(&transaction, record)?;
    }
    transaction.commit()
}

fn apply(transaction: &Transaction<'_>, record: &Record) -> rusqlite::Result<()> {
    match record {
        Record::PutBlock(block) => {
            let sql = "INSERT OR REPLACE INTO block (network, origin, reason, author, since, until) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            transaction.prepare_cached(sql)?.execute(params![
                block.network.to_string(),
                block.origin.name(),
                block.reason,
                block.author,
                block.since.as_millis(),
                block.until.as_millis(),
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

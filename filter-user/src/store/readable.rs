//! Rows that say what they should. One that does not, because somebody else wrote into the file or a later version did, is
//! left out and told of; it must not keep the agent from starting.

use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
use rusqlite::Result;
use tracing::warn;

/// The rows that can be read; an error if the database itself cannot be.
pub(super) fn readable<T>(rows: impl IntoIterator<Item = Result<T>>) -> Result<Vec<T>> {
    let mut left_out = None;
    let mut read = Vec::new();
    for row in rows {
        match row {
            Ok(row) => read.push(row),
            Err(
                error @ (FromSqlConversionFailure(..) | InvalidColumnType(..) | IntegralValueOutOfRange(..)),
            ) => {
                let (count, _) = left_out.take().unwrap_or((0_u64, error.to_string()));
                left_out = Some((count + 1, error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    if let Some((count, reason)) = left_out {
        warn!(
            count,
            reason, "rows of the database cannot be read and are left out; `gatepost backup` keeps them"
        );
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use filter_core::time::Timestamp;

    use super::super::{EventFilter, Store};

    #[test]
    fn a_row_that_nobody_understands_keeps_no_agent_from_starting() {
        let directory = tempfile::tempdir().unwrap();
        drop(Store::open(directory.path()).unwrap());
        let database = rusqlite::Connection::open(directory.path().join("gatepost.db")).unwrap();
        database
            .execute_batch(
                "INSERT INTO block VALUES ('192.0.2.7/32', 'manual', 'spam', 'root', 0, 9000000000000, 0, 1);
                 INSERT INTO block VALUES ('who knows', 'manual', 'spam', 'root', 0, 9000000000000, 0, 2);
                 INSERT INTO never VALUES ('192.0.2.8/99', '', 'root', 0, NULL);
                 INSERT INTO event (id, time, network, first, kind, what)
                     VALUES (1, 0, '192.0.2.7/32', x'04c0000207', 'no-room', '{\"event\":\"no-room\"}'),
                            (2, 0, '192.0.2.7/32', x'04c0000207', 'offence', '{\"event\":\"of a later version\"}'),
                            (3, 0, '192.0.2.7/32', x'04c0000207', 'blocked', '{');",
            )
            .unwrap();
        drop(database);
        let (store, stored) = Store::open(directory.path()).unwrap();
        let networks: Vec<_> = stored.blocks.iter().map(|block| block.network.to_string()).collect();
        assert_eq!(
            (networks, stored.nevers.len(), stored.past.len()),
            (vec!["192.0.2.7/32".to_owned()], 0, 0)
        );
        assert_eq!(stored.last_event.0, 3, "its number is not given again");
        let history = store.history();
        assert_eq!(history.events(&EventFilter::default()).unwrap().len(), 1);
        assert_eq!(history.unanswered(Timestamp::from_millis(0)).unwrap().len(), 0);
    }
}

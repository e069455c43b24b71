//! The question that an event filter asks the database.

use std::net::IpAddr;

use filter_core::event::EventId;
use filter_core::offence::account_name;
use ipnet::IpNet;
use rusqlite::types::ToSql;

use super::history::{EventFilter, PAGE_LIMIT};

/// From this prefix length on, a network has so few addresses that its events are found by them. Those of a wider one are found by
/// reading the log from its end.
const NARROW: [u8; 2] = [16, 32];

/// A question, with the values for its places.
pub(super) struct Search {
    pub(super) sql: String,
    pub(super) values: Vec<Box<dyn ToSql>>,
}

impl Search {
    /// What a filter lets through; `first` is an event before which all are older than it wants.
    pub(super) fn new(filter: &EventFilter, first: Option<i64>) -> Self {
        let mut search = Self { sql: String::new(), values: Vec::new() };
        let order = if filter.after.is_some() { "ASC" } else { "DESC" };
        let ways = search.ways(filter.network);
        let conditions = search.conditions(filter, first).join(" AND ");
        let limit = filter.limit.unwrap_or(100).min(PAGE_LIMIT);
        let parts: Vec<_> = ways
            .iter()
            .map(|(way, sorted)| {
                format!("SELECT * FROM (SELECT id FROM event WHERE {way} AND {conditions} ORDER BY {sorted} {order} LIMIT {limit})")
            })
            .collect();
        search.sql = format!(
            "SELECT id, time, network, what, answered_by FROM event WHERE id IN ({}) ORDER BY id {order} LIMIT {limit}",
            parts.join(" UNION ")
        );
        search
    }

    /// The ways to the events of a network, and what each is sorted by. Each has an index of its own, so they are asked
    /// one by one; the `+` keeps SQLite from reading the whole log for the sake of the order.
    fn ways(&mut self, network: Option<IpNet>) -> Vec<(String, &'static str)> {
        let Some(network) = network else { return vec![("TRUE".to_owned(), "id")] };
        let (first, last) = (bytes(network.network()), bytes(network.broadcast()));
        let narrow = NARROW[usize::from(network.addr().is_ipv6())];
        let inside = if first == last {
            (format!("first = {}", self.place(first)), "id")
        } else {
            let (first, last) = (self.place(first), self.place(last));
            if network.prefix_len() >= narrow {
                (format!("first BETWEEN {first} AND {last}"), "+id")
            } else {
                (format!("+first BETWEEN {first} AND {last}"), "id")
            }
        };
        let around: Vec<_> = std::iter::successors(network.supernet(), IpNet::supernet)
            .map(|network| self.place(network.to_string()))
            .collect();
        vec![inside, (format!("network IN ({})", around.join(", ")), "+id")]
    }

    fn conditions(&mut self, filter: &EventFilter, first: Option<i64>) -> Vec<String> {
        let mut conditions = vec!["TRUE".to_owned()];
        if let Some(kind) = &filter.kind {
            conditions.push(format!("kind = {}", self.place(kind.clone())));
            // As the indexes say it; SQLite does not conclude it from the value.
            match kind.as_str() {
                "offence" => {}
                "dropped" => conditions.push("kind = 'dropped'".to_owned()),
                _ => conditions.push("kind <> 'offence' AND kind <> 'dropped'".to_owned()),
            }
        }
        // Who is asked for is found by the network; of an account or a service there may be many events.
        let unindexed = if filter.network.is_some() { "+" } else { "" };
        for (field, wanted) in [("service", &filter.service), ("account", &filter.account)] {
            if let Some(wanted) = wanted {
                // As it is written in the log.
                let wanted = self.place(account_name(wanted.as_bytes()));
                conditions.push(format!(
                    "kind = 'offence' AND {unindexed}json_extract(what, '$.{field}') = {wanted} COLLATE NOCASE"
                ));
            }
        }
        if let Some((since, first)) = filter.since.zip(first) {
            conditions.push(format!("id >= {}", self.place(first)));
            conditions.push(format!("time >= {}", self.place(since.as_millis())));
        }
        for (sign, event) in [(">", filter.after), ("<", filter.before)] {
            if let Some(event) = event {
                conditions.push(format!("id {sign} {}", self.place(number(event))));
            }
        }
        conditions
    }

    /// A place for a value.
    fn place(&mut self, value: impl ToSql + 'static) -> String {
        self.values.push(Box::new(value));
        format!("?{}", self.values.len())
    }
}

/// `SQLite` has no larger integers; at a million events a second it lasts for 290,000 years.
pub(super) fn number(id: EventId) -> i64 {
    i64::try_from(id.0).unwrap_or(i64::MAX)
}

/// An address so that the order of bytes is the order of addresses, one family behind the other.
pub(super) fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => [&[4][..], &address.octets()].concat(),
        IpAddr::V6(address) => [&[6][..], &address.octets()].concat(),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::params_from_iter;

    use super::*;
    use crate::store::schema;

    /// How SQLite looks for the events of a filter.
    fn plan(filter: &EventFilter) -> String {
        let directory = tempfile::tempdir().unwrap();
        let (database, _) = schema::open(&directory.path().join("gatepost.db")).unwrap();
        let search = Search::new(filter, None);
        let mut query = database.prepare(&format!("EXPLAIN QUERY PLAN {}", search.sql)).unwrap();
        let steps = query.query_map(params_from_iter(search.values.iter()), |row| row.get::<_, String>(3));
        steps.unwrap().collect::<Result<Vec<_>, _>>().unwrap().join("\n")
    }

    #[test]
    fn rare_events_are_found_by_an_index() {
        let text = |text: &str| Some(text.to_owned());
        for (filter, index) in [
            (EventFilter { kind: text("blocked"), ..EventFilter::default() }, "event_by_kind"),
            (EventFilter { kind: text("dropped"), ..EventFilter::default() }, "event_by_drop"),
            (EventFilter { service: text("imap"), ..EventFilter::default() }, "event_by_service"),
            (EventFilter { account: text("alice"), ..EventFilter::default() }, "event_by_account"),
            (
                EventFilter { account: text("alice"), service: text("imap"), ..EventFilter::default() },
                "event_by_account",
            ),
            (
                EventFilter {
                    network: "203.0.113.7/32".parse().ok(),
                    account: text("alice"),
                    ..EventFilter::default()
                },
                "event_by_first",
            ),
        ] {
            let plan = plan(&filter);
            assert!(plan.contains(index), "{index}: {plan}");
            assert!(!plan.contains("SCAN event\n") && !plan.contains("SCAN event USING INTEGER"), "{plan}");
        }
    }
}

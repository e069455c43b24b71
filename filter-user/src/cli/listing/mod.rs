//! Lists in files: JSON lines, CSV with a header, or plain lines, one entry a line in each of them.
//!
//! What is written can be read back. What is read may come from anybody: a line is bounded, is UTF-8 without control
//! characters, and is an entry or a reason why it is none.

mod lines;
mod read;
mod write;

use clap::ValueEnum;
use filter_core::decision::{Block, Never, Origin};
use filter_core::time::Timestamp;
use ipnet::IpNet;

pub(super) use read::{Listing, Rejected, read};
pub(super) use write::write;

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One JSON object a line, with the fields network, until, comment, origin, author, since
    Json,
    /// The same fields as columns under a header
    Csv,
    /// An address, a CIDR or a wildcard a line, and a comment behind `#`
    Plain,
}

impl Format {
    /// The format that a file's name promises; plain if it promises none.
    pub(super) fn of(name: &str) -> Self {
        match name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).as_deref() {
            Some("json" | "jsonl" | "ndjson") => Self::Json,
            Some("csv") => Self::Csv,
            Some(_) | None => Self::Plain,
        }
    }
}

/// An entry of either list, as far as files have it.
pub(super) struct Listed {
    network: IpNet,
    until: Option<Timestamp>,
    comment: String,
    origin: Option<Origin>,
    author: String,
    since: Timestamp,
}

impl From<Block> for Listed {
    fn from(block: Block) -> Self {
        let Block { network, origin, reason, author, since, until, .. } = block;
        Self { network, until: Some(until), comment: reason, origin: Some(origin), author, since }
    }
}

impl From<Never> for Listed {
    fn from(never: Never) -> Self {
        let Never { network, comment, author, since, until, .. } = never;
        Self { network, until, comment, origin: None, author, since }
    }
}

#[cfg(test)]
mod tests {
    use filter_core::event::EventId;
    use filter_core::import::ImportEntry;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let block = |network: &str, reason: &str, until| Block {
            network: network.parse().unwrap(),
            origin: Origin::Smtp,
            reason: reason.to_owned(),
            author: "engine".to_owned(),
            since: Timestamp::from_millis(1_800_000_000_001),
            until,
            observed: false,
            event: EventId(3),
        };
        let blocks = [
            block(
                "192.0.2.7/32",
                "a \"quoted\", reason; größer\\",
                Timestamp::from_millis(1_800_000_060_123),
            ),
            block("2001:db8::/48", "for ever # and a day", Timestamp::FAR_FUTURE),
            block("10.0.0.0/8", "", Timestamp::from_millis(1_800_000_000_000)),
        ];
        let never = |network: &str| Never {
            network: network.parse().unwrap(),
            comment: "office".to_owned(),
            author: "root".to_owned(),
            since: Timestamp::from_millis(0),
            until: None,
            built_in: false,
        };
        let list = || blocks.iter().cloned().map(Listed::from).chain([never("192.0.2.8/32").into()]);
        for format in [Format::Json, Format::Csv, Format::Plain] {
            let mut file = Vec::new();
            write(list(), format, &mut file).unwrap();
            let listing = read(&file[..], format, "list", 10).unwrap();
            assert!(listing.rejected.is_empty() && listing.repeated.is_empty(), "{format:?}");
            let read: Vec<_> = listing.entries.into_iter().map(|(_, entry)| entry).collect();
            let wanted: Vec<_> = list()
                .map(|listed| ImportEntry {
                    network: super::super::table::network(&listed.network),
                    until: listed.until.filter(|_| format != Format::Plain),
                    minutes: None,
                    comment: listed.comment,
                })
                .collect();
            assert_eq!(read, wanted, "{format:?}: {}", String::from_utf8_lossy(&file));
        }
    }

    #[test]
    fn the_name_of_a_file_promises_a_format() {
        assert_eq!(Format::of("list.CSV"), Format::Csv);
        assert_eq!(Format::of("a.b/list.jsonl"), Format::Json);
        assert_eq!(Format::of("drop.txt"), Format::Plain);
        assert_eq!(Format::of("-"), Format::Plain);
    }
}

//! Reading a list: all of it before anything is done with it, so that a file of the wrong kind changes nothing.

use std::collections::HashSet;
use std::io::{self, Read};

use filter_core::import::ImportEntry;
use filter_core::notation::parse_network;
use filter_core::time::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Format;
use super::lines::Lines;

/// Rejected lines after which a file is taken for another kind of file.
const REJECTED_LIMIT: usize = 100_000;

/// Longest reason that is shown, in characters.
const REASON_LIMIT: usize = 500;

/// What a file holds.
#[derive(Debug, Default)]
pub(in super::super) struct Listing {
    /// Its entries with the numbers of their lines.
    pub(in super::super) entries: Vec<(u64, ImportEntry)>,
    /// Lines whose network an earlier line has named; that one counts.
    pub(in super::super) repeated: Vec<u64>,
    /// Lines that are no entries.
    pub(in super::super) rejected: Vec<Rejected>,
}

/// A line that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(in super::super) struct Rejected {
    /// Its number, from 1.
    pub(in super::super) line: u64,
    /// Why.
    pub(in super::super) reason: String,
}

impl Rejected {
    /// A line and a reason, which may quote from the line: escapes of JSON can hide what moves a terminal's cursor.
    pub(in super::super) fn new(line: u64, reason: &str) -> Self {
        let safe = |character: char| if character.is_control() { '?' } else { character };
        Self { line, reason: reason.chars().map(safe).take(REASON_LIMIT).collect() }
    }
}

/// Why a whole file is not read.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum Unreadable {
    /// The file ended, so to speak, in the middle.
    #[error("cannot read {0}: {1}; name a file that this user may read, or `-` for standard input")]
    Input(String, io::Error),
    /// It is not CSV with a header.
    #[error("{0}:1: {1}")]
    Header(String, String),
    /// Nothing in it is as it should be.
    #[error("{0} is no such list: more than {REJECTED_LIMIT} of its lines are no entries; see --format")]
    Rubbish(String),
    /// It has more entries than a list.
    #[error("{0} has more entries than the list takes ({1}); name networks instead of single addresses")]
    TooMany(String, usize),
}

/// Reads an input of this name to its end; takes at most `limit` entries.
pub(in super::super) fn read(
    input: impl Read,
    format: Format,
    name: &str,
    limit: usize,
) -> Result<Listing, Unreadable> {
    let mut lines = Lines::new(input);
    let mut listing = Listing::default();
    let mut seen = HashSet::new();
    let mut columns = None;
    while let Some((line, text)) = lines.next().map_err(|error| Unreadable::Input(name.to_owned(), error))? {
        let entry = match (text, format) {
            (Err(reason), _) => Err(reason),
            (Ok(text), _) if text.trim().is_empty() => Ok(None),
            (Ok(text), Format::Plain) => Ok(plain(&text)),
            (Ok(text), Format::Json) => json(&text).map(Some),
            (Ok(text), Format::Csv) => {
                if let Some(columns) = &columns {
                    csv(&text, columns).map(Some)
                } else {
                    let header = Columns::read(&text);
                    columns = Some(header.map_err(|reason| Unreadable::Header(name.to_owned(), reason))?);
                    Ok(None)
                }
            }
        };
        let network = |entry: ImportEntry| match parse_network(&entry.network) {
            Ok(network) => Ok((network, entry)),
            Err(error) => Err(error.to_string()),
        };
        match entry.and_then(|entry| entry.map(network).transpose()) {
            Ok(None) => {}
            Ok(Some((network, _))) if !seen.insert(network) => listing.repeated.push(line),
            Ok(Some((_, entry))) => listing.entries.push((line, entry)),
            Err(reason) => listing.rejected.push(Rejected::new(line, &reason)),
        }
        if listing.entries.len() > limit {
            return Err(Unreadable::TooMany(name.to_owned(), limit));
        }
        if listing.rejected.len() > REJECTED_LIMIT {
            return Err(Unreadable::Rubbish(name.to_owned()));
        }
    }
    Ok(listing)
}

/// None: only a comment.
fn plain(text: &str) -> Option<ImportEntry> {
    let (network, comment) = text.split_once('#').unwrap_or((text, ""));
    let (network, comment) = (network.trim().to_owned(), comment.trim().to_owned());
    (!network.is_empty()).then(|| ImportEntry { network, comment, ..ImportEntry::default() })
}

/// The fields that exports and the API have; only the first four are taken over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    network: String,
    until: Option<When>,
    minutes: Option<u64>,
    #[serde(alias = "reason", default)]
    comment: String,
    #[serde(rename = "origin", default)]
    _origin: IgnoredAny,
    #[serde(rename = "author", default)]
    _author: IgnoredAny,
    #[serde(rename = "since", default)]
    _since: IgnoredAny,
    #[serde(rename = "observed", default)]
    _observed: IgnoredAny,
    #[serde(rename = "event", default)]
    _event: IgnoredAny,
    #[serde(rename = "overridden_by", default)]
    _overridden_by: IgnoredAny,
    #[serde(rename = "built_in", default)]
    _built_in: IgnoredAny,
}

/// A time as exports have it, or as the API has it.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "`until` is a text such as \"2026-11-23T04:11:02Z\", or milliseconds since 1970"
)]
enum When {
    Millis(i64),
    Text(String),
}

fn json(text: &str) -> Result<ImportEntry, String> {
    let object: Object = serde_json::from_str(text).map_err(|error| {
        let said = error.to_string();
        // The place is that in this line alone, which is none of the file's.
        let what = said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| what);
        what.to_owned()
    })?;
    let until = match object.until {
        None => None,
        Some(When::Millis(millis)) => Some(Timestamp::from_millis(millis)),
        Some(When::Text(text)) => Some(time(&text)?),
    };
    let Object { network, minutes, comment, .. } = object;
    Ok(ImportEntry { network, until, minutes, comment })
}

/// Where the columns of a CSV file are.
#[derive(Debug, Default)]
struct Columns {
    count: usize,
    network: usize,
    until: Option<usize>,
    minutes: Option<usize>,
    comment: Option<usize>,
}

impl Columns {
    fn read(text: &str) -> Result<Self, String> {
        let fields = record(text)?;
        let mut columns = Self { count: fields.len(), ..Self::default() };
        let mut network = None;
        for (place, field) in fields.iter().enumerate() {
            let column = match field.trim().to_ascii_lowercase().as_str() {
                "network" => &mut network,
                "until" => &mut columns.until,
                "minutes" => &mut columns.minutes,
                "comment" | "reason" => &mut columns.comment,
                "origin" | "author" | "since" => continue,
                _ => {
                    let header = "network,until,comment";
                    return Err(format!(
                        "`{field}` is no column; the first line is a header such as {header}, with minutes in place of until if you like"
                    ));
                }
            };
            if column.replace(place).is_some() {
                return Err(format!("the column `{field}` is there twice"));
            }
        }
        columns.network = network.ok_or("there is no column `network`")?;
        Ok(columns)
    }
}

fn csv(text: &str, columns: &Columns) -> Result<ImportEntry, String> {
    let fields = record(text)?;
    if fields.len() != columns.count {
        return Err(format!("it has {} fields and the header has {}", fields.len(), columns.count));
    }
    let field = |column: Option<usize>| column.and_then(|place| fields.get(place)).map_or("", str::trim);
    let some = |column| Some(field(column)).filter(|text| !text.is_empty());
    let until = some(columns.until).map(time).transpose()?;
    let number = |text: &str| text.parse().map_err(|_| format!("`{text}` is not a number of minutes"));
    let minutes = some(columns.minutes).map(number).transpose()?;
    let (network, comment) = (field(Some(columns.network)).to_owned(), field(columns.comment).to_owned());
    Ok(ImportEntry { network, until, minutes, comment })
}

/// The fields of one line. Each line has a reader of its own, so that a quote that is never closed takes one line and
/// not the rest of the file.
fn record(text: &str) -> Result<csv::StringRecord, String> {
    let line = format!("{text}\n");
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).buffer_capacity(line.len()).from_reader(line.as_bytes());
    let mut record = csv::StringRecord::new();
    match reader.read_record(&mut record) {
        Ok(true) if record.iter().any(|field| field.contains('\n')) => {
            Err("a quote is not closed on its line".to_owned())
        }
        Ok(true) => Ok(record),
        Ok(false) => Err("it is empty".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(millis) = text.parse() {
        return Ok(Timestamp::from_millis(millis));
    }
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        format!("`{shown}` is not a time; write it like 2026-11-23T04:11:02Z")
    })?;
    Ok(Timestamp::from_millis(time.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(text: &str, format: Format) -> Listing {
        read(text.as_bytes(), format, "list", 100).unwrap()
    }

    #[track_caller]
    fn rejected(text: &str, format: Format, line: u64, words: &[&str]) {
        let listing = listing(text, format);
        let [Rejected { line: found, reason }] = &listing.rejected[..] else {
            panic!("not one line of {text:?} is rejected: {:?}", listing.rejected)
        };
        assert_eq!(*found, line, "{reason}");
        assert!(!reason.contains(char::is_control), "{reason:?}");
        for word in words {
            assert!(reason.contains(word), "`{word}` is missing in: {reason}");
        }
    }

    #[test]
    fn plain_lines_have_comments_blanks_and_all_three_notations() {
        let text =
            "# a list\n\n192.0.2.7\n 192.0.2.* # spam, \"all\" # of it\n2001:db8::/48#x\n192.0.2.0/24\n";
        let listing = listing(text, Format::Plain);
        let entries: Vec<_> = listing
            .entries
            .iter()
            .map(|(line, entry)| (*line, &entry.network[..], &entry.comment[..]))
            .collect();
        let spam = "spam, \"all\" # of it";
        assert_eq!(entries, [(3, "192.0.2.7", ""), (4, "192.0.2.*", spam), (5, "2001:db8::/48", "x")]);
        assert_eq!(listing.repeated, [6], "the same network in another notation");
        assert!(listing.rejected.is_empty());
        rejected("192.0.2.7\n192.0.2.300\n", Format::Plain, 2, &["is not an address"]);
        rejected("10.0.0.5/8\r\n", Format::Plain, 1, &["10.0.0.0/8"]);
    }

    #[test]
    fn json_lines_are_exports_or_answers_of_the_api() {
        let text = "{\"network\":\"192.0.2.7\",\"until\":\"2026-11-23T04:11:02.5Z\",\"reason\":\"x\",\"origin\":\"smtp\"}\n\
                    {\"network\":\"192.0.2.8\",\"until\":1800000000000,\"author\":\"a\",\"since\":1,\"observed\":false,\"event\":3,\"overridden_by\":null}\n\
                    {\"network\":\"192.0.2.9\",\"minutes\":5,\"until\":null}\n";
        let entries = listing(text, Format::Json).entries;
        let ends: Vec<_> = entries.iter().map(|(_, entry)| (entry.until, entry.minutes)).collect();
        let millis = |millis| Some(Timestamp::from_millis(millis));
        assert_eq!(
            ends,
            [(millis(1_795_407_062_500), None), (millis(1_800_000_000_000), None), (None, Some(5))]
        );
        assert_eq!(entries[0].1.comment, "x");
        rejected("{\"network\":\"192.0.2.7\",\"minute\":5}", Format::Json, 1, &["minute", "minutes"]);
        rejected("{\"network\":\"192.0.2.7\",\"\\u001b[2J\":5}", Format::Json, 1, &["unknown field"]);
        rejected(
            "{\"network\":\"192.0.2.7\",\"until\":\"soon\\u001b\"}",
            Format::Json,
            1,
            &["soon", "2026-"],
        );
        rejected("{\"network\":\"192.0.2.7\",\"until\":[]}", Format::Json, 1, &["until", "2026-"]);
        rejected("{}\n", Format::Json, 1, &["network"]);
        rejected(&"[".repeat(8000), Format::Json, 1, &[]);
        rejected(
            "{\"network\":\"192.0.2.7\",\"reason\":\"a\",\"comment\":\"b\"}",
            Format::Json,
            1,
            &["comment"],
        );
        rejected("{\"network\":\"\\u001b[2J\"}", Format::Json, 1, &["is not an address"]);
    }

    #[test]
    fn csv_has_a_header_in_any_order_and_quotes_as_spreadsheets_write_them() {
        let text = "\u{feff}Comment;x\n";
        assert!(matches!(read(text.as_bytes(), Format::Csv, "list", 9), Err(Unreadable::Header(..))));
        let text = "\u{feff}comment,network,until\r\n\"a, \"\"b\"\"\",192.0.2.7,\r\n,192.0.2.8,2026-11-23T04:11:02+01:00\r\n";
        let entries = listing(text, Format::Csv).entries;
        assert_eq!((&entries[0].1.comment[..], entries[0].1.until), ("a, \"b\"", None));
        assert_eq!(entries[1].1.until, Some(Timestamp::from_millis(1_795_403_462_000)));
        let header = |rest: &str| format!("network,minutes,comment\n{rest}");
        rejected(&header("192.0.2.7,5\n192.0.2.8,5,\n"), Format::Csv, 2, &["2 fields", "3"]);
        rejected(&header("192.0.2.7,5,\"x\n192.0.2.8,5,\n"), Format::Csv, 2, &["quote"]);
        rejected(&header("\"192.0.2.7\n192.0.2.8,5,\n"), Format::Csv, 2, &["quote"]);
        rejected(&header("192.0.2.7,soon,\n192.0.2.8,5,\n"), Format::Csv, 2, &["soon"]);
        for (header, word) in
            [("network,network\n", "twice"), ("until\n", "network"), ("192.0.2.7\n", "header")]
        {
            let error = read(header.as_bytes(), Format::Csv, "list", 9).unwrap_err().to_string();
            assert!(error.starts_with("list:1: ") && error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_file_of_another_kind_is_given_up() {
        let rubbish = "rubbish\n".repeat(REJECTED_LIMIT + 1);
        assert!(matches!(read(rubbish.as_bytes(), Format::Plain, "list", 9), Err(Unreadable::Rubbish(_))));
        let long = "192.0.2.1\n192.0.2.2\n192.0.2.3\n";
        assert!(matches!(read(long.as_bytes(), Format::Plain, "list", 2), Err(Unreadable::TooMany(_, 2))));
        assert_eq!(listing(long, Format::Plain).entries.len(), 3);
    }
}

//! Writing a list.

use std::io::{self, Write};

use filter_core::time::Timestamp;
use serde_json::{Map, Value};

use super::super::table::network;
use super::{Format, Listed};

/// The fields of an entry, in their order.
const FIELDS: [&str; 6] = ["network", "until", "comment", "origin", "author", "since"];

/// Writes a list to its end.
pub(in super::super) fn write(
    list: impl IntoIterator<Item = Listed>,
    format: Format,
    output: impl Write,
) -> io::Result<()> {
    match format {
        Format::Json => write_json(list, output),
        Format::Csv => write_csv(list, output),
        Format::Plain => write_plain(list, output),
    }
}

fn write_json(list: impl IntoIterator<Item = Listed>, mut output: impl Write) -> io::Result<()> {
    for listed in list {
        let fields = FIELDS.into_iter().zip(fields(listed)).filter(|(_, value)| !value.is_empty());
        let object: Map<_, _> =
            fields.map(|(field, value)| (field.to_owned(), Value::String(value))).collect();
        writeln!(output, "{}", Value::Object(object))?;
    }
    output.flush()
}

fn write_csv(list: impl IntoIterator<Item = Listed>, output: impl Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(output);
    writer.write_record(FIELDS)?;
    for listed in list {
        writer.write_record(fields(listed))?;
    }
    writer.flush()
}

fn write_plain(list: impl IntoIterator<Item = Listed>, mut output: impl Write) -> io::Result<()> {
    for listed in list {
        let name = network(&listed.network);
        match listed.comment.as_str() {
            "" => writeln!(output, "{name}")?,
            comment => writeln!(output, "{name} # {comment}")?,
        }
    }
    output.flush()
}

fn fields(listed: Listed) -> [String; 6] {
    let Listed { network: whom, until, comment, origin, author, since } = listed;
    let origin = origin.map_or_else(String::new, |origin| origin.name().to_owned());
    [network(&whom), until.map_or_else(String::new, time), comment, origin, author, time(since)]
}

/// A time in UTC to the millisecond; beyond the calendar the milliseconds themselves.
fn time(at: Timestamp) -> String {
    let time = jiff::Timestamp::from_millisecond(at.as_millis());
    time.map_or_else(|_| at.as_millis().to_string(), |time| time.to_string())
}

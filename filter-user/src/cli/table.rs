//! What people read: columns that line up, times with their offset, durations in words.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use filter_core::client::fmt_network;
use filter_core::time::Timestamp;
use ipnet::IpNet;
use serde::Serialize;
use tabwriter::TabWriter;

/// Rows of cells under a head: columns that line up on a terminal, tabs between them in a pipe, where `cut` and `awk` read.
pub(super) struct Table {
    writer: TabWriter<Vec<u8>>,
    plain: Vec<String>,
}

impl Table {
    /// A table with these columns.
    pub(super) fn new(head: &[&str]) -> Self {
        let mut table = Self { writer: TabWriter::new(Vec::new()).padding(2), plain: Vec::new() };
        table.row(head);
        table
    }

    /// Adds a row.
    pub(super) fn row<T: AsRef<str>>(&mut self, cells: &[T]) {
        // A tab or a line end inside a cell would break the columns of everything else.
        let cells: Vec<_> = cells.iter().map(|cell| cell.as_ref().replace(char::is_control, " ")).collect();
        // Writing into memory does not fail.
        let row = cells.join("\t");
        let _ = writeln!(self.writer, "{row}");
        self.plain.push(row);
    }

    /// Prints the table; a reader that has gone (`| head`) is no error.
    pub(super) fn print(self) -> io::Result<()> {
        if !io::stdout().is_terminal() {
            return line(&self.plain.join("\n"));
        }
        let bytes = self.writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines: Vec<_> = text.lines().map(str::trim_end).collect();
        line(&lines.join("\n"))
    }
}

/// Prints one line, or several.
pub(super) fn line(text: &str) -> io::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Prints a value as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), super::Failure> {
    Ok(line(&serde_json::to_string_pretty(value)?)?)
}

/// A time as a person reads it, in local time with its offset.
pub(crate) fn time(at: Timestamp) -> String {
    let local = jiff::Timestamp::from_millisecond(at.as_millis())
        .map(|time| time.to_zoned(jiff::tz::TimeZone::system()));
    local.map_or_else(
        |_| "the end of time".to_owned(),
        |time| time.strftime("%Y-%m-%d %H:%M:%S %:z").to_string(),
    )
}

/// A time as a person writes it: RFC 3339, or a local date and time without an offset.
pub(super) fn read_time(text: &str) -> Result<Timestamp, String> {
    let millis = |time: jiff::Timestamp| Timestamp::from_millis(time.as_millisecond());
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(millis(time));
    }
    let local = text.parse::<jiff::civil::DateTime>();
    let zoned = local.and_then(|time| time.to_zoned(jiff::tz::TimeZone::system()));
    let zoned = zoned.map_err(|_| "it is a time like 2026-12-01T08:00 or 2026-12-01T08:00:00Z".to_owned());
    zoned.map(|time| millis(time.timestamp()))
}

/// A time as [`read_time`] reads it back; none: it is past the end of every calendar.
pub(super) fn write_time(at: Timestamp) -> Option<String> {
    jiff::Timestamp::from_millisecond(at.as_millis()).ok().map(|time| time.to_string())
}

/// Minutes as a person writes them: a number of them, or a span with units, of which a part of a minute counts as a whole one.
pub(super) fn read_minutes(text: &str) -> Result<u64, String> {
    if let Ok(minutes) = text.parse() {
        return Ok(minutes);
    }
    let span = humantime::parse_duration(text);
    let span = span.map_err(|_| "it is a number of minutes, or a span like 90m, 2h or 7days".to_owned())?;
    let minutes = span.as_nanos().div_ceil(Duration::from_mins(1).as_nanos());
    Ok(u64::try_from(minutes).unwrap_or(u64::MAX))
}

/// A duration in its two largest units.
pub(crate) fn duration(span: Duration) -> String {
    let words = humantime::format_duration(Duration::from_secs(span.as_secs())).to_string();
    words.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// A network without the prefix length of a single address.
pub(crate) fn network(network: &IpNet) -> String {
    let mut text = String::new();
    // Writing into memory does not fail.
    let _ = fmt_network(network, &mut text);
    text
}

/// A count of bytes.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let tenths = |size: u64| (count * 10 / size, size);
    let sizes = (1..=4).map(|power| 1_u64 << (10 * power));
    match sizes.zip(UNITS).filter(|(size, _)| count >= *size).last() {
        None => format!("{count} B"),
        Some((size, unit)) => {
            let (tenths, _) = tenths(size);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_words() {
        assert_eq!(duration(Duration::from_millis(1_799_900)), "29m 59s");
        assert_eq!(duration(Duration::from_secs(90_061)), "1day 1h");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 30), "5.0 GiB");
    }

    #[test]
    fn times_are_read_with_an_offset_or_in_local_time() {
        let at = Timestamp::from_millis(1_800_000_000_123);
        assert_eq!(read_time(&write_time(at).unwrap()), Ok(at));
        assert_eq!(read_time("2027-01-15T09:00:00+01:00"), Ok(Timestamp::from_millis(1_800_000_000_000)));
        let local = read_time("2027-01-15 08:00").unwrap();
        assert!(time(local).starts_with("2027-01-15 08:00:00"), "{}", time(local));
        read_time("tomorrow").unwrap_err();
        assert_eq!(write_time(Timestamp::FAR_FUTURE), None);
    }

    #[test]
    fn minutes_are_a_number_or_a_span() {
        let spans = ["90", "90m", "2h", "1day 1h", "61s", "60s 1ms", "1ms", "0s"]
            .map(|text| read_minutes(text).unwrap());
        assert_eq!(spans, [90, 90, 120, 1500, 2, 2, 1, 0]);
        for text in ["", "soon", "-5", "2 hats", "99999999999999999999", "99999999999999999999h"] {
            assert!(read_minutes(text).unwrap_err().contains("2h"), "{text}");
        }
    }

    #[test]
    fn the_longest_block_can_be_printed() {
        assert_eq!(time(Timestamp::FAR_FUTURE), "the end of time");
        assert!(time(Timestamp::from_millis(0)).starts_with("19"));
    }
}

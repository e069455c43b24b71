//! The systemd journal, read through `journalctl`.
//!
//! A library for it would be libsystemd, in C, at build and at run; and its files are read with rights that the agent need not
//! have. A child process that is there on every machine with a journal follows rotation by itself, filters by unit before
//! anything reaches us, and can be waited for: while we do not read its pipe, it does not go on.

use std::io::{self, BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use filter_core::logs::LINE_LIMIT;
use serde::Deserialize;
use serde_json::Value;

use crate::config::JournalConfig;

/// Longest entry as JSON, in bytes: a message may be an array of numbers, of four bytes for each.
const ENTRY_LIMIT: u64 = LINE_LIMIT as u64 * 8;

/// What is wanted of an entry.
const FIELDS: &str = "MESSAGE,SYSLOG_IDENTIFIER,_COMM,SYSLOG_PID,_PID";

/// One entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) cursor: String,
    /// When it was written, in milliseconds since 1970 began.
    pub(super) time: Option<i64>,
    pub(super) program: String,
    /// The program with its number.
    pub(super) process: String,
    pub(super) message: Vec<u8>,
}

/// What came out of the journal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// An entry.
    Entry(Entry),
    /// An entry that is too long or cannot be read; it is counted.
    Unreadable,
    /// The child has ended.
    Ended,
}

/// A child that follows the journal; ended when dropped.
#[derive(Debug)]
pub(super) struct Journal {
    child: Child,
    output: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
struct Written {
    #[serde(rename = "__CURSOR")]
    cursor: String,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    time: Option<String>,
    #[serde(rename = "SYSLOG_IDENTIFIER")]
    identifier: Option<String>,
    #[serde(rename = "_COMM")]
    command: Option<String>,
    #[serde(rename = "SYSLOG_PID")]
    syslog_number: Option<String>,
    #[serde(rename = "_PID")]
    number: Option<String>,
    #[serde(rename = "MESSAGE")]
    message: Option<Value>,
}

impl Journal {
    /// Follows the journal from behind an entry, or from so many seconds ago.
    pub(super) fn follow(config: &JournalConfig, after: Option<&str>, seconds: u64) -> io::Result<Self> {
        let mut command = Command::new("journalctl");
        command.args(["--follow", "--quiet", "--no-pager", "--all", "--lines=all", "--output=json"]);
        command.arg(format!("--output-fields={FIELDS}"));
        match after {
            Some(cursor) => command.arg(format!("--after-cursor={cursor}")),
            None => command.arg(format!("--since=-{seconds}s")),
        };
        command.args(config.units.iter().map(|unit| format!("--unit={unit}")));
        command.args(config.programs.iter().map(|program| format!("--identifier={program}")));
        command.args(config.directory.iter().map(|path| format!("--directory={}", path.display())));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = child.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
        Ok(Self { child, output: BufReader::with_capacity(64 * 1024, output) })
    }

    /// Its process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next entry; waits for it.
    pub(super) fn next(&mut self) -> io::Result<Read> {
        let mut line = Vec::new();
        let count = io::Read::take(&mut self.output, ENTRY_LIMIT).read_until(b'\n', &mut line)?;
        if count == 0 {
            return Ok(Read::Ended);
        }
        if !line.ends_with(b"\n") {
            self.output.skip_until(b'\n')?;
            return Ok(Read::Unreadable);
        }
        Ok(entry(&line).map_or(Read::Unreadable, Read::Entry))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Fails if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn entry(line: &[u8]) -> Option<Entry> {
    let written: Written = serde_json::from_slice(line).ok()?;
    let message = match written.message? {
        Value::String(text) => text.into_bytes(),
        // What is no UTF-8 is written as numbers.
        Value::Array(bytes) => bytes.iter().map(byte).collect::<Option<_>>()?,
        _ => return None,
    };
    if message.len() > LINE_LIMIT {
        return None;
    }
    let program = written.identifier.or(written.command)?;
    let number = written.syslog_number.or(written.number).unwrap_or_default();
    let time = written.time.and_then(|micros| micros.parse::<i64>().ok()).map(|micros| micros / 1000);
    Some(Entry { cursor: written.cursor, time, process: format!("{program}[{number}]"), program, message })
}

fn byte(value: &Value) -> Option<u8> {
    value.as_u64().and_then(|number| u8::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_and_one_that_is_none_is_not() {
        let read = entry(
            br#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1795534009435794","SYSLOG_IDENTIFIER":"dovecot","_PID":"7","MESSAGE":"x"}"#,
        );
        let want = Entry {
            cursor: "s=1".to_owned(),
            time: Some(1_795_534_009_435),
            program: "dovecot".to_owned(),
            process: "dovecot[7]".to_owned(),
            message: b"x".to_vec(),
        };
        assert_eq!(read, Some(want));
        let bytes = entry(br#"{"__CURSOR":"s=1","_COMM":"a","MESSAGE":[255,65]}"#).unwrap();
        assert_eq!((bytes.program.as_str(), &bytes.message[..]), ("a", &b"\xffA"[..]));
        for bad in [
            "",
            "{}",
            "null",
            r#"{"__CURSOR":"s","_COMM":"a","MESSAGE":null}"#,
            r#"{"__CURSOR":"s","_COMM":"a","MESSAGE":[256]}"#,
        ] {
            assert_eq!(entry(bad.as_bytes()), None, "{bad}");
        }
    }
}

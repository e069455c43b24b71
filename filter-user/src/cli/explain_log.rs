//! `gatepost explain --summary`: what a whole log comes to, rule by rule.

use std::collections::BTreeMap;
use std::io::{Read as _, stdin};
use std::sync::Arc;

use filter_core::logs::{Line, Reader};
use serde::Serialize;

use super::table::{self, Table};
use super::{Failure, Output};
use crate::config::Config;
use crate::logs::lines::{Lines, Piece};

/// Bytes that are read at once.
const CHUNK: usize = 256 * 1024;

/// What a log comes to.
#[derive(Debug, Default, Serialize)]
struct Summary {
    lines: u64,
    /// Lines that are too long to be looked at.
    too_long: u64,
    /// Lines that are reported.
    matches: u64,
    rules: BTreeMap<String, Counts>,
}

/// What a rule has found.
#[derive(Debug, Default, Serialize)]
struct Counts {
    event: &'static str,
    lines: u64,
    /// Offences that they stand for.
    offences: u64,
}

/// Reads standard input to its end, and says what is in it.
pub(super) fn show(config: &Config, program: Option<&str>, output: Output) -> Result<(), Failure> {
    let book = config.logs.book().map_err(|error| Failure::usage(format!("[logs]: {error}")))?;
    let mut reader = Reader::new(Arc::new(book));
    let (mut summary, mut lines) = (Summary::default(), Lines::default());
    let (mut input, mut buffer) = (stdin().lock(), vec![0; CHUNK]);
    let mut count = |piece: Piece<'_>| {
        summary.lines += 1;
        let line = match (piece, program) {
            (Piece::TooLong, _) => {
                summary.too_long += 1;
                return;
            }
            (Piece::Line(bytes), Some(program)) => Some(Line::of_program(bytes, program.as_bytes())),
            (Piece::Line(bytes), None) => Line::of_syslog(bytes),
        };
        let Some(found) = line.and_then(|line| reader.read(&line)) else { return };
        summary.matches += 1;
        let counts = summary.rules.entry(found.rule).or_default();
        counts.event = found.event.name();
        counts.lines += 1;
        counts.offences += u64::from(found.count);
    };
    loop {
        let length = input.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        lines.take(&buffer[..length], |piece, _| count(piece));
    }
    lines.finish(|piece, _| count(piece));
    if output.json {
        return table::json(&summary);
    }
    let Summary { lines, too_long, matches, rules } = summary;
    table::line(&format!("{lines} lines, {matches} of them matched, {too_long} too long"))?;
    let mut table = Table::new(&["RULE", "EVENT", "LINES", "OFFENCES"]);
    for (rule, counts) in rules {
        table.row(&[rule, counts.event.to_owned(), counts.lines.to_string(), counts.offences.to_string()]);
    }
    Ok(table.print()?)
}

//! `gatepost block import` and `gatepost never import`: a file of entries, brought to the agent in pieces.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use clap::Args;
use filter_core::engine::{BLOCKS_LIMIT, NEVER_LIMIT};
use filter_core::import::{ENTRIES_LIMIT, ImportEntry, ImportRequest, Outcome};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::listing::{self, Format, Listing, Rejected};
use super::{Failure, Output, table};
use crate::control::Client;
use crate::ips::List;

/// What is imported, and how.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file, or `-` for standard input
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// How it is written [default: json for .json, .jsonl and .ndjson, csv for .csv, else plain]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// For how long (minutes, or a span such as 2h), for entries that do not say it [default: the configured block time; never-block: for good]
    #[arg(long, visible_alias = "for", value_name = "N|SPAN", value_parser = table::read_minutes)]
    minutes: Option<u64>,
    /// Why, for entries that do not say it
    #[arg(long, visible_alias = "reason", value_name = "TEXT", default_value_t, hide_default_value = true)]
    comment: String,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take networks that cover a large part of the internet
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: Output,
}

/// What became of a file.
#[derive(Debug, Default, Serialize)]
struct Report {
    dry_run: bool,
    new: u64,
    longer: u64,
    shorter: u64,
    changed: u64,
    unchanged: u64,
    /// Lines whose network an earlier line has named.
    repeated: u64,
    rejected: Vec<Rejected>,
    /// What would change; only of a dry run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<Would>,
}

/// What would become of a line.
#[derive(Debug, Serialize)]
struct Would {
    line: u64,
    network: String,
    outcome: &'static str,
}

pub(super) async fn import(client: &Client, list: List, import: Import) -> Result<(), Failure> {
    let from_stdin = import.file.as_os_str() == "-";
    let name = if from_stdin { "standard input".to_owned() } else { import.file.display().to_string() };
    let format = import.format.unwrap_or_else(|| Format::of(&name));
    let input: Box<dyn Read> = if from_stdin {
        Box::new(io::stdin().lock())
    } else {
        let unreadable = |error| {
            Failure::usage(format!("cannot read {name}: {error}; name a file that this user may read"))
        };
        Box::new(File::open(&import.file).map_err(unreadable)?)
    };
    let limit = if list == List::Blocks { BLOCKS_LIMIT } else { NEVER_LIMIT };
    let listing =
        listing::read(input, format, &name, limit).map_err(|error| Failure::usage(error.to_string()))?;
    let report = send(client, list, listing, &import).await?;
    if import.output.json {
        table::json(&report)?;
    } else {
        report.tell(&name)?;
    }
    match report.rejected.len() {
        0 => Ok(()),
        count => {
            let lines = if count == 1 { "1 line was".to_owned() } else { format!("{count} lines were") };
            Err(Failure::failed(format!("{lines} rejected")))
        }
    }
}

async fn send(client: &Client, list: List, listing: Listing, import: &Import) -> Result<Report, Failure> {
    let route = if list == List::Blocks { "/api/v1/blocks/import" } else { "/api/v1/never/import" };
    let Listing { entries, repeated, rejected } = listing;
    let mut report =
        Report { dry_run: import.dry_run, repeated: repeated.len() as u64, rejected, ..Report::default() };
    let bar = progress(entries.len());
    for part in entries.chunks(ENTRIES_LIMIT) {
        let completed = part.iter().map(|(_, entry)| complete(entry.clone(), import));
        let (dry_run, force) = (import.dry_run, import.force);
        let ahead = usize::try_from(report.new).unwrap_or(usize::MAX);
        let request = ImportRequest { entries: completed.collect(), dry_run, ahead, force };
        let outcomes: Vec<Outcome> = client.post(route, &request).await.map_err(|error| {
            bar.finish_and_clear();
            Failure::from(error).and(&format!(
                "{} of {} entries had been answered before",
                bar.position(),
                entries.len()
            ))
        })?;
        for ((line, entry), outcome) in part.iter().zip(outcomes) {
            report.count(*line, entry, outcome);
        }
        bar.inc(part.len() as u64);
    }
    bar.finish_and_clear();
    report.rejected.sort_by_key(|rejected| rejected.line);
    Ok(report)
}

/// An entry with what the command line says about those that do not say it themselves.
fn complete(mut entry: ImportEntry, import: &Import) -> ImportEntry {
    if entry.until.is_none() {
        entry.minutes = entry.minutes.or(import.minutes);
    }
    if entry.comment.is_empty() {
        entry.comment.clone_from(&import.comment);
    }
    entry
}

/// A bar for what takes more than one request; it draws itself on a terminal only.
fn progress(entries: usize) -> ProgressBar {
    if entries <= ENTRIES_LIMIT {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {human_pos} of {human_len}, {eta} left");
    ProgressBar::new(entries as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

impl Report {
    fn count(&mut self, line: u64, entry: &ImportEntry, outcome: Outcome) {
        let word = outcome.name();
        let is_a_change = match outcome {
            Outcome::Rejected { reason } => {
                self.rejected.push(Rejected::new(line, &reason));
                return;
            }
            Outcome::New => &mut self.new,
            Outcome::Longer => &mut self.longer,
            Outcome::Shorter => &mut self.shorter,
            Outcome::Changed => &mut self.changed,
            Outcome::Unchanged => {
                self.unchanged += 1;
                return;
            }
        };
        *is_a_change += 1;
        if self.dry_run {
            self.changes.push(Would { line, network: entry.network.clone(), outcome: word });
        }
    }

    #[expect(clippy::print_stderr, reason = "this is what the administrator reads")]
    fn tell(&self, name: &str) -> Result<(), Failure> {
        for Rejected { line, reason } in &self.rejected {
            eprintln!("{name}:{line}: {reason}");
        }
        for Would { line, network, outcome } in &self.changes {
            table::line(&format!("line {line}: {network}: {outcome}"))?;
        }
        let counts = [
            (self.new, "new"),
            (self.longer, "longer"),
            (self.shorter, "shorter"),
            (self.changed, "changed"),
            (self.unchanged, "unchanged"),
            (self.repeated, "repeated"),
            (self.rejected.len() as u64, "rejected"),
        ];
        let said: Vec<_> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        let said = if said.is_empty() { "there are no entries in it".to_owned() } else { said.join(", ") };
        let dry = if self.dry_run { " (dry run: nothing has been changed)" } else { "" };
        Ok(table::line(&format!("{name}: {said}{dry}"))?)
    }
}

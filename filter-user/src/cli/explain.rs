//! `gatepost explain 'LOG LINE'`: what a line would do, or why it does nothing.

use std::io::{BufRead as _, IsTerminal as _, Read as _, stdin};
use std::sync::Arc;

use filter_core::logs::{Explanation, Found, LINE_LIMIT, Line, Quiet, Reader};
use filter_core::offence::printable;
use filter_core::time::Timestamp;
use serde::Serialize;

use super::table::{self, duration, time};
use super::{Failure, Output};
use crate::clock;
use crate::config::Config;
use crate::logs::{shipped, utc};

/// A line, and what becomes of it.
#[derive(Debug, Serialize)]
struct Told {
    /// The program whose message it is; none: the line does not say.
    program: Option<String>,
    message: Option<String>,
    /// When it was written, if it says so.
    time: Option<Timestamp>,
    /// What one of these offences costs, if it is one.
    multiplier: Option<u32>,
    /// Whether it is too old to count.
    too_old: bool,
    /// Programs by whose own files it would be understood.
    reads_as: Vec<&'static str>,
    #[serde(flatten)]
    explanation: Option<Explanation>,
}

/// Explains the lines that were typed, or those of a pipe.
pub(super) fn show(
    config: &Config,
    lines: &[String],
    program: Option<&str>,
    output: Output,
) -> Result<(), Failure> {
    let book = config.logs.book().map_err(|error| Failure::usage(format!("[logs]: {error}")))?;
    let mut explainer = Explainer { config, program, output, reader: Reader::new(Arc::new(book)) };
    if !lines.is_empty() {
        return lines.iter().try_for_each(|line| explainer.explain(line.as_bytes()));
    }
    if stdin().is_terminal() {
        let message =
            "name a line in quotes, or send lines by a pipe: tail /var/log/mail.log | gatepost explain";
        return Err(Failure::usage(message.to_owned()));
    }
    let mut input = stdin().lock();
    loop {
        let mut line = Vec::new();
        if input.by_ref().take(LINE_LIMIT as u64 + 2).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if !line.ends_with(b"\n") && line.len() > LINE_LIMIT {
            input.skip_until(b'\n')?;
            table::line(&format!("a line of more than {LINE_LIMIT} bytes is not looked at"))?;
            continue;
        }
        explainer.explain(&line)?;
    }
}

struct Explainer<'a> {
    config: &'a Config,
    program: Option<&'a str>,
    output: Output,
    /// It remembers the lines before, as a session needs them.
    reader: Reader,
}

impl Explainer<'_> {
    fn explain(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let bytes = bytes.trim_ascii_end();
        let now = clock::now().wall;
        let parsed = match self.program {
            Some(program) => Some(Line::of_program(bytes, program.as_bytes())),
            None => Line::of_syslog(bytes),
        };
        let explanation = parsed.as_ref().map(|line| self.reader.explain(line));
        let found = match &explanation {
            Some(Explanation::Found(found)) => Some(found),
            _ => None,
        };
        let stamp = found.and_then(|found| found.stamp).or(parsed.and_then(|line| line.stamp));
        let policy = &self.config.policy;
        let at = stamp.map(|stamp| stamp.resolve(now, utc));
        let matches_own = |program: &&'static str| {
            let mut reader = Reader::new(Arc::clone(self.reader.shared_book()));
            reader.read(&Line::of_program(bytes, program.as_bytes())).is_some()
        };
        let reads_as = match found {
            None if self.program.is_none() => shipped::OWN_FILES.into_iter().filter(matches_own).collect(),
            _ => Vec::new(),
        };
        let told = Told {
            program: parsed.map(|line| printable(line.program)),
            message: parsed.map(|line| printable(line.message)),
            time: at,
            multiplier: found.map(|found| policy.multipliers.get(found.event)),
            too_old: at
                .is_some_and(|at| now.since(at) > policy.monitor_period.max(policy.login.monitor_period)),
            reads_as,
            explanation,
        };
        if self.output.json { table::json(&told) } else { say(&told, now) }
    }
}

fn say(told: &Told, now: Timestamp) -> Result<(), Failure> {
    let row = |name: &str, value: &str| table::line(&format!("  {name:<9} {value}"));
    match &told.explanation {
        None => {
            table::line(
                "not understood: it does not begin with a time, a host and a program, as lines of a syslog do",
            )?;
        }
        Some(Explanation::Found(found)) => return say_found(told, found, now),
        Some(Explanation::Quiet { rule, why }) => {
            table::line(&format!("nothing to report: rule {rule} matches, and {}", sentence(*why)))?;
        }
        Some(Explanation::NoRule { rules: 0, .. }) => {
            table::line("nothing to report: no rule is about this program")?;
        }
        Some(Explanation::NoRule { rules, .. }) => {
            table::line(&format!("nothing to report: none of the {rules} rules about this program matches"))?;
        }
    }
    if let Some(program) = &told.program {
        row("program", program)?;
    }
    if let Some(message) = &told.message {
        row("message", message)?;
        if let Some(Explanation::NoRule { nearest: Some(near), .. }) = &told.explanation {
            let followed = message.get(..near.length).unwrap_or(message);
            row("nearest", &format!("rule {} goes along with `{followed}`", near.rule))?;
        }
    }
    for program in &told.reads_as {
        row(
            "but",
            &format!(
                "a line of the program's own file: --program {program}, and program = \"{program}\" for it in [logs]"
            ),
        )?;
    }
    Ok(())
}

fn say_found(told: &Told, found: &Found, now: Timestamp) -> Result<(), Failure> {
    let row = |name: &str, value: &str| table::line(&format!("  {name:<9} {value}"));
    let Found { rule, event, service, address, account, count, .. } = found;
    table::line(&format!("reported: rule {rule} matches"))?;
    row("client", &address.to_string())?;
    let points = told.multiplier.unwrap_or(0);
    let login = if event.is_failed_login() { ", and counts as a failed login" } else { "" };
    row("event", &format!("{} ({}), {count} × {points} points{login}", event.name(), event.number()))?;
    row("service", service)?;
    if let Some(account) = account {
        row("account", account)?;
    }
    match told.time {
        None => row("time", "it says none: it counts as of now"),
        Some(at) if told.too_old => row("time", &format!("{}: too old to count", time(at))),
        Some(at) => row("time", &format!("{}, {} ago", time(at), duration(now.since(at)))),
    }?;
    Ok(row("message", told.message.as_deref().unwrap_or_default())?)
}

const fn sentence(why: Quiet) -> &'static str {
    match why {
        Quiet::Ignored => "says that it is no client's fault",
        Quiet::Introduction => "only says who the client of a session is",
        Quiet::NothingFailed => "nothing has failed",
        Quiet::CountedBefore => "the lines before have told of all of it",
        Quiet::NoAddress => "there is no address where the program writes it",
        Quiet::UnknownSession => "the line that says whose session it is has not been read",
    }
}

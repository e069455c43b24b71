//! `gatepost replay`: the event log once more, with other numbers.
//!
//! Reads the database itself, page by page, so that it works beside an agent and without one, and holds no more of a
//! long log than what the engine keeps of it.

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};
use filter_core::event::EventId;
use filter_core::offence::Kind;
use filter_core::policy::Policy;
use filter_core::replay::{Before, Blocked, Outcome, Replay, Side};
use filter_core::time::Timestamp;
use serde::Serialize;

use super::table::{self, Table, duration, network, time};
use super::{Failure, Output};
use crate::config::Config;
use crate::store::{EventFilter, History, PAGE_LIMIT};
use crate::{agent, clock, kernel};

/// Rows of the table; JSON has them all.
const ROWS: usize = 1000;

/// What is asked: the settings of the configuration, other than these.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// Compare this last span of time, such as 30m or 7d [default: all that the log holds]
    #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// With this `client_error_block_threshold`
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    threshold: Option<u32>,
    /// With this `client_error_monitor_period`
    #[arg(long, value_name = "SPAN", value_parser = span)]
    monitor_period: Option<Duration>,
    /// With this `client_error_block_time`
    #[arg(long, value_name = "SPAN", value_parser = span)]
    block_time: Option<Duration>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    multipliers: Multipliers,
}

/// Multipliers other than those of the configuration, an option for each kind of offence.
#[derive(Debug)]
struct Multipliers(Vec<(Kind, u32)>);

impl Args for Multipliers {
    fn augment_args(command: Command) -> Command {
        command.args(Kind::ALL.map(|kind| {
            Arg::new(option(kind))
                .long(option(kind))
                .value_name("N")
                .value_parser(value_parser!(u32))
                .help(format!("With this `{}`", setting(kind)))
                .help_heading("Multipliers")
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Multipliers {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut multipliers = Self(Vec::new());
        multipliers.update_from_arg_matches(matches)?;
        Ok(multipliers)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for kind in Kind::ALL {
            let given = matches.try_get_one::<u32>(&option(kind));
            let given = given.map_err(|error| clap::Error::raw(ErrorKind::InvalidValue, error))?;
            self.0.extend(given.map(|multiplier| (kind, *multiplier)));
        }
        Ok(())
    }
}

fn option(kind: Kind) -> String {
    format!("{}-multiplier", kind.name())
}

fn setting(kind: Kind) -> String {
    option(kind).replace('-', "_")
}

/// A span as the configuration takes it.
fn span(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(span) if span >= Duration::from_secs(1) => Ok(span),
        Ok(_) => Err("it is at least 1s".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// One setting that is replayed with another value.
#[derive(Debug, Serialize)]
struct Changed {
    setting: String,
    configured: String,
    replayed: String,
}

#[derive(Debug, Serialize)]
struct View<'a> {
    /// What differs from the configuration.
    changed: &'a [Changed],
    #[serde(flatten)]
    outcome: &'a Outcome,
}

pub(super) async fn show(config: &Config, wanted: Wanted) -> Result<(), Failure> {
    let (history, stored) = History::open(&config.state_directory)?;
    let now = clock::now();
    let surroundings = kernel::surroundings().await?;
    let built_in = agent::built_in(config, &surroundings, now);
    let before = |first: Timestamp| Before {
        blocks: stored.blocks.into_iter().filter(|block| block.since < first).collect(),
        nevers: stored.nevers.into_iter().filter(|never| never.since < first).collect(),
        built_in,
    };
    let (policy, changed) = change(&config.policy, &wanted);
    let since = wanted.since.map_or(Timestamp::from_millis(i64::MIN), |span| now.wall.before(span));
    let outcome = replay(&history, policy, before, since)?;
    if wanted.output.json {
        return table::json(&View { changed: &changed, outcome: &outcome });
    }
    print(&outcome, &changed, wanted.since)
}

/// The policy that is replayed, and what in it is new.
fn change(configured: &Policy, wanted: &Wanted) -> (Policy, Vec<Changed>) {
    let mut policy = configured.clone();
    policy.block_threshold = wanted.threshold.unwrap_or(policy.block_threshold);
    policy.monitor_period = wanted.monitor_period.unwrap_or(policy.monitor_period);
    policy.block_time = wanted.block_time.unwrap_or(policy.block_time);
    for (kind, multiplier) in &wanted.multipliers.0 {
        policy.multipliers.set(*kind, *multiplier);
    }
    let words = |policy: &Policy| {
        let multiplier = |kind| (setting(kind), policy.multipliers.get(kind).to_string());
        let mut words = vec![
            ("client_error_block_threshold".to_owned(), policy.block_threshold.to_string()),
            ("client_error_monitor_period".to_owned(), duration(policy.monitor_period)),
            ("client_error_block_time".to_owned(), duration(policy.block_time)),
        ];
        words.extend(Kind::ALL.map(multiplier));
        words
    };
    let both = words(configured).into_iter().zip(words(&policy));
    let changed = both
        .filter(|((_, configured), (_, replayed))| configured != replayed)
        .map(|((setting, configured), (_, replayed))| Changed { setting, configured, replayed })
        .collect();
    (policy, changed)
}

/// Feeds the log to a replay, a page at a time.
fn replay(
    history: &History,
    policy: Policy,
    before: impl FnOnce(Timestamp) -> Before,
    since: Timestamp,
) -> Result<Outcome, Failure> {
    let unreadable = |error| {
        Failure::failed(format!(
            "the event log cannot be read: {error}; look at the disk of the state directory"
        ))
    };
    let page = |after| {
        let filter = EventFilter { after: Some(after), limit: Some(PAGE_LIMIT), ..EventFilter::default() };
        history.events(&filter).map_err(unreadable)
    };
    let mut events = page(EventId(0))?;
    // An empty log leaves nothing to be judged by either list.
    let first = events.first().map_or(Timestamp::from_millis(i64::MIN), |event| event.time);
    let mut replay = Replay::new(policy, before(first), since);
    while let Some(last) = events.last().map(|event| event.id) {
        for event in &events {
            replay.handle_event(event);
        }
        events = page(last)?;
    }
    Ok(replay.outcome())
}

fn print(outcome: &Outcome, changed: &[Changed], span: Option<Duration>) -> Result<(), Failure> {
    let (Some(first), Some(last)) = (outcome.first, outcome.last) else {
        let when =
            span.map_or_else(|| "the event log".to_owned(), |span| format!("the last {}", duration(span)));
        return Ok(table::line(&format!("there are no offences in {when}; there is nothing to replay"))?);
    };
    table::line(&format!("{} offences from {} to {}", outcome.offences, time(first), time(last)))?;
    for Changed { setting, configured, replayed } in changed {
        table::line(&format!("with {setting} {replayed} instead of {configured}"))?;
    }
    if changed.is_empty() {
        table::line("with the settings of the configuration")?;
    }
    table::line(&format!(
        "blocked only as replayed: {}; only as it was: {}; both: {}",
        outcome.only_replayed, outcome.only_in_force, outcome.both
    ))?;
    if outcome.not_told_apart > 0 {
        table::line(&format!(
            "{} more blocks of clients beyond the limit of a replay",
            outcome.not_told_apart
        ))?;
    }
    if outcome.clients.is_empty() {
        return Ok(());
    }
    table::line("")?;
    let mut table = Table::new(&[
        "CLIENT",
        "BLOCKED",
        "IN FORCE",
        "TIMES",
        "SCORE",
        "REPLAYED",
        "TIMES",
        "SCORE",
        "LOGINS AND MAILS",
    ]);
    for client in outcome.clients.iter().take(ROWS) {
        let side = match client.side() {
            Side::Both => "both",
            Side::InForce => "only as it was",
            Side::Replayed => "only as replayed",
        };
        let mut row = vec![network(&client.network), side.to_owned()];
        row.extend(cells(client.in_force.as_ref()));
        row.extend(cells(client.replayed.as_ref()));
        row.push(client.succeeded.to_string());
        table.row(&row);
    }
    table.print()?;
    match outcome.clients.len().checked_sub(ROWS) {
        None | Some(0) => Ok(()),
        Some(more) => Ok(table::line(&format!("and {more} more; --json shows all"))?),
    }
}

/// The first block, how many there were, and the score of the first.
fn cells(blocked: Option<&Blocked>) -> [String; 3] {
    blocked.map_or_else(
        || ["-".to_owned(), String::new(), String::new()],
        |Blocked { first, times, score }| {
            let score = score.map_or_else(String::new, |score| score.to_string());
            [time(*first), times.to_string(), score]
        },
    )
}

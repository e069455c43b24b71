//! `gatepost replay`: the event log once more, with other numbers.

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use filter_core::policy::Policy;
use filter_core::replay::{Blocked, Side};
use indicatif::{ProgressBar, ProgressStyle};

use super::table::{self, Table, duration, network, time};
use super::{Failure, Output};
use crate::config::Config;
use crate::replay::{Answer, Changed, Question, Setting, replay};
use crate::store::History;
use crate::{agent, clock, kernel};

/// Rows of the table; JSON has them all.
const ROWS: usize = 1000;

/// What is asked: the settings of the configuration, other than these.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// Compare this last span of time, such as 30m or 7d [default: all that the log holds]
    #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    settings: Settings,
}

/// Values other than those of the configuration, an option for each setting.
#[derive(Debug)]
struct Settings(Vec<(Setting, String)>);

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        command.args(Setting::all().map(|setting| {
            let check = move |text: &str| -> Result<String, String> {
                let checked = setting.apply(text, &mut Policy::default());
                checked.map(|()| text.to_owned()).map_err(|error| error.to_string())
            };
            let is_multiplier = matches!(setting, Setting::Multiplier(_));
            let is_span = matches!(setting, Setting::MonitorPeriod | Setting::BlockTime);
            Arg::new(option(setting))
                .long(option(setting))
                .value_name(if is_span { "SPAN" } else { "N" })
                .value_parser(check)
                .help(format!("With this `{}`", setting.name()))
                .help_heading(if is_multiplier { "Multipliers" } else { "Settings" })
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut settings = Self(Vec::new());
        settings.update_from_arg_matches(matches)?;
        Ok(settings)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in Setting::all() {
            let given = matches.try_get_one::<String>(&option(setting));
            let given = given.map_err(|error| clap::Error::raw(ErrorKind::InvalidValue, error))?;
            self.0.extend(given.map(|value| (setting, value.clone())));
        }
        Ok(())
    }
}

/// The name on the command line: the help page's names without what they all begin with.
fn option(setting: Setting) -> String {
    match setting {
        Setting::Threshold => "threshold".to_owned(),
        Setting::MonitorPeriod => "monitor-period".to_owned(),
        Setting::BlockTime => "block-time".to_owned(),
        other => other.name().replace('_', "-"),
    }
}

pub(super) async fn show(config: &Config, wanted: Wanted) -> Result<(), Failure> {
    let (history, _) = History::open(&config.state_directory)?;
    let now = clock::now();
    let surroundings = kernel::surroundings().await?;
    let mut tried = config.policy.clone();
    for (setting, value) in &wanted.settings.0 {
        setting.apply(value, &mut tried).map_err(|error| Failure::usage(error.to_string()))?;
    }
    let question = Question {
        configured: config.policy.clone(),
        tried,
        since: wanted.since.map(|span| now.wall.before(span)),
        built_in: agent::built_in(config, &surroundings, now),
    };
    let bar = progress();
    let answer = replay(&history, question, |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let answer = answer.map_err(|error| Failure::failed(error.to_string()))?;
    if wanted.output.json { table::json(&answer) } else { print(&answer, wanted.since) }
}

/// How far it is, for a person who waits; it draws itself on a terminal only.
fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} events, {eta} left");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn print(answer: &Answer, span: Option<Duration>) -> Result<(), Failure> {
    let Answer { summary, changed, outcome } = answer;
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
    table::line(&format!("{summary}."))?;
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
        "CLIENT", "BLOCKED", "IN FORCE", "TIMES", "SCORE", "REPLAYED", "TIMES", "SCORE", "LOGINS", "MAILS",
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
        row.extend([client.succeeded.logins.to_string(), client.succeeded.messages.to_string()]);
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

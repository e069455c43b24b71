//! The command line: every verb one function, every failure one sentence and a documented exit code.

mod about;
mod audit;
mod backup;
mod change;
mod check;
pub(crate) mod colour;
mod config;
mod csv;
mod events;
mod exit;
mod explain;
mod explain_log;
mod export;
mod filter;
mod generate;
mod health;
mod import;
mod listing;
mod lists;
mod maps;
mod policy;
mod reload;
mod replay;
mod report;
mod run;
mod sessions;
mod statistics;
mod status;
pub(crate) mod table;
mod top;
mod undo;
mod user;
mod why;
mod why_network;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use exit::Failure;
use filter_core::time::Timestamp;

pub(crate) use csv::as_csv;

use crate::config::{Config, LogFormat};
use crate::control::{Client, document};
use crate::telemetry;

/// An SMTP edge filter: limits sessions, scores misbehaviour, and drops blocked clients in the kernel.
#[derive(Debug, Parser)]
#[command(
    name = "gatepost",
    version,
    after_help = "Exit codes: 0 done · 1 failed · 2 wrong usage or configuration · 3 the agent is not running · \
                  4 more permission is needed"
)]
struct Cli {
    /// Configuration file [default: /etc/gatepost/gatepost.toml if it exists, else built-in defaults]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Control socket of the agent [default: `control_socket` of the configuration]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the agent in the foreground
    Run {
        /// Take the kernel filter off again when the agent stops
        #[arg(long)]
        unload_on_exit: bool,
    },
    /// Check a configuration file and say what it means
    CheckConfig {
        /// The file [default: as for --config]
        file: Option<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
    /// Show the configuration
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Show the state of the running agent
    Status(Output),
    /// Show the events of the last day, and the clients nearest to being blocked
    #[command(visible_alias = "stats")]
    Statistics(Output),
    /// Show the limits and multipliers that the running agent has in force
    Policy(Output),
    /// Show which agent is running, and what its API can do
    About(Output),
    /// Watch the running agent in the terminal: sessions, drops, scores and events
    Top,
    /// Say whether the running agent can do what it is for; exit code 1 if not
    Health(Output),
    /// Print the metrics of the running agent, as Prometheus reads them
    Metrics,
    /// Let the running agent read its configuration again
    Reload(Output),
    /// Say why an address is blocked, or how far it is from it; or what covers a network and who in it misbehaves
    Why {
        /// The address
        address: String,
        #[command(flatten)]
        output: Output,
    },
    /// Say what a log line would do, and by which rule; works without the agent
    Explain {
        /// The line, in quotes; several come one after the other [default: lines from standard input]
        line: Vec<String>,
        /// Of a program's own file rather than a syslog: the program, such as exim or dovecot
        #[arg(long, value_name = "NAME")]
        program: Option<String>,
        /// Count what all lines of standard input come to, instead of each line
        #[arg(long)]
        summary: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Show the event log of the running agent
    Events(Events),
    /// Tell the running agent of something that a client did wrong elsewhere
    Report(report::Told),
    /// Show who would have been blocked with other settings; works without the agent
    Replay(replay::Wanted),
    /// Show and end open sessions
    #[command(subcommand)]
    Sessions(sessions::SessionVerb),
    /// Show and change the block list of the running agent
    #[command(subcommand)]
    Block(ListVerb),
    /// Show and change the never-block list of the running agent
    #[command(subcommand)]
    Never(ListVerb),
    /// Manage who may use the API and the web admin over TCP
    #[command(subcommand)]
    User(user::UserVerb),
    /// Manage the tokens of programs that use the API over TCP
    #[command(subcommand)]
    Token(user::TokenVerb),
    /// Show who changed what, and from where
    Audit(Output),
    /// Copy the database (lists and event log) to a file, whether the agent runs or not
    Backup {
        /// The file; the copy is a database of its own
        file: PathBuf,
        /// Replace the file if it is there
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Read the kernel's maps; works without the agent
    #[command(subcommand)]
    Maps(MapsVerb),
    /// Load the kernel filter and attach it, without an agent
    Load {
        /// Interface to attach to; can be given several times
        #[arg(long, value_name = "NAME")]
        interface: Vec<String>,
    },
    /// Take the kernel filter off all interfaces and remove its maps
    Unload,
    #[expect(clippy::doc_markdown, reason = "it is what a person reads in a terminal")]
    /// Print the description of the API as an OpenAPI document; works without the agent
    Openapi,
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Write the manual pages, one for each command
    Man {
        /// Where; made if it is not there
        directory: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, Args)]
struct Output {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Events {
    /// Of this address or CIDR, and of networks around it
    #[arg(long, value_name = "NETWORK")]
    network: Option<String>,
    /// Of this kind: offence, blocked, unblocked, spared, exempted, unexempted, dropped, no-room
    #[arg(long)]
    kind: Option<String>,
    /// Offences at this service, such as imap
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Offences about this account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Of this last span of time, such as 30m or 2d
    #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration)]
    since: Option<std::time::Duration>,
    /// How many at most, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    last: u32,
    /// Go on with what happens from now on, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// Print CSV, for a spreadsheet
    #[arg(long, conflicts_with_all = ["follow", "json"])]
    csv: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Show every setting with its value and where that comes from: file and line, or the default
    Show {
        /// Of the running agent, with what waits for its next start
        #[arg(long)]
        running: bool,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
enum ListVerb {
    /// Show the entries
    List(lists::Wanted),
    /// Add entries, or change those for exactly these networks
    Add(Wish),
    /// Give an entry another end, or another comment
    Change(change::Change),
    /// Say whether an address is covered, and by which entries of both lists
    Test {
        /// The address
        address: String,
        #[command(flatten)]
        output: Output,
    },
    /// Put the entries of a file on the list; nothing is removed
    Import(import::Import),
    /// Write the list, without built-in entries, in a form that `import` reads
    Export {
        /// How it is written
        #[arg(long, value_enum, default_value_t = listing::Format::Json)]
        format: listing::Format,
    },
    /// Remove the entries for exactly these networks
    Remove {
        /// Addresses, CIDRs or wildcards
        #[arg(required = true, value_name = "NETWORK")]
        networks: Vec<String>,
        /// Only if this program has filed it, such as fail2ban/dovecot; if not, nothing is changed
        #[arg(long, value_name = "NAME")]
        feed: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
struct Wish {
    /// Addresses (192.0.2.7), CIDRs (192.0.2.0/24) or wildcards (192.0.2.*)
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
    /// For how long: 1 to 999999999 minutes, or a span such as 2h [default: the configured block time; on the never-block list, for good]
    #[arg(long, visible_alias = "for", value_name = "N|SPAN", value_parser = table::read_minutes, conflicts_with = "until")]
    minutes: Option<u64>,
    /// Until when, such as 2026-12-01T08:00 (local time) or 2026-12-01T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = table::read_time)]
    until: Option<Timestamp>,
    /// Why, for whoever asks later
    #[arg(long, visible_alias = "reason", value_name = "TEXT", default_value_t, hide_default_value = true)]
    comment: String,
    /// Take networks that cover a large part of the internet
    #[arg(long)]
    force: bool,
    /// Of a block: the program that files it, such as fail2ban/dovecot; what stands for longer stays
    #[arg(long, value_name = "NAME")]
    feed: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum MapsVerb {
    /// Show interfaces, maps and packet counters
    List(Output),
    /// Say what the kernel would do with a new connection from an address, and why
    Get {
        /// The address
        address: String,
        #[command(flatten)]
        output: Output,
    },
    /// Show every block and never-block entry that the kernel holds
    Dump {
        /// Only entries in and around this address or CIDR
        #[arg(long, value_name = "NETWORK")]
        network: Option<String>,
        /// Only blocks that have dropped something
        #[arg(long)]
        hit: bool,
        #[command(flatten)]
        output: Output,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    // They are made where packages are, by whoever has no configuration.
    match &cli.verb {
        Verb::Completions { shell } => return generate::completions(*shell),
        Verb::Man { directory } => return generate::man(directory),
        Verb::Openapi => return table::json(&document()),
        _ => {}
    }
    let file = match &cli.verb {
        Verb::CheckConfig { file: Some(file), .. } => Some(file),
        _ => cli.config.as_ref(),
    };
    let config = Config::load(file.map(PathBuf::as_path))?;
    // What other verbs have to say is for whoever typed them.
    telemetry::start(if matches!(cli.verb, Verb::Run { .. }) { config.log.format } else { LogFormat::Text });
    let client = Client::new(cli.socket.as_deref().unwrap_or(&config.control_socket));
    match cli.verb {
        Verb::Run { unload_on_exit } => run::run(&config, unload_on_exit),
        Verb::CheckConfig { output, .. } => check::show(&config, output),
        Verb::Config(ConfigVerb::Show { running: true, output }) => {
            alone(config::show_running(&client, output))
        }
        Verb::Config(ConfigVerb::Show { running: false, output }) => config::show(&config, output),
        Verb::Status(output) => alone(status::show(&client, output)),
        Verb::Statistics(output) => alone(statistics::show(&client, output)),
        Verb::Policy(output) => alone(policy::show(&client, output)),
        Verb::About(output) => alone(about::show(&client, output)),
        Verb::Audit(output) => alone(audit::show(&client, output)),
        Verb::Top => alone(top::show(&client)),
        Verb::Health(output) => alone(health::health(&client, output)),
        Verb::Metrics => alone(health::metrics(&client)),
        Verb::Reload(output) => alone(reload::reload(&client, output)),
        Verb::Why { address, output } => alone(why::show(&client, &address, output)),
        Verb::Explain { summary: true, program, output, .. } => {
            explain_log::show(&config, program.as_deref(), output)
        }
        Verb::Explain { line, program, output, .. } => {
            explain::show(&config, &line, program.as_deref(), output)
        }
        Verb::Events(wanted) => alone(events::show(&client, wanted)),
        Verb::Report(told) => alone(report::tell(&client, told)),
        Verb::Replay(wanted) => alone(replay::show(&config, wanted)),
        Verb::Sessions(verb) => alone(sessions::sessions(&client, verb)),
        Verb::Block(verb) => alone(lists::blocks(&client, verb)),
        Verb::Never(verb) => alone(lists::nevers(&client, verb)),
        Verb::User(verb) => alone(user::users(&client, verb)),
        Verb::Token(verb) => alone(user::tokens(&client, verb)),
        Verb::Backup { file, force, output } => backup::show(&config, &file, force, output),
        Verb::Maps(verb) => alone(maps::show(&config, verb)),
        Verb::Load { interface } => alone(filter::load(config, interface)),
        Verb::Unload => filter::unload(&config),
        // They have been answered above.
        Verb::Completions { .. } | Verb::Man { .. } | Verb::Openapi => Ok(()),
    }
}

/// Runs one short job on a runtime of its own.
fn alone(job: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(job)
}

fn address(text: &str) -> Result<IpAddr, Failure> {
    text.trim().parse().map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        Failure::usage(format!("`{shown}` is not an address; write one like 192.0.2.7 or 2001:db8::7"))
    })
}

#[cfg(test)]
mod tests;

//! `gatepost sessions`: who is connected at this moment, and ending it.

use clap::{Args, Subcommand};
use filter_core::notation::parse_network;
use filter_core::open::{Ended, Key, OpenSession, OpenSessions, PAGE_LIMIT};
use filter_core::smtp::session::State;

use super::lists::encode;
use super::table::{self, Table, bytes, duration};
use super::{Failure, Output};
use crate::control::Client;

const ROUTE: &str = "/api/v1/sessions";

/// What can be done with open sessions.
#[derive(Debug, Subcommand)]
pub(super) enum SessionVerb {
    /// Show open sessions
    List(Wanted),
    /// End a session, or those of a network; the clients hear a 421 and may come back
    End {
        /// The number of the session, as `sessions list` shows it
        #[arg(required_unless_present = "network")]
        id: Option<u64>,
        /// All sessions of this address, CIDR or wildcard instead
        #[arg(long, value_name = "NETWORK", conflicts_with = "id")]
        network: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}

/// Which of them, and in which order.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// Of clients in this address, CIDR or wildcard
    #[arg(long, value_name = "NETWORK")]
    network: Option<String>,
    /// Whose address, name, account or mail server contains this
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Of this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// That do this: connecting, ready, login, envelope, message, opaque, closing
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<State>,
    /// Sorted by this: id, client, service, state, age, idle, received, sent, messages, score
    #[arg(long, value_name = "KEY", default_value = "id", value_parser = key)]
    sort: Key,
    /// The highest first
    #[arg(long)]
    descending: bool,
    /// How many at most, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    last: u32,
    #[command(flatten)]
    output: Output,
}

fn state(text: &str) -> Result<State, String> {
    let names = State::ALL.map(State::name).join(", ");
    State::named(text).ok_or_else(|| format!("it is one of {names}"))
}

fn key(text: &str) -> Result<Key, String> {
    let names = Key::ALL.map(Key::name).join(", ");
    Key::named(text).ok_or_else(|| format!("it is one of {names}"))
}

pub(super) async fn sessions(client: &Client, verb: SessionVerb) -> Result<(), Failure> {
    match verb {
        SessionVerb::List(wanted) => list(client, wanted).await,
        SessionVerb::End { id, network, output } => end(client, id, network.as_deref(), output).await,
    }
}

async fn list(client: &Client, wanted: Wanted) -> Result<(), Failure> {
    let limit = wanted.last;
    let mut route =
        format!("{ROUTE}?sort={}&descending={}&limit={limit}", wanted.sort.name(), wanted.descending);
    if let Some(network) = &wanted.network {
        let network = parse_network(network).map_err(|error| Failure::usage(error.to_string()))?;
        route.extend(["&network=", &network.to_string()]);
    }
    if let Some(state) = wanted.state {
        route.extend(["&state=", state.name()]);
    }
    if let Some(service) = &wanted.service {
        // The names of services need no escaping, and no other name has sessions.
        if !service.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Err(Failure::usage(format!("there is no service `{service}`; see `gatepost status`")));
        }
        route.extend(["&service=", service]);
    }
    if let Some(text) = &wanted.search {
        route.extend(["&q=", &encode(text)]);
    }
    let page: OpenSessions = client.get(&route).await?;
    if wanted.output.json {
        return table::json(&page);
    }
    show(&page)
}

fn show(page: &OpenSessions) -> Result<(), Failure> {
    if page.sessions.is_empty() {
        let which = if page.total == 0 { "no session is open" } else { "no open session matches" };
        return Ok(table::line(which)?);
    }
    let mut table = Table::new(&[
        "ID",
        "CLIENT",
        "SERVICE",
        "STATE",
        "AWAITS",
        "HELO",
        "ACCOUNT",
        "TLS",
        "IN",
        "OUT",
        "MAILS",
        "AGE",
        "IDLE",
        "SCORE",
        "MAIL SERVER",
    ]);
    for session in &page.sessions {
        table.row(&cells(session));
    }
    table.print()?;
    match page.matching.checked_sub(page.sessions.len() as u64) {
        None | Some(0) => Ok(()),
        Some(more) => Ok(table::line(&format!("and {more} more; --last shows up to {PAGE_LIMIT}"))?),
    }
}

fn cells(session: &OpenSession) -> [String; 15] {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let seconds = |count| duration(std::time::Duration::from_secs(count));
    [
        session.id.to_string(),
        session.client.to_string(),
        session.service.clone(),
        session.state.name().to_owned(),
        session.awaits.name().to_owned(),
        or_dash(&session.helo),
        or_dash(&session.account),
        or_dash(&session.tls),
        bytes(session.received),
        bytes(session.sent),
        session.messages.to_string(),
        seconds(session.age),
        seconds(session.idle),
        session.score.to_string(),
        or_dash(&session.mail_server),
    ]
}

async fn end(client: &Client, id: Option<u64>, network: Option<&str>, output: Output) -> Result<(), Failure> {
    let which = match (id, network) {
        (_, Some(network)) => {
            let network = parse_network(network).map_err(|error| Failure::usage(error.to_string()))?;
            format!("network={network}")
        }
        (id, None) => format!("id={}", id.unwrap_or_default()),
    };
    let ended: Ended = client.delete(&format!("{ROUTE}?{which}")).await?;
    if output.json {
        return table::json(&ended);
    }
    match ended.ended.as_slice() {
        [] => Ok(table::line("no session of that network is open")?),
        [id] => Ok(table::line(&format!("session {id} is told to end"))?),
        ids => Ok(table::line(&format!("{} sessions are told to end", ids.len()))?),
    }
}

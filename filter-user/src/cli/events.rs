//! `gatepost events`: the event log, and what is added to it.

use std::time::Duration;

use filter_core::event::{Event, EventId, What};
use filter_core::notation::parse_network;

use super::lists::encode;
use super::table::{self, Table, duration, network, time};
use super::{Events, Failure, as_csv};
use crate::clock;
use crate::control::Client;

/// How often a log that is followed is looked at.
const INTERVAL: Duration = Duration::from_millis(500);

pub(super) async fn show(client: &Client, wanted: Events) -> Result<(), Failure> {
    let filter = filter(&wanted)?;
    let events: Vec<Event> = client.get(&format!("/api/v1/events?limit={}{filter}", wanted.last)).await?;
    let mut last = events.last().map_or(EventId(0), |event| event.id);
    if wanted.csv {
        return Ok(table::line(as_csv(&events).trim_end())?);
    }
    if wanted.follow {
        lines(&events, wanted.output.json)?;
    } else if wanted.output.json {
        return table::json(&events);
    } else {
        return print(&events);
    }
    loop {
        tokio::time::sleep(INTERVAL).await;
        let events: Vec<Event> = client.get(&format!("/api/v1/events?after={}{filter}", last.0)).await?;
        last = events.last().map_or(last, |event| event.id);
        lines(&events, wanted.output.json)?;
    }
}

/// The filter as the rest of a query.
fn filter(wanted: &Events) -> Result<String, Failure> {
    let mut query = Vec::new();
    if let Some(text) = &wanted.network {
        let network = parse_network(text).map_err(|error| Failure::usage(error.to_string()))?;
        query.push(format!("&network={network}"));
    }
    if let Some(kind) = &wanted.kind {
        if !What::NAMES.contains(&kind.as_str()) {
            let names = What::NAMES.join(", ");
            return Err(Failure::usage(format!("there are no events of that kind; there are {names}")));
        }
        query.push(format!("&kind={kind}"));
    }
    for (key, value) in [("service", &wanted.service), ("account", &wanted.account)] {
        query.extend(value.iter().map(|value| format!("&{key}={}", encode(value))));
    }
    if let Some(span) = wanted.since {
        query.push(format!("&since={}", clock::now().wall.before(span).as_millis()));
    }
    Ok(query.concat())
}

fn print(events: &[Event]) -> Result<(), Failure> {
    if events.is_empty() {
        return Ok(table::line("there are no such events")?);
    }
    let mut table = Table::new(&["EVENT", "TIME", "NETWORK", "WHAT", "DETAIL"]);
    for event in events {
        table.row(&cells(event));
    }
    Ok(table.print()?)
}

/// One line for each, since what comes later cannot be lined up with what came before.
fn lines(events: &[Event], json: bool) -> Result<(), Failure> {
    for event in events {
        let line = if json { serde_json::to_string(event)? } else { cells(event).join("  ") };
        table::line(&line)?;
    }
    Ok(())
}

fn cells(event: &Event) -> [String; 5] {
    [
        event.id.0.to_string(),
        time(event.happened()),
        network(&event.network),
        what(&event.what),
        detail(event),
    ]
}

/// What happened, in a word or two.
pub(super) fn what(what: &What) -> String {
    match what {
        What::Offence { kind, .. } => kind.name().to_owned(),
        What::Blocked { enforced: false, .. } => "would be blocked".to_owned(),
        What::Exempted { .. } => "never blocked".to_owned(),
        What::Unexempted { .. } => "never-block ended".to_owned(),
        other => other.name().to_owned(),
    }
}

pub(super) fn detail(event: &Event) -> String {
    let by = |by: &Option<String>| {
        by.as_ref().map_or_else(|| "its time had come".to_owned(), |by| format!("by {by}"))
    };
    match &event.what {
        What::Offence { multiplier, score, service, .. } => {
            let answered = event.answered_by.map_or_else(String::new, |id| format!(", answered by {}", id.0));
            format!("+{multiplier} = {score}{answered}, {service}: {}", event.what.circumstances())
        }
        What::Succeeded { how } => how.name().to_owned(),
        What::Blocked { reason, author, until, .. } => {
            format!("for {}, by {author}: {reason}", duration(until.since(event.time)))
        }
        What::Unblocked { by: who, .. } | What::Unexempted { by: who } => by(who),
        What::Spared { score, by, .. } => format!("score {score}; {} is never blocked", network(by)),
        What::Exempted { comment, author, .. } => format!("by {author}: {comment}"),
        What::NoRoom => "the block list is full".to_owned(),
        What::Dropped { packets, port, by } => {
            let port = port.map_or_else(String::new, |port| format!(" to port {port}"));
            format!("packet {packets} of {} in the kernel{port}", network(by))
        }
    }
}

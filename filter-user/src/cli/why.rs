//! `gatepost why`: the answer for whoever is on the telephone with the blocked user.

use std::collections::BTreeSet;
use std::time::Duration;

use filter_core::admin::{Standing, Why};
use filter_core::event::{Event, What};
use filter_core::notation::parse_network;

use super::table::{self, Table, bytes, duration, network, time};
use super::why_network;
use super::{Failure, Output};
use crate::clock;
use crate::control::Client;

pub(super) async fn show(client: &Client, asked: &str, output: Output) -> Result<(), Failure> {
    let asked = parse_network(asked).map_err(|error| Failure::usage(error.to_string()))?;
    if asked.prefix_len() < asked.max_prefix_len() {
        return why_network::show(client, asked, output).await;
    }
    let address = asked.addr();
    let why: Why = client.get(&format!("/api/v1/why?address={address}")).await?;
    if output.json {
        return table::json(&why);
    }
    verdict(&why.standing)?;
    for view in &why.standing.blocks {
        let block = &view.block;
        table::line("")?;
        table::line(&format!(
            "Block of {} ({}) since {}, by {}: {}",
            network(&block.network),
            block.origin.name(),
            time(block.since),
            block.author,
            block.reason
        ))?;
        let led: Vec<_> = why.events.iter().filter(|event| event.answered_by == Some(block.event)).collect();
        sum(&led)?;
        members(&led)?;
    }
    for never in &why.standing.never {
        let comment = if never.comment.is_empty() { "no comment" } else { &never.comment };
        table::line(&format!("Never blocked: {} by {} ({comment})", network(&never.network), never.author))?;
    }
    counting(&why)?;
    if let Some(kernel) = &why.kernel {
        let last = kernel
            .last_drop
            .map_or_else(|| "none yet".to_owned(), |last| format!("the last at {}", time(last)));
        let verb = if kernel.verdict == "drop" { "drops" } else { "passes" };
        table::line("")?;
        table::line(&format!(
            "The kernel {verb} its new connections ({}); dropped so far: {} packets, {}, {last}",
            kernel.reason,
            kernel.packets,
            bytes(kernel.bytes)
        ))?;
    }
    Ok(())
}

fn verdict(standing: &Standing) -> Result<(), Failure> {
    let address = standing.address;
    let refused = standing.blocks.iter().find(|view| Some(view.block.network) == standing.refused_by);
    let sentence = match (refused, standing.never.first()) {
        (Some(view), _) => {
            let left = duration(view.block.until.since(clock::now().wall));
            let verb = if standing.enforced { "is blocked" } else { "would be blocked (observe mode)" };
            format!("{address} {verb} for another {left}, until {}", time(view.block.until))
        }
        (None, Some(never)) if !standing.blocks.is_empty() => {
            format!("{address} is not blocked: {} is never blocked, which wins", network(&never.network))
        }
        _ => {
            let reached = standing.score.saturating_sub(standing.credit);
            let left = u64::from(standing.threshold).saturating_sub(reached);
            format!(
                "{address} is not blocked; its score is {} of {}, {left} more would block it",
                standing.score, standing.threshold
            )
        }
    };
    Ok(table::line(&sentence)?)
}

/// What counts at present, if anything does.
fn counting(why: &Why) -> Result<(), Failure> {
    let Standing { scope, counted, monitor_period, credit, .. } = &why.standing;
    let counted: BTreeSet<_> = counted.iter().collect();
    let events: Vec<_> = why.events.iter().filter(|event| counted.contains(&event.id)).collect();
    if !events.is_empty() {
        let period = duration(Duration::from_secs(*monitor_period));
        table::line("")?;
        table::line(&format!("Counting for {} within {period}:", network(scope)))?;
        sum(&events)?;
    }
    if *credit > 0 {
        table::line(&format!("Good behaviour takes {credit} off the score."))?;
    }
    let Standing { failed_logins, failed_login_threshold, login_monitor_period, counted_logins, .. } =
        &why.standing;
    if *failed_logins > 0 && *failed_login_threshold > 0 {
        let period = duration(Duration::from_secs(*login_monitor_period));
        table::line(&format!(
            "Failed logins within {period}: {failed_logins} of {failed_login_threshold} that would block it (the same credentials count once)."
        ))?;
        // Those that cost something stand in the sum already.
        let free = |event: &&Event| counted_logins.contains(&event.id) && !counted.contains(&event.id);
        sum(&why.events.iter().filter(free).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Offences line by line, with the sum as it grew.
fn sum(events: &[&Event]) -> Result<(), Failure> {
    let mut table = Table::new(&["EVENT", "TIME", "ADDRESS", "SERVICE", "WHAT", "COST", "SUM", "DETAIL"]);
    let mut sum = None;
    for event in events {
        let What::Offence { kind, multiplier, service, .. } = &event.what else { continue };
        let sum = sum.insert(sum.unwrap_or(0_u64) + u64::from(*multiplier));
        table.row(&[
            event.id.0.to_string(),
            time(event.happened()),
            network(&event.network),
            service.to_string(),
            kind.name().to_owned(),
            multiplier.to_string(),
            sum.to_string(),
            event.what.circumstances(),
        ]);
    }
    if sum.is_some() { Ok(table.print()?) } else { Ok(()) }
}

/// The blocks inside a network that led to its own.
fn members(events: &[&Event]) -> Result<(), Failure> {
    let mut table = Table::new(&["EVENT", "TIME", "BLOCKED", "REASON"]);
    let mut is_empty = true;
    for event in events {
        let What::Blocked { reason, .. } = &event.what else { continue };
        table.row(&[event.id.0.to_string(), time(event.time), network(&event.network), reason.clone()]);
        is_empty = false;
    }
    if is_empty { Ok(()) } else { Ok(table.print()?) }
}

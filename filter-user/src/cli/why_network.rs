//! `gatepost why NETWORK`: what covers a network, what lies inside it, and who in it comes close to a block.

use filter_core::decision::Block;
use filter_core::neighbourhood::{Neighbourhood, WhyNetwork};
use ipnet::IpNet;

use super::table::{self, Table, bytes, duration, network, time};
use super::{Failure, Output};
use crate::clock;
use crate::control::Client;

pub(super) async fn show(client: &Client, asked: IpNet, output: Output) -> Result<(), Failure> {
    // A CIDR needs no escaping in a query (RFC 3986 section 3.4).
    let why: WhyNetwork = client.get(&format!("/api/v1/why?network={asked}")).await?;
    if output.json {
        return table::json(&why);
    }
    let found = &why.neighbourhood;
    verdict(found)?;
    for view in &found.blocks {
        let Block { network: whom, origin, since, author, reason, .. } = &view.block;
        table::line(&format!(
            "Block of {} ({}) since {}, by {author}: {reason}",
            network(whom),
            origin.name(),
            time(*since)
        ))?;
    }
    for never in &found.never {
        let comment = if never.comment.is_empty() { "no comment" } else { &never.comment };
        table::line(&format!("Never blocked: {} by {} ({comment})", network(&never.network), never.author))?;
    }
    inside(found)?;
    if let Some(kernel) = &why.kernel {
        let last = kernel
            .last_drop
            .map_or_else(|| "none yet".to_owned(), |last| format!("the last at {}", time(last)));
        table::line("")?;
        table::line(&format!(
            "The kernel holds {} blocks and {} never-block entries in and around it; dropped so far: {} packets, {}, {last}",
            kernel.blocks,
            kernel.never,
            kernel.packets,
            bytes(kernel.bytes)
        ))?;
    }
    Ok(())
}

fn verdict(found: &Neighbourhood) -> Result<(), Failure> {
    let whom = network(&found.network);
    let sentence = match (found.blocks.first(), found.never.first()) {
        (_, Some(never)) => format!("{whom} is never blocked, by {}", network(&never.network)),
        (Some(view), None) => {
            let verb = if found.enforced { "is blocked" } else { "would be blocked (observe mode)" };
            let left = duration(view.block.until.since(clock::now().wall));
            format!("{whom} {verb} for another {left}, until {}", time(view.block.until))
        }
        (None, None) => format!("{whom} is not blocked as a whole"),
    };
    table::line(&sentence)?;
    Ok(table::line(&format!(
        "inside: {} blocks, {} never-block entries, {} clients with a score",
        found.blocks_inside, found.never_inside, found.watched
    ))?)
}

fn inside(found: &Neighbourhood) -> Result<(), Failure> {
    if !found.latest_blocks.is_empty() {
        table::line("")?;
        table::line(&heading("Blocks inside, latest first", found.latest_blocks.len(), found.blocks_inside))?;
        let mut table = Table::new(&["NETWORK", "ORIGIN", "SINCE", "UNTIL", "BY", "REASON"]);
        for Block { network: whom, origin, since, until, author, reason, .. } in
            found.latest_blocks.iter().map(|view| &view.block)
        {
            let origin = origin.name().to_owned();
            table.row(&[network(whom), origin, time(*since), time(*until), author.clone(), reason.clone()]);
        }
        table.print()?;
    }
    for never in &found.first_never {
        let comment = if never.comment.is_empty() { "no comment" } else { &never.comment };
        table::line(&format!(
            "Never blocked inside: {} by {} ({comment})",
            network(&never.network),
            never.author
        ))?;
    }
    if !found.heaviest.is_empty() {
        table::line("")?;
        table::line(&heading("Clients with a score, highest first", found.heaviest.len(), found.watched))?;
        let mut table = Table::new(&["CLIENT", "SCORE", "MISSING FOR A BLOCK"]);
        for watched in &found.heaviest {
            let missing = u64::from(found.threshold).saturating_sub(watched.score);
            table.row(&[network(&watched.scope), watched.score.to_string(), missing.to_string()]);
        }
        table.print()?;
    }
    Ok(())
}

/// What follows, and how much of it.
fn heading(what: &str, shown: usize, all: u64) -> String {
    if shown as u64 == all { format!("{what}:") } else { format!("{what} ({shown} of {all}):") }
}

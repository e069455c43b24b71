//! `gatepost block change`, `block test` and the same of `never`: an entry with another end or comment, and whether an address is
//! covered.

use clap::Args;
use filter_core::admin::{BlockView, ChangeRequest, Coverage};
use filter_core::decision::Never;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::lists::{former, one, parse};
use super::table::{self, network, time};
use super::undo::Former;
use super::{Failure, Output, address};
use crate::control::Client;
use crate::ips::List;

/// What changes.
#[derive(Debug, Args)]
pub(super) struct Change {
    /// The network of the entry: an address, a CIDR or a wildcard
    network: String,
    /// From now on for how long: 1 to 999999999 minutes, or a span such as 2h
    #[arg(long, visible_alias = "for", value_name = "N|SPAN", value_parser = table::read_minutes, required_unless_present = "comment")]
    minutes: Option<u64>,
    /// Why, for whoever asks later
    #[arg(long, visible_alias = "reason", value_name = "TEXT")]
    comment: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// Changes an entry, and says how that is taken back.
pub(super) async fn change(client: &Client, list: List, wanted: Change) -> Result<(), Failure> {
    match list {
        List::Blocks => put::<BlockView>(client, list, wanted).await,
        List::Never => put::<Never>(client, list, wanted).await,
    }
}

async fn put<T>(client: &Client, list: List, wanted: Change) -> Result<(), Failure>
where
    T: DeserializeOwned + Serialize + Into<Former>,
{
    let Change { network: text, minutes, comment, output } = wanted;
    let of = parse(&text)?;
    let before = former::<T>(client, list, of).await?;
    let entry: T = client.patch(&one(list, of), &ChangeRequest { minutes, comment }).await?;
    if output.json {
        return table::json(&entry);
    }
    let now: Former = entry.into();
    let until = now.until().map_or_else(|| "for good".to_owned(), |until| format!("until {}", time(until)));
    table::line(&format!("{} is on the list {until}: {}", network(&of), now.comment()))?;
    match before {
        Some(before) => Ok(table::line(&format!("undo: {}", before.command(list)))?),
        None => Ok(()),
    }
}

/// Says whether an address is covered, and by what.
pub(super) async fn test(client: &Client, asked: &str, output: Output) -> Result<(), Failure> {
    let coverage: Coverage = client.get(&format!("/api/v1/blocks/test?address={}", address(asked)?)).await?;
    if output.json {
        return table::json(&coverage);
    }
    let Coverage { address, refused, blocks, never } = coverage;
    let names = |networks: &[ipnet::IpNet]| networks.iter().map(network).collect::<Vec<_>>().join(", ");
    let word = if refused { "is refused" } else { "is not refused" };
    table::line(&match blocks.as_slice() {
        [] => format!("{address} {word}: no block covers it"),
        blocks => format!("{address} {word}; blocks that cover it: {}", names(blocks)),
    })?;
    if !never.is_empty() {
        table::line(&format!("never-block entries that cover it: {}", names(&never)))?;
    }
    Ok(())
}

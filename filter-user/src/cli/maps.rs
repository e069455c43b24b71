//! `gatepost maps`: what the kernel itself holds, read from the pinned maps.

use filter_core::decision::Origin;
use filter_core::notation::parse_network;

use super::table::{self, Table, bytes, duration, network, time};
use super::{Failure, MapsVerb};
use crate::config::Config;
use crate::kernel::{BlockedView, ExemptView, MapsView, VerdictView, View};

pub(super) async fn show(config: &Config, verb: MapsVerb) -> Result<(), Failure> {
    let open = || View::open(&config.kernel.pin_directory);
    match verb {
        MapsVerb::List(output) => {
            let view = open()?.list().await?;
            if output.json { table::json(&view) } else { list(&view) }
        }
        MapsVerb::Get { address, output } => {
            let address = super::address(&address)?;
            let view = open()?.get(address)?;
            if output.json { table::json(&view) } else { get(&view) }
        }
        MapsVerb::Dump { network, hit, output } => {
            let of = network.as_deref().map(parse_network).transpose();
            let mut view = open()?.dump(of.map_err(|error| Failure::usage(error.to_string()))?)?;
            view.blocks.retain(|block| !hit || block.packets > 0);
            if output.json {
                return table::json(&view);
            }
            blocks(&view.blocks)?;
            table::line("")?;
            nevers(&view.never)
        }
    }
}

fn list(view: &MapsView) -> Result<(), Failure> {
    table::line(&format!("pinned in {}, {} mode", view.pin_directory.display(), view.mode))?;
    table::line("")?;
    let mut links = Table::new(&["INTERFACE", "MODE", "PROGRAM", "ATTACHED SINCE", "VERIFIED INSTRUCTIONS"]);
    let number = |number: Option<u32>| number.map_or_else(String::new, |number| number.to_string());
    for link in &view.links {
        let mode = link.mode.map_or("the interface has gone", |mode| mode.name());
        links.row(&[
            link.interface.as_str(),
            mode,
            &number(link.program),
            &link.attached.map_or_else(String::new, time),
            &number(link.verified_instructions),
        ]);
    }
    links.print()?;
    table::line("")?;
    let mut maps = Table::new(&["MAP", "KIND", "ENTRIES", "CAPACITY", "MEMORY"]);
    for map in &view.maps {
        let memory = map.memory.map_or_else(|| "unknown".to_owned(), bytes);
        maps.row(&[map.name, map.kind, &map.entries.to_string(), &map.capacity.to_string(), &memory]);
    }
    maps.print()?;
    table::line("")?;
    let mut counters = Table::new(&["PACKETS", "VERDICT", "COUNT", "BYTES"]);
    for counter in &view.counters {
        let verdict = if counter.dropped { "drop" } else { "pass" };
        counters.row(&[counter.reason, verdict, &counter.packets.to_string(), &bytes(counter.bytes)]);
    }
    Ok(counters.print()?)
}

fn get(view: &VerdictView) -> Result<(), Failure> {
    let verb = if view.verdict == "drop" { "drops" } else { "passes" };
    table::line(&format!("the kernel {verb} new connections of {} ({})", view.address, view.reason))?;
    if !view.blocks.is_empty() {
        blocks(&view.blocks)?;
    }
    if !view.never.is_empty() {
        nevers(&view.never)?;
    }
    Ok(())
}

fn blocks(blocks: &[BlockedView]) -> Result<(), Failure> {
    if blocks.is_empty() {
        return Ok(table::line("the kernel blocks nobody")?);
    }
    let mut table = Table::new(&["BLOCKED", "ORIGIN", "LEFT", "UNTIL", "PACKETS", "BYTES", "LAST DROP"]);
    for block in blocks {
        let left = match block.remaining_seconds {
            0 => "ended".to_owned(),
            seconds => duration(std::time::Duration::from_secs(seconds)),
        };
        table.row(&[
            network(&block.network),
            block.origin.map_or("unknown", Origin::name).to_owned(),
            left,
            time(block.until),
            block.packets.to_string(),
            bytes(block.bytes),
            block.last_drop.map_or_else(|| "none".to_owned(), time),
        ]);
    }
    Ok(table.print()?)
}

fn nevers(nevers: &[ExemptView]) -> Result<(), Failure> {
    if nevers.is_empty() {
        return Ok(table::line("the kernel exempts nobody")?);
    }
    let mut table = Table::new(&["NEVER BLOCKED", "UNTIL", "MADE BY"]);
    for never in nevers {
        let author = if never.built_in { "built-in" } else { "administrator" };
        table.row(&[
            network(&never.network),
            never.until.map_or_else(|| "for good".to_owned(), time),
            author.to_owned(),
        ]);
    }
    Ok(table.print()?)
}

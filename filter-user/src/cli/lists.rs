//! `gatepost block` and `gatepost never`: the two lists of the running agent.

use filter_core::admin::{BlockView, ListRequest, Removed};
use filter_core::decision::Never;
use filter_core::notation::parse_network;

use super::table::{self, Table, duration, network, time};
use super::{Failure, ListVerb, Wish, export, import};
use crate::clock;
use crate::control::Client;
use crate::ips::List;

const BLOCKS: &str = "/api/v1/blocks";
const NEVER: &str = "/api/v1/never";

pub(super) async fn blocks(client: &Client, verb: ListVerb) -> Result<(), Failure> {
    match verb {
        ListVerb::List(output) => {
            let blocks: Vec<BlockView> = client.get(BLOCKS).await?;
            if output.json { table::json(&blocks) } else { show_blocks(&blocks) }
        }
        ListVerb::Add(wish) => {
            let json = wish.output.json;
            let view: BlockView = client.post(BLOCKS, &request(wish)?).await?;
            if json { table::json(&view) } else { tell_block(&view) }
        }
        ListVerb::Remove { network, feed, output } => {
            let of = feed.map_or_else(String::new, |feed| format!("&feed={}", encode(&feed)));
            remove(client, BLOCKS, "blocked", (&network, &of), output.json).await
        }
        ListVerb::Import(wanted) => import::import(client, List::Blocks, wanted).await,
        ListVerb::Export { format } => export::export(client, List::Blocks, format).await,
    }
}

pub(super) async fn nevers(client: &Client, verb: ListVerb) -> Result<(), Failure> {
    match verb {
        ListVerb::List(output) => {
            let nevers: Vec<Never> = client.get(NEVER).await?;
            if output.json { table::json(&nevers) } else { show_nevers(&nevers) }
        }
        ListVerb::Add(wish) => {
            let json = wish.output.json;
            let never: Never = client.post(NEVER, &request(wish)?).await?;
            if json {
                return table::json(&never);
            }
            let until =
                never.until.map_or_else(|| "for good".to_owned(), |until| format!("until {}", time(until)));
            Ok(table::line(&format!("{} is never blocked, {until}", network(&never.network)))?)
        }
        ListVerb::Remove { feed: Some(_), .. } => {
            Err(Failure::usage("no program files exemptions; leave --feed out".to_owned()))
        }
        ListVerb::Remove { network, feed: None, output } => {
            remove(client, NEVER, "never-blocked", (&network, ""), output.json).await
        }
        ListVerb::Import(wanted) => import::import(client, List::Never, wanted).await,
        ListVerb::Export { format } => export::export(client, List::Never, format).await,
    }
}

/// A name as part of a query (RFC 3986 section 2.1).
fn encode(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

fn request(wish: Wish) -> Result<ListRequest, Failure> {
    // The agent checks again; here it saves a bad address the way to it, and the question whether it runs.
    parse_network(&wish.network).map_err(|error| Failure::usage(error.to_string()))?;
    let Wish { network, minutes, comment, force, feed, output: _ } = wish;
    Ok(ListRequest { network, minutes, comment, force, feed })
}

async fn remove(
    client: &Client,
    route: &str,
    word: &str,
    (text, of): (&str, &str),
    json: bool,
) -> Result<(), Failure> {
    let parsed = parse_network(text).map_err(|error| Failure::usage(error.to_string()))?;
    // A CIDR needs no escaping in a query (RFC 3986 section 3.4), and nothing else comes out of the parser.
    let removed: Removed = client.delete(&format!("{route}?network={parsed}{of}")).await?;
    if json {
        return table::json(&removed);
    }
    let outcome = if removed.was_there { "is removed" } else { "was not there, and nothing is changed" };
    table::line(&format!("{} {outcome}", network(&removed.network)))?;
    if let Some(problem) = &removed.kernel_problem {
        table::line(&format!("but the kernel still has it, and it is tried again: {problem}"))?;
    }
    for covering in &removed.still_covered_by {
        table::line(&format!("it is still {word} by {}", network(covering)))?;
    }
    Ok(())
}

fn show_blocks(blocks: &[BlockView]) -> Result<(), Failure> {
    if blocks.is_empty() {
        return Ok(table::line("nobody is blocked")?);
    }
    let now = clock::now().wall;
    let mut table = Table::new(&["NETWORK", "ORIGIN", "LEFT", "UNTIL", "BY", "REASON"]);
    for BlockView { block, overridden_by, .. } in blocks {
        let reason = match overridden_by {
            Some(never) => format!("{} (no effect: {} is never blocked)", block.reason, network(never)),
            None => block.reason.clone(),
        };
        table.row(&[
            network(&block.network),
            block.origin.name().to_owned(),
            duration(block.until.since(now)),
            time(block.until),
            block.author.clone(),
            reason,
        ]);
    }
    Ok(table.print()?)
}

fn show_nevers(nevers: &[Never]) -> Result<(), Failure> {
    let mut table = Table::new(&["NETWORK", "UNTIL", "BY", "COMMENT"]);
    for never in nevers {
        let until = never.until.map_or_else(|| "for good".to_owned(), time);
        table.row(&[network(&never.network), until, never.author.clone(), never.comment.clone()]);
    }
    Ok(table.print()?)
}

fn tell_block(view: &BlockView) -> Result<(), Failure> {
    let span = duration(view.block.until.since(view.block.since));
    table::line(&format!(
        "{} is blocked for {span}, until {}",
        network(&view.block.network),
        time(view.block.until)
    ))?;
    if let Some(problem) = &view.kernel_problem {
        table::line(&format!(
            "but only at accept: the kernel does not take it, and it is tried again: {problem}"
        ))?;
    }
    if let Some(never) = &view.overridden_by {
        table::line(&format!("it has no effect as long as {} is never blocked", network(never)))?;
    }
    Ok(())
}

//! `gatepost block` and `gatepost never`: the two lists of the running agent.

use clap::{Args, ValueEnum};
use filter_core::admin::{BlockView, ListRequest, Removed};
use filter_core::decision::{Never, Origin};
use filter_core::listed::{Listed, ListedBlock, Order};
use filter_core::notation::parse_network;
use filter_core::open::PAGE_LIMIT;
use filter_core::time::Timestamp;
use ipnet::IpNet;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::table::{self, Table, duration, network, time};
use super::undo::{self, Former};
use super::{Failure, ListVerb, Output, Wish, change, export, import};
use crate::clock;
use crate::control::Client;
use crate::ips::List;

/// Which entries are shown, and in which order.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// Only entries in and around this address or network
    #[arg(long, value_name = "NETWORK")]
    network: Option<String>,
    /// Only entries whose network, reason or author contains this
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only blocks that come from here
    #[arg(long, value_enum)]
    origin: Option<OriginWord>,
    /// In this order: network, since (the latest first), or until (the one that ends next first)
    #[arg(long, value_name = "KEY", default_value = "network", value_parser = order)]
    sort: Order,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OriginWord {
    Smtp,
    Login,
    Manual,
    Feed,
}

fn order(text: &str) -> Result<Order, String> {
    let names = Order::ALL.map(Order::name).join(", ");
    Order::named(text).ok_or_else(|| format!("it is one of {names}"))
}

impl OriginWord {
    const fn origin(self) -> Origin {
        match self {
            Self::Smtp => Origin::Smtp,
            Self::Login => Origin::Login,
            Self::Manual => Origin::Manual,
            Self::Feed => Origin::Feed,
        }
    }
}

pub(super) async fn blocks(client: &Client, verb: ListVerb) -> Result<(), Failure> {
    match verb {
        ListVerb::List(wanted) => {
            let blocks = search(client, &wanted).await?;
            if wanted.output.json { table::json(&blocks) } else { show_blocks(&blocks) }
        }
        ListVerb::Add(wish) => add(client, List::Blocks, wish, tell_block).await,
        ListVerb::Remove { networks, feed, output } => {
            let of = feed.map_or_else(String::new, |feed| format!("&feed={}", encode(&feed)));
            remove::<BlockView>(client, List::Blocks, (&networks, &of), output.json).await
        }
        ListVerb::Change(wanted) => change::change(client, List::Blocks, wanted).await,
        ListVerb::Test { address, output } => change::test(client, &address, output).await,
        ListVerb::Import(wanted) => import::import(client, List::Blocks, wanted).await,
        ListVerb::Export { format } => export::export(client, List::Blocks, format).await,
    }
}

pub(super) async fn nevers(client: &Client, verb: ListVerb) -> Result<(), Failure> {
    match verb {
        ListVerb::List(wanted) => {
            if wanted.origin.is_some() {
                let message = "the never-block list has no origins; leave --origin out".to_owned();
                return Err(Failure::usage(message));
            }
            let mut nevers: Vec<Never> = client.get(&around(List::Never, &wanted)?).await?;
            if let Some(text) = &wanted.search {
                let text = text.to_lowercase();
                let words = |never: &Never| format!("{} {} {}", never.network, never.comment, never.author);
                nevers.retain(|never| words(never).to_lowercase().contains(&text));
            }
            match wanted.sort {
                Order::Network => {}
                Order::Since => nevers.sort_by_key(|never| std::cmp::Reverse(never.since)),
                // What does not end comes last.
                Order::Until => nevers.sort_by_key(|never| never.until.unwrap_or(Timestamp::FAR_FUTURE)),
            }
            if wanted.output.json { table::json(&nevers) } else { show_nevers(&nevers) }
        }
        ListVerb::Add(wish) => add(client, List::Never, wish, tell_never).await,
        ListVerb::Remove { feed: Some(_), .. } => {
            Err(Failure::usage("no program files exemptions; leave --feed out".to_owned()))
        }
        ListVerb::Remove { networks, feed: None, output } => {
            remove::<Never>(client, List::Never, (&networks, ""), output.json).await
        }
        ListVerb::Change(wanted) => change::change(client, List::Never, wanted).await,
        ListVerb::Test { address, output } => change::test(client, &address, output).await,
        ListVerb::Import(wanted) => import::import(client, List::Never, wanted).await,
        ListVerb::Export { format } => export::export(client, List::Never, format).await,
    }
}

/// A name as part of a query (RFC 3986 section 2.1).
pub(super) fn encode(text: &str) -> String {
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

const fn route(list: List) -> &'static str {
    match list {
        List::Blocks => "/api/v1/blocks",
        List::Never => "/api/v1/never",
    }
}

/// The route to the entries in and around a network, or to all.
fn around(list: List, wanted: &Wanted) -> Result<String, Failure> {
    let Some(text) = &wanted.network else { return Ok(route(list).to_owned()) };
    Ok(one(list, parse(text)?))
}

/// The route to what is about a network. A CIDR needs no escaping in a query (RFC 3986 section 3.4).
pub(super) fn one(list: List, network: IpNet) -> String {
    format!("{}?network={network}", route(list))
}

/// The agent checks again; here it saves a bad address the way to it, and the question whether it runs.
pub(super) fn parse(text: &str) -> Result<IpNet, Failure> {
    parse_network(text).map_err(|error| Failure::usage(error.to_string()))
}

/// Every block that is meant, page by page. What is put on the list meanwhile may be missing, or push another one onto two pages.
async fn search(client: &Client, wanted: &Wanted) -> Result<Vec<ListedBlock>, Failure> {
    let mut route = format!("/api/v1/blocks/search?sort={}&limit={PAGE_LIMIT}", wanted.sort.name());
    if let Some(text) = &wanted.network {
        route.extend(["&network=", &parse(text)?.to_string()]);
    }
    if let Some(text) = &wanted.search {
        route.extend(["&q=", &encode(text)]);
    }
    if let Some(origin) = wanted.origin {
        route.extend(["&origin=", origin.origin().name()]);
    }
    let mut blocks = Vec::new();
    loop {
        let page: Listed = client.get(&format!("{route}&offset={}", blocks.len())).await?;
        let is_last = page.blocks.len() < PAGE_LIMIT;
        blocks.extend(page.blocks);
        if is_last {
            return Ok(blocks);
        }
    }
}

/// The entry for exactly this network, as it is before it is changed.
pub(super) async fn former<T: DeserializeOwned + Into<Former>>(
    client: &Client,
    list: List,
    network: IpNet,
) -> Result<Option<Former>, Failure> {
    let entries: Vec<T> = client.get(&one(list, network)).await?;
    Ok(entries.into_iter().map(Into::into).find(|former: &Former| former.network() == network))
}

async fn add<T: DeserializeOwned + Serialize + Into<Former>>(
    client: &Client,
    list: List,
    wish: Wish,
    tell: fn(&T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Wish { networks, minutes, until, comment, force, feed, output } = wish;
    let parsed = networks.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
    let (mut new, mut changed, mut done, mut refused) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for network in parsed {
        let before = former::<T>(client, list, network).await?;
        let (network_text, comment, feed) = (network.to_string(), comment.clone(), feed.clone());
        let request = ListRequest { network: network_text, minutes, until, comment, force, feed };
        match client.post::<T>(route(list), &request).await {
            Ok(entry) => {
                match before {
                    Some(before) => changed.push(before.command(list)),
                    None => new.push(network),
                }
                if !output.json {
                    tell(&entry)?;
                }
                done.push(entry);
            }
            Err(error) => refused.push(Failure::from(error)),
        }
    }
    if output.json {
        print(&done)?;
    } else {
        let removal = (!new.is_empty()).then(|| undo::removal(list, &new));
        tell_undo(removal.into_iter().chain(changed))?;
    }
    all_done(networks.len(), refused)
}

async fn remove<T: DeserializeOwned + Into<Former>>(
    client: &Client,
    list: List,
    (networks, of): (&[String], &str),
    json: bool,
) -> Result<(), Failure> {
    let parsed = networks.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
    let (mut undo, mut done, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for network in parsed {
        let before = former::<T>(client, list, network).await?;
        match client.delete::<Removed>(&format!("{}{of}", one(list, network))).await {
            Ok(removed) => {
                undo.extend(before.filter(|_| removed.was_there).map(|before| before.command(list)));
                if !json {
                    tell_removed(list, &removed)?;
                }
                done.push(removed);
            }
            Err(error) => refused.push(Failure::from(error)),
        }
    }
    if json {
        print(&done)?;
    } else {
        tell_undo(undo)?;
    }
    all_done(networks.len(), refused)
}

/// One answer as it is, several as an array.
fn print<T: Serialize>(answers: &[T]) -> Result<(), Failure> {
    match answers {
        [] => Ok(()),
        [one] => table::json(one),
        several => table::json(&several),
    }
}

fn tell_undo(commands: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    for command in commands {
        table::line(&format!("undo: {command}"))?;
    }
    Ok(())
}

/// One refusal is the failure; of several each is said, and then how many.
fn all_done(asked: usize, mut refused: Vec<Failure>) -> Result<(), Failure> {
    match refused.pop() {
        None => Ok(()),
        Some(only) if asked == 1 => Err(only),
        Some(last) => {
            refused.push(last);
            for failure in &refused {
                failure.tell();
            }
            let done = asked - refused.len();
            Err(Failure::failed(format!("{} of {asked} were refused, {done} done", refused.len())))
        }
    }
}

fn tell_removed(list: List, removed: &Removed) -> Result<(), Failure> {
    let outcome = if removed.was_there { "is removed" } else { "was not there, and nothing is changed" };
    table::line(&format!("{} {outcome}", network(&removed.network)))?;
    if let Some(problem) = &removed.kernel_problem {
        table::line(&format!("but the kernel still has it, and it is tried again: {problem}"))?;
    }
    let word = if list == List::Blocks { "blocked" } else { "never-blocked" };
    for covering in &removed.still_covered_by {
        table::line(&format!("it is still {word} by {}", network(covering)))?;
    }
    Ok(())
}

fn tell_never(never: &Never) -> Result<(), Failure> {
    let until = never.until.map_or_else(|| "for good".to_owned(), |until| format!("until {}", time(until)));
    Ok(table::line(&format!("{} is never blocked, {until}", network(&never.network)))?)
}

fn show_blocks(blocks: &[ListedBlock]) -> Result<(), Failure> {
    if blocks.is_empty() {
        return Ok(table::line("nobody is blocked")?);
    }
    let now = clock::now().wall;
    let mut table = Table::new(&["NETWORK", "ORIGIN", "LEFT", "UNTIL", "DROPPED", "BY", "REASON"]);
    for ListedBlock { view: BlockView { block, overridden_by, .. }, packets, .. } in blocks {
        let reason = match overridden_by {
            Some(never) => format!("{} (no effect: {} is never blocked)", block.reason, network(never)),
            None => block.reason.clone(),
        };
        table.row(&[
            network(&block.network),
            block.origin.name().to_owned(),
            duration(block.until.since(now)),
            time(block.until),
            packets.map_or_else(|| "at accept".to_owned(), |packets| packets.to_string()),
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

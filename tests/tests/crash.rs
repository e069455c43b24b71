//! The agent killed at random moments under load: what it had reported as done is there when it is back, and kernel,
//! store and engine agree.
//!
//! Five rounds; as many as `GATEPOST_CRASH_ROUNDS` says, if it does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use filter_core::admin::BlockView;
use filter_core::decision::{Block, Never, Origin};
use filter_core::event::EventId;
use filter_tests::agent::{Agent, ask, cli};
use filter_tests::client::{Attempt, Client};
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::world::World;
use filter_user::store::{EventFilter, History};
use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde_json::Value;

const ROUNDS: u32 = 5;
const OFFENDERS: u8 = 3;
const ADMINISTRATORS: u8 = 3;

/// What must be on a list after what was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    There,
    Gone,
    /// The agent died before it answered.
    Either,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum List {
    Block,
    Never,
}

impl List {
    const fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Never => "never",
        }
    }
}

/// What was reported as done.
#[derive(Debug, Default)]
struct Ledger {
    wishes: Mutex<BTreeMap<(List, IpNet), Known>>,
    /// Who heard that it is blocked.
    heard: Mutex<BTreeSet<IpNet>>,
    added: AtomicU64,
    removed: AtomicU64,
}

/// Networks that only this administrator changes: few, so that what is removed has mostly been added.
fn networks(administrator: u8) -> Vec<IpNet> {
    let each = |number: u8| {
        [
            format!("192.0.2.{}/32", administrator * 64 + number),
            format!("10.{}.{number}.0/24", 10 + administrator),
            format!("2001:db8:f{administrator}:{number:x}::/64"),
            format!("2001:db8:e{administrator}{number:02x}::/48"),
        ]
    };
    (0..2).flat_map(each).filter_map(|text| text.parse().ok()).collect()
}

/// Adds and removes entries of both lists until told to stop, and writes down what it was told.
fn administer(world: &World, networks: &[IpNet], stop: &AtomicBool, ledger: &Ledger) -> Result<()> {
    let mut rng = Rng::new();
    while !stop.load(Ordering::Relaxed) {
        let Some(network) = rng.choice(networks) else { bail!("no networks") };
        let list = if rng.bool() { List::Block } else { List::Never };
        let is_addition = rng.u8(0..3) > 0;
        let verb = if is_addition { "add" } else { "remove" };
        let output = cli(world, &[list.name(), verb, &network.to_string()])?;
        let said = String::from_utf8_lossy(&output.stderr);
        let known = match output.status.code() {
            Some(0) if is_addition => {
                ledger.added.fetch_add(1, Ordering::Relaxed);
                Known::There
            }
            Some(0) => {
                ledger.removed.fetch_add(1, Ordering::Relaxed);
                Known::Gone
            }
            Some(1) if !is_addition && said.contains("is not on the list") => Known::Gone,
            // Nobody was there to hear it: what was reported before still holds.
            Some(3) => continue,
            Some(1) if said.contains("did not answer") || said.contains("is stopping") => Known::Either,
            code => bail!("{verb} {network} exits with {code:?}: {said}"),
        };
        locked(&ledger.wishes)?.insert((list, *network), known);
    }
    Ok(())
}

/// Addresses that only this offender has.
fn addresses(offender: u8) -> Vec<String> {
    let v4 = (10..=60).filter(|host| host % OFFENDERS == offender).map(|host| format!("203.0.113.{host}"));
    v4.chain([format!("2001:db8:a:{}::1", offender + 1)]).collect()
}

/// Misbehaves from one address after another until told to stop, and writes down whose block was reported.
fn offend(world: &World, mut addresses: Vec<String>, stop: &AtomicBool, ledger: &Ledger) -> Result<()> {
    fastrand::shuffle(&mut addresses);
    for from in addresses {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        // It breaks off when the agent dies, and that is no fault.
        let client = match Client::attempt(world, &from) {
            Ok(Attempt::Connected(client)) => client,
            Ok(Attempt::Silence | Attempt::Refused) => continue,
            Err(error) if is_reset(&error) => continue,
            Err(error) => return Err(error),
        };
        if is_told_of_its_block(client).unwrap_or(false) {
            locked(&ledger.heard)?.insert(scope(&from)?);
        }
    }
    Ok(())
}

fn is_reset(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(|error: &Error| error.kind() == ErrorKind::ConnectionReset)
}

fn is_told_of_its_block(mut client: Client) -> Result<bool> {
    client.expect(220)?;
    client.ask("EHLO client.example", 250)?;
    client.send(&format!("MAIL FROM:<>\r\n{}", "RCPT TO:<someone@elsewhere.test>\r\n".repeat(10)))?;
    loop {
        let reply = client.read()?;
        if reply.code == 421 {
            return Ok(reply.text.starts_with("421 4.7.0"));
        }
    }
}

fn scope(address: &str) -> Result<IpNet> {
    let length = if address.contains(':') { 64 } else { 32 };
    Ok(IpNet::new(address.parse()?, length)?.trunc())
}

fn locked<T>(mutex: &Mutex<T>) -> Result<std::sync::MutexGuard<'_, T>> {
    mutex.lock().map_err(|_| anyhow::anyhow!("another thread has failed"))
}

/// Load until the moment of the kill; the load has ended when this returns.
fn kill_under_load(world: &World, agent: Agent<'_>, ledger: &Ledger) -> Result<()> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        let administrators = (0..ADMINISTRATORS)
            .map(|number| scope.spawn(move || administer(world, &networks(number), stop, ledger)));
        let offenders =
            (0..OFFENDERS).map(|number| scope.spawn(move || offend(world, addresses(number), stop, ledger)));
        let load: Vec<_> = administrators.chain(offenders).collect();
        std::thread::sleep(Duration::from_millis(fastrand::u64(10..400)));
        let killed = agent.kill();
        stop.store(true, Ordering::Relaxed);
        for thread in load {
            thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        killed
    })
}

fn list<T: DeserializeOwned>(world: &World, name: &str) -> Result<Vec<T>> {
    Ok(serde_json::from_value(ask(world, &[name, "list"])?)?)
}

/// The engine's lists, after making sure that the kernel's and the store's say the same.
fn agreed_lists(world: &World) -> Result<(Vec<Block>, Vec<Never>)> {
    let blocks: Vec<BlockView> = list(world, "block")?;
    let mut blocks: Vec<_> = blocks.into_iter().map(|view| view.block).collect();
    blocks.sort_by_key(|block| block.network);
    let mut nevers: Vec<Never> = list(world, "never")?;
    nevers.sort_by_key(|never| never.network);

    let dump = ask(world, &["maps", "dump"])?;
    let held = |key: &str| -> Result<BTreeMap<IpNet, Value>> {
        let list = dump[key].as_array().context("no list")?.iter();
        list.map(|entry| {
            Ok((entry["network"].as_str().context("no network")?.parse()?, entry["until"].clone()))
        })
        .collect()
    };
    let in_kernel = held("blocks")?;
    let wanted: Vec<_> = blocks.iter().map(|block| block.network).collect();
    ensure!(in_kernel.keys().eq(&wanted), "the kernel blocks {in_kernel:?}, the engine {wanted:?}");
    for block in &blocks {
        let until = in_kernel[&block.network].as_i64().context("no end")?;
        let apart = until.abs_diff(block.until.as_millis());
        ensure!(apart <= 2000, "{} ends {apart} ms apart in the kernel", block.network);
    }
    let wanted: Vec<_> = nevers.iter().map(|never| never.network).collect();
    let exempt = held("never")?;
    ensure!(exempt.keys().eq(&wanted), "the kernel exempts {exempt:?}, the engine {wanted:?}");

    nevers.retain(|never| !never.built_in);
    let mut said = String::new();
    // What only the kernel knew is on its way to the disk.
    let agrees = wait_until("the store agreeing with the engine", Duration::from_secs(5), || {
        let (_, mut stored) = History::open(&world.scratch().join("state"))?;
        stored.blocks.sort_by_key(|block| block.network);
        stored.nevers.sort_by_key(|never| never.network);
        said = format!("the store has {stored:?}, the engine {blocks:?} {nevers:?}");
        Ok(stored.blocks == blocks && stored.nevers == nevers)
    });
    agrees.with_context(|| said)?;
    Ok((blocks, nevers))
}

/// Everything that was reported is there, and nothing that nobody made.
fn check(world: &World, ledger: &Ledger) -> Result<Vec<Block>> {
    let (blocks, nevers) = agreed_lists(world)?;
    let mut listed: BTreeMap<_, _> =
        blocks.iter().map(|block| ((List::Block, block.network), &block.author)).collect();
    listed.extend(nevers.iter().map(|never| ((List::Never, never.network), &never.author)));
    for (key, known) in locked(&ledger.wishes)?.iter() {
        let author = listed.remove(key);
        let as_reported = match known {
            // Found in the kernel is not enough: it must be known who wanted it.
            Known::There => author.is_some_and(|author| author == "root"),
            Known::Gone => author.is_none(),
            Known::Either => true,
        };
        ensure!(as_reported, "{key:?} was reported as {known:?}");
    }
    let offenders: Result<BTreeSet<_>> =
        (0..OFFENDERS).flat_map(addresses).map(|address| scope(&address)).collect();
    let offenders = offenders?;
    for network in locked(&ledger.heard)?.iter() {
        ensure!(listed.contains_key(&(List::Block, *network)), "{network} has heard of a block that is lost");
    }
    for (list, network) in listed.into_keys() {
        ensure!(
            list == List::Block && offenders.contains(&network),
            "nobody put {network} on the {list:?} list"
        );
    }
    let (history, _) = History::open(&world.scratch().join("state"))?;
    for block in &blocks {
        let just_before = Some(EventId(block.event.0.saturating_sub(1)));
        let filter = EventFilter { after: just_before, limit: Some(1), ..EventFilter::default() };
        let event = history.events(&filter)?.pop().context("a block without its event")?;
        let is_its_own = event.id == block.event && event.network == block.network;
        ensure!(is_its_own && event.what.name() == "blocked", "{block:?} names {event:?}");
    }
    Ok(blocks)
}

#[test]
fn what_was_reported_as_done_outlives_a_kill_at_any_moment() {
    in_world(|world, _| {
        let rounds = std::env::var("GATEPOST_CRASH_ROUNDS").map_or(Ok(ROUNDS), |rounds| rounds.parse())?;
        let ledger = Ledger::default();
        let mut heard = 0;
        let mut agent = Agent::start(world, "")?;
        for round in 1..=rounds {
            let in_round = || format!("round {round} of {rounds}");
            kill_under_load(world, agent, &ledger).with_context(in_round)?;
            agent = Agent::start_again(world).with_context(in_round)?;
            let blocks = check(world, &ledger).with_context(in_round)?;
            // The offenders may come again in the next round.
            for block in blocks.iter().filter(|block| block.origin == Origin::Smtp) {
                ask(world, &["block", "remove", &block.network.to_string()])?;
            }
            heard += std::mem::take(&mut *locked(&ledger.heard)?).len();
        }
        let (added, removed) = (ledger.added.into_inner(), ledger.removed.into_inner());
        ensure!(heard > 0 && added > 0 && removed > 0, "no load: {heard} {added} {removed}");
        eprintln!("{rounds} kills, {added} additions, {removed} removals, {heard} clients told of a block");
        agent.stop()
    });
}

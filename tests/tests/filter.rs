//! The kernel filter's own settings, on a real interface with real connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use filter_tests::agent::{Agent, ask, cli, config_of, verdict};
use filter_tests::client::{Attempt, Client};
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::world::{GATEWAY_V4, World};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// An agent with more settings in the section `[kernel]`.
fn start<'world>(world: &'world World, settings: &str) -> Result<Agent<'world>> {
    let agent = Agent::start(world, "")?;
    agent.stop()?;
    ensure!(cli(world, &["unload"])?.status.success(), "unload failed");
    let text = std::fs::read_to_string(config_of(world))?;
    std::fs::write(config_of(world), text.replacen("[kernel]\n", &format!("[kernel]\n{settings}\n"), 1))?;
    Agent::start_again(world)
}

fn packets(world: &World, reason: &str) -> Result<u64> {
    let view = ask(world, &["maps", "list"])?;
    let counters = view["counters"].as_array().context("no counters")?;
    let counter = counters.iter().find(|counter| counter["reason"] == reason).context("no such reason")?;
    counter["packets"].as_u64().context("no count")
}

#[test]
fn a_courtesy_lets_one_connection_through_to_hear_why() {
    in_world(|world, _| {
        let _agent = start(world, "courtesy_replies = 1")?;
        ask(world, &["block", "add", "203.0.113.30"])?;
        let mut client = Client::connect(world, "203.0.113.30")?;
        let reply = client.expect(421)?;
        ensure!(reply.text.contains("Your connection has been blocked temporarily"), "{reply:?}");
        ensure!(packets(world, "courtesy")? == 1, "the connection came through in another way");
        let again = Client::attempt(world, "203.0.113.30")?;
        ensure!(matches!(again, Attempt::Silence), "the second was let through, too: {again:?}");
        Ok(())
    });
}

#[test]
fn an_open_session_passes_during_the_grace_and_not_without_one() {
    in_world(|world, _| {
        let agent = start(world, "grace = \"60s\"")?;
        let mut open = Client::greeted(world, "203.0.113.31")?;
        ask(world, &["block", "add", "203.0.113.31"])?;
        open.expect(421)?;
        ensure!(open.is_closed()?, "it was not closed");
        ensure!(packets(world, "grace")? > 0, "its acknowledgements came through in another way");
        ensure!(packets(world, "drop-host")? == 0, "something of it was dropped");
        agent.stop()?;
        drop(open);
        let _agent = start(world, "grace = \"0s\"")?;
        let open = Client::greeted(world, "203.0.113.32")?;
        ask(world, &["block", "add", "203.0.113.32"])?;
        wait_until("the drop", Duration::from_secs(5), || Ok(packets(world, "drop-host")? > 0))?;
        ensure!(packets(world, "grace")? == 0, "there was none to have");
        drop(open);
        Ok(())
    });
}

#[test]
fn a_full_map_is_said_and_what_does_not_fit_is_refused_at_accept() {
    in_world(|world, _| {
        let _agent = start(world, "capacity_hosts_v4 = 2")?;
        for host in ["203.0.113.33", "203.0.113.34"] {
            let view = ask(world, &["block", "add", host])?;
            ensure!(view["kernel_problem"].is_null(), "{view}");
        }
        let view = ask(world, &["block", "add", "203.0.113.35"])?;
        let problem = view["kernel_problem"].as_str().unwrap_or_default();
        ensure!(problem.contains("full"), "the answer does not tell of it: {view}");
        let told = String::from_utf8(cli(world, &["block", "add", "203.0.113.35"])?.stdout)?;
        ensure!(told.contains("but only at accept"), "{told}");
        ensure!(ask(world, &["status"])?["kernel_pending"] == 1, "nothing is said of it");
        ensure!(verdict(world, "203.0.113.33")?.0 == "drop", "the rest is not enforced");
        // The kernel lets it pass, and the agent does not.
        let mut client = Client::connect(world, "203.0.113.35")?;
        client.expect(421)?;
        ask(world, &["block", "remove", "203.0.113.33"])?;
        let silent = matches!(Client::attempt(world, "203.0.113.35")?, Attempt::Silence);
        ensure!(silent, "there was room, and it was not used");
        ensure!(ask(world, &["status"])?["kernel_pending"] == 0, "it still waits");
        Ok(())
    });
}

#[test]
fn several_interfaces_are_filtered_at_once() {
    in_world(|world, _| {
        let agent = Agent::start(world, "")?;
        agent.stop()?;
        let text = std::fs::read_to_string(config_of(world))?;
        std::fs::write(config_of(world), text.replace("[\"wan0\"]", "[\"wan0\", \"lan0\"]"))?;
        let _agent = Agent::start_again(world)?;
        let status = ask(world, &["status"])?;
        let places = status["interfaces"].as_array().context("no interfaces")?;
        let natively = places.iter().filter(|place| place["mode"] == "native" && place["program"].is_u64());
        ensure!(natively.count() == 2, "{status}");
        ask(world, &["block", "add", "198.51.100.2", "--force"])?;
        // The mail server is built in as never blocked; what it sends comes through, and is judged on the way.
        world.mail.enter(|| Ok(std::net::TcpStream::connect(("198.51.100.1", 25)).is_err()))?;
        ensure!(packets(world, "never-block")? > 0, "the second interface judges nothing");
        Ok(())
    });
}

#[test]
fn where_the_driver_cannot_the_stack_does_and_status_says_why() {
    in_world(|world, _| {
        let agent = Agent::start(world, "")?;
        agent.stop()?;
        let text = std::fs::read_to_string(config_of(world))?;
        // Loopback has no driver that could run a program.
        let text = text.replace("[\"wan0\"]", "[\"lo\"]").replace("attach = \"native\"", "attach = \"auto\"");
        std::fs::write(config_of(world), text)?;
        let _agent = Agent::start_again(world)?;
        let status = ask(world, &["status"])?;
        let place = &status["interfaces"][0];
        ensure!(place["name"] == "lo" && place["mode"] == "generic", "{status}");
        ensure!(place["fallback"].as_str().is_some_and(|why| why.contains("native mode")), "{status}");
        Ok(())
    });
}

/// Tries to connect again and again until told to stop; says how often something came back, and how often it tried.
fn knock(world: &World, from: &str, stop: &AtomicBool) -> Result<(u32, u32)> {
    let (from, gateway) = (SocketAddr::new(from.parse()?, 0), SocketAddr::new(GATEWAY_V4.parse()?, 25));
    world.internet.enter(|| {
        let (mut answered, mut tried) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.bind(&from.into())?;
            let outcome = socket.connect_timeout(&gateway.into(), Duration::from_millis(5));
            // Neither accepted nor refused: with nobody listening, a packet that came through would be refused.
            let silent = outcome.is_err_and(|error| error.kind() == std::io::ErrorKind::TimedOut);
            answered += u32::from(!silent);
            tried += 1;
        }
        Ok((answered, tried))
    })
}

#[test]
fn the_program_is_replaced_without_a_packet_of_a_blocked_source_coming_through() {
    in_world(|world, _| {
        let mut agent = Agent::start(world, "")?;
        ask(world, &["block", "add", "203.0.113.38"])?;
        let program =
            || Ok::<_, anyhow::Error>(ask(world, &["maps", "list"])?["links"][0]["program"].as_u64());
        let first = program()?;
        let stop = AtomicBool::new(false);
        let (answered, tried) = std::thread::scope(|scope| -> Result<(u32, u32)> {
            let knocking = scope.spawn(|| knock(world, "203.0.113.38", &stop));
            let restart = || -> Result<()> {
                for _ in 0..3 {
                    agent.kill()?;
                    agent = Agent::start_again(world)?;
                }
                Ok(())
            };
            let outcome = restart_then_stop(restart, &stop);
            let counted = knocking.join().map_err(|_| anyhow::anyhow!("the client panicked"))?;
            outcome.and(counted)
        })?;
        ensure!(program()? != first, "the program is the same");
        ensure!(tried > 100 && answered == 0, "{answered} of {tried} attempts were answered");
        Ok(())
    });
}

fn restart_then_stop(restart: impl FnOnce() -> Result<()>, stop: &AtomicBool) -> Result<()> {
    let outcome = restart();
    stop.store(true, Ordering::Relaxed);
    outcome
}

#[test]
fn the_maps_can_be_read_in_part_and_status_knows_the_kernels_totals() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        for network in ["203.0.113.36", "203.0.113.37", "203.0.113.32/28", "192.0.2.0/24"] {
            ask(world, &["block", "add", network])?;
        }
        ensure!(
            matches!(Client::attempt(world, "203.0.113.36")?, Attempt::Silence),
            "the block does not hold"
        );
        let dumped = |more: &[&str]| -> Result<Vec<String>> {
            let view = ask(world, &[&["maps", "dump"], more].concat())?;
            let blocks = view["blocks"].as_array().context("no blocks")?.iter();
            Ok(blocks.filter_map(|block| Some(block["network"].as_str()?.to_owned())).collect())
        };
        ensure!(dumped(&[])?.len() == 4, "{:?}", dumped(&[]));
        let around = dumped(&["--network", "203.0.113.37"])?;
        ensure!(around == ["203.0.113.32/28", "203.0.113.37/32"], "{around:?}");
        ensure!(dumped(&["--network", "203.0.0.0/16"])?.len() == 3, "what lies inside is wanted, too");
        ensure!(dumped(&["--hit"])? == ["203.0.113.36/32"], "{:?}", dumped(&["--hit"]));
        ask(world, &["block", "add", "2001:db8:8000::/33"])?;
        let maps = ask(world, &["maps", "list"])?;
        let is_gate = |map: &&Value| map["name"] == "BLOCK_GATE";
        let gate = maps["maps"].as_array().and_then(|maps| maps.iter().find(is_gate));
        // Six for two hosts, one or two for each of the prefixes; not one in each word, as the short prefix needs.
        ensure!(gate.is_some_and(|gate| (8..16).contains(&gate["entries"].as_u64().unwrap_or(0))), "{maps}");
        let status = ask(world, &["status"])?;
        ensure!(status["kernel"]["dropped"].as_u64() > Some(0), "{status}");
        let place = &status["interfaces"][0];
        ensure!(
            place["program"].is_u64() && place["attached"].is_i64() && place["mode"] == "native",
            "{status}"
        );
        Ok(())
    });
}

#[test]
fn an_interface_that_is_no_longer_configured_is_left() {
    in_world(|world, _| {
        let agent = start(world, "")?;
        agent.stop()?;
        let text = std::fs::read_to_string(config_of(world))?;
        std::fs::write(config_of(world), text.replace("\"wan0\"", "\"lan0\""))?;
        let _agent = Agent::start_again(world)?;
        let view = ask(world, &["maps", "list"])?;
        ensure!(view["links"].as_array().map(Vec::len) == Some(1), "{view}");
        ensure!(view["links"][0]["interface"] == "lan0", "{view}");
        Ok(())
    });
}

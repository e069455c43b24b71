//! What the filter does while the agent is gone, and what the agent finds when it comes back.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use filter_tests::agent::{Agent, ask, cli, config_of, is_pinned, kernel_blocks};
use filter_tests::client::{Attempt, Client};
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::world::World;
use serde_json::Value;

#[test]
fn a_short_block_ends_by_itself_in_the_kernel_while_the_agent_is_dead() {
    in_world(|world, _| {
        let agent = Agent::start(world, "[ips]\nclient_error_block_time = \"6s\"\n")?;
        let mut client = Client::greeted(world, "203.0.113.50")?;
        client.ask("MAIL FROM:<sender@client.example>", 250)?;
        client.send(&"RCPT TO:<someone@elsewhere.test>\r\n".repeat(10))?;
        wait_until("the block", Duration::from_secs(5), || Ok(kernel_blocks(world)?.len() == 1))?;
        agent.kill()?;
        let attempt = Client::attempt(world, "203.0.113.50")?;
        ensure!(matches!(attempt, Attempt::Silence), "the block died with the agent: {attempt:?}");
        let refused = Client::attempt(world, "203.0.113.51")?;
        ensure!(matches!(refused, Attempt::Refused), "an innocent hears that nobody listens: {refused:?}");
        // Answered again, by a kernel that no agent has told anything since.
        wait_until("the end of the block", Duration::from_secs(10), || {
            Ok(matches!(Client::attempt(world, "203.0.113.50")?, Attempt::Refused))
        })
    });
}

#[test]
fn a_score_survives_the_agent_and_what_is_missing_for_a_block_still_blocks() {
    in_world(|world, _| {
        let agent = Agent::start(world, "")?;
        let mut client = Client::greeted(world, "203.0.113.54")?;
        client.ask("MAIL FROM:<sender@client.example>", 250)?;
        for _ in 0..9 {
            client.ask("RCPT TO:<someone@elsewhere.test>", 554)?;
        }
        // Answered when everything before is on the disk.
        ensure!(ask(world, &["why", "203.0.113.54"])?["score"] == 900, "not 900");
        agent.kill()?;
        drop(client);
        let _agent = Agent::start_again(world)?;
        let why = ask(world, &["why", "203.0.113.54"])?;
        ensure!(why["score"] == 900 && why["counted"].as_array().is_some_and(|ids| ids.len() == 9), "{why}");
        let mut client = Client::greeted(world, "203.0.113.54")?;
        client.ask("MAIL FROM:<sender@client.example>", 250)?;
        client.send("RCPT TO:<someone@elsewhere.test>\r\n")?;
        wait_until("the block", Duration::from_secs(5), || Ok(kernel_blocks(world)?.len() == 1))?;
        let list = ask(world, &["block", "list"])?;
        ensure!(list[0]["reason"] == "score 1000 reached the threshold 1000", "{list}");
        let led = ask(world, &["why", "203.0.113.54"])?["events"].as_array().map_or(0, Vec::len);
        ensure!(led >= 10, "events of both runs led to it, and {led} are named");
        Ok(())
    });
}

/// Networks and the seconds they have left, by the agent's own list.
fn listed(world: &World) -> Result<Vec<(String, i64)>> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
    let list = ask(world, &["block", "list"])?;
    let list = list.as_array().context("no list")?.iter();
    let left = |until: i64| Ok::<_, anyhow::Error>(until / 1000 - i64::try_from(now / 1000)?);
    list.map(|block| {
        let network = block["network"].as_str().context("no network")?.to_owned();
        Ok((network, left(block["until"].as_i64().context("no end")?)?))
    })
    .collect()
}

#[test]
fn the_agent_restarted_over_its_pins_keeps_every_block_and_its_remaining_time() {
    in_world(|world, _| {
        let agent = Agent::start(world, "")?;
        for (network, minutes) in [
            ("203.0.113.52", "5"),
            ("203.0.113.0/26", "60"),
            ("2001:db8:a:4::/64", "7"),
            ("2001:db8::/32", "999999999"),
        ] {
            ask(world, &["block", "add", network, "--minutes", minutes])?;
        }
        ask(world, &["never", "add", "203.0.113.53"])?;
        let mut client = Client::greeted(world, "203.0.113.53")?;
        client.ask("NOOP", 250)?;
        let (lists, kernel, start) = (listed(world)?, kernel_blocks(world)?, Instant::now());
        ensure!(lists.len() == 4 && kernel.len() == 4, "{lists:?} {kernel:?}");
        agent.kill()?;
        let _agent = Agent::start_again(world)?;
        let gone = i64::try_from(start.elapsed().as_secs())?;
        let (lists_after, kernel_after) = (listed(world)?, kernel_blocks(world)?);
        ensure!(lists_after.len() == 4 && kernel_after.len() == 4, "{lists_after:?} {kernel_after:?}");
        for (before, after) in lists.iter().zip(lists_after) {
            let drift = before.1 - gone - after.1;
            ensure!(before.0 == after.0 && drift.abs() <= 2, "{before:?} became {after:?} after {gone} s");
        }
        for (before, after) in kernel.iter().zip(kernel_after) {
            let drift = before.1.abs_diff(after.1.saturating_add(u64::try_from(gone)?));
            // The longest ends where the kernel's clock does, 584 years after the start of the machine.
            ensure!(before.0 == after.0 && drift <= 2, "{before:?} became {after:?}");
        }
        ensure!(
            matches!(Client::attempt(world, "203.0.113.52")?, Attempt::Silence),
            "the block does not hold"
        );
        Client::greeted(world, "203.0.113.53")?.quit()
    });
}

#[test]
fn a_machine_that_has_restarted_gets_its_blocks_back_from_the_store() {
    in_world(|world, _| {
        let agent = Agent::start(world, "")?;
        ask(world, &["block", "add", "203.0.113.54"])?;
        agent.stop()?;
        // A restart empties the BPF file system.
        ensure!(cli(world, &["unload"])?.status.success(), "unload failed");
        let _agent = Agent::start_again(world)?;
        ensure!(matches!(Client::attempt(world, "203.0.113.54")?, Attempt::Silence), "the block is lost");
        Ok(())
    });
}

#[test]
fn the_filter_stays_when_the_agent_stops_and_unload_leaves_nothing_behind() {
    in_world(|world, _| {
        let agent = Agent::start(world, "")?;
        ask(world, &["block", "add", "203.0.113.55"])?;
        let mut open = Client::greeted(world, "203.0.113.56")?;
        agent.stop()?;
        let reply = open.expect(421)?;
        ensure!(reply.text.starts_with("421 4.3.2 mx.example.test Service is restarting"), "{reply:?}");
        let view = ask(world, &["maps", "list"])?;
        ensure!(view["links"][0]["interface"] == "wan0" && view["links"][0]["mode"] == "native", "{view}");
        ensure!(
            matches!(Client::attempt(world, "203.0.113.55")?, Attempt::Silence),
            "the filter went with the agent"
        );
        ensure!(cli(world, &["unload"])?.status.success(), "unload failed");
        ensure!(!is_pinned(world), "pins are left");
        let attempt = Client::attempt(world, "203.0.113.55")?;
        ensure!(matches!(attempt, Attempt::Refused), "the program is left on the interface: {attempt:?}");
        Ok(())
    });
}

#[test]
fn the_filter_can_be_loaded_and_unloaded_without_an_agent() {
    in_world(|world, _| {
        Agent::start(world, "")?.stop()?;
        ensure!(cli(world, &["unload"])?.status.success(), "unload failed");
        ensure!(cli(world, &["load"])?.status.success(), "load failed");
        ensure!(cli(world, &["load"])?.status.success(), "loading over itself failed");
        let view = ask(world, &["maps", "dump"])?;
        let never = view["never"].as_array().context("no list")?;
        ensure!(never.iter().any(|entry| entry["network"] == "203.0.113.1/32"), "{view}");
        ensure!(cli(world, &["unload"])?.status.success(), "unload failed");
        Ok(())
    });
}

#[test]
fn a_foreign_program_is_named_and_left_alone() {
    in_world(|world, _| {
        Agent::start(world, "")?.stop()?;
        let program = |view: &Value| view["links"][0]["program"].clone();
        let before = ask(world, &["maps", "list"])?;
        let own = fs::read_to_string(config_of(world))?;
        // Another instance with pins of its own: to it, the program that is there is somebody else's.
        let pins = world.pins().display().to_string();
        let other = format!("{pins}-other");
        fs::write(config_of(world), own.replace(&pins, &other))?;
        let refused = cli(world, &["load"])?;
        let said = String::from_utf8_lossy(&refused.stderr);
        ensure!(refused.status.code() == Some(1), "{refused:?}");
        ensure!(said.contains("wan0") && said.contains(&program(&before).to_string()), "{said}");
        ensure!(said.lines().count() == 1, "one sentence, not {said}");
        ensure!(!Path::new(&other).exists(), "a load that failed leaves pins");
        fs::write(config_of(world), own)?;
        let after = ask(world, &["maps", "list"])?;
        ensure!(program(&before).is_u64() && program(&before) == program(&after), "{before} became {after}");
        Ok(())
    });
}

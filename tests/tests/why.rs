//! The answer to "why am I blocked?", for a client that was blocked through real SMTP and dropped by the real kernel.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use filter_tests::agent::{Agent, ask, cli};
use filter_tests::client::{Attempt, Client};
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::world::World;
use serde_json::Value;

fn why(world: &World, address: &str) -> Result<Value> {
    ask(world, &["why", address])
}

fn told(world: &World, address: &str) -> Result<String> {
    let output = cli(world, &["why", address])?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// The events of a kind, newest last.
fn events<'a>(list: &'a Value, kind: &str) -> Vec<&'a Value> {
    list.as_array().into_iter().flatten().filter(|event| event["event"] == kind).collect()
}

#[test]
fn the_sum_is_worked_out_line_by_line_and_the_kernel_says_what_it_dropped() {
    in_world(|world, _| {
        let agent = Agent::start(world, "")?;
        let mut client = Client::greeted(world, "203.0.113.20")?;
        client.ask("MAIL FROM:<sender@client.example>", 250)?;
        client.ask("RCPT TO:<nobody@example.test>", 550)?;
        let before = why(world, "203.0.113.20")?;
        ensure!(before["refused_by"].is_null() && before["score"] == 50, "{before}");
        let said = told(world, "203.0.113.20")?;
        ensure!(said.contains("is not blocked; its score is 50 of 1000, 950 more"), "{said}");
        ensure!(said.contains("bad-local-rcpt") && said.contains("nobody@example.test"), "{said}");

        client.send(&"RCPT TO:<someone@elsewhere.test>\r\n".repeat(10))?;
        wait_until("the block", Duration::from_secs(5), || {
            Ok(why(world, "203.0.113.20")?["refused_by"].is_string())
        })?;
        ensure!(matches!(Client::attempt(world, "203.0.113.20")?, Attempt::Silence), "it was answered");
        let after = why(world, "203.0.113.20")?;
        let block = &after["blocks"][0]["event"];
        let led: Vec<_> = events(&after["events"], "offence");
        ensure!(led.iter().all(|event| &event["answered_by"] == block), "{after}");
        let sum: u64 = led.iter().filter_map(|event| event["multiplier"].as_u64()).sum();
        ensure!(sum == 1050 && led.len() == 11, "{after}");
        ensure!(after["score"] == 0, "the events are spent: {after}");
        ensure!(after["kernel"]["verdict"] == "drop", "{after}");
        ensure!(after["kernel"]["packets"].as_u64().context("no packets")? > 0, "{after}");
        let said = told(world, "203.0.113.20")?;
        ensure!(said.starts_with("203.0.113.20 is blocked for another 29m"), "{said}");
        ensure!(
            said.lines().any(|line| line.contains("relay-denied") && line.contains("\t1050\t")),
            "{said}"
        );
        ensure!(said.contains("The kernel drops its new connections (drop-host)"), "{said}");

        // The kernel's own word of the first drop has come into the log.
        let dropped = || Ok(!events(&ask(world, &["events", "--kind", "dropped"])?, "dropped").is_empty());
        wait_until("the report of the drop", Duration::from_secs(5), dropped)?;
        let log = ask(world, &["events", "--network", "203.0.113.20"])?;
        let first = events(&log, "dropped");
        ensure!(first.len() == 1 && first[0]["packets"] == 1 && first[0]["port"] == 25, "{log}");

        // And the log outlives the agent.
        agent.kill()?;
        let _agent = Agent::start_again(world)?;
        let again = why(world, "203.0.113.20")?;
        ensure!(events(&again["events"], "offence").len() == 11, "{again}");
        ask(world, &["block", "remove", "203.0.113.20"])?;
        let log = ask(world, &["events", "--network", "203.0.113.20"])?;
        let last = log.as_array().and_then(|list| list.last()).context("no events")?;
        ensure!(last["event"] == "unblocked" && last["by"] == "root", "{last}");
        let numbers: Vec<_> =
            log.as_array().into_iter().flatten().filter_map(|event| event["id"].as_u64()).collect();
        ensure!(numbers.is_sorted_by(|a, b| a < b), "numbers are given once: {numbers:?}");
        Ok(())
    });
}

#[test]
fn a_never_block_entry_is_named_as_the_one_that_wins() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        ask(world, &["block", "add", "203.0.113.0/24", "--comment", "a whole net"])?;
        ask(world, &["never", "add", "203.0.113.21", "--comment", "our branch office"])?;
        let said = told(world, "203.0.113.21")?;
        ensure!(
            said.starts_with("203.0.113.21 is not blocked: 203.0.113.21 is never blocked, which wins"),
            "{said}"
        );
        ensure!(said.contains("a whole net") && said.contains("our branch office"), "{said}");
        ensure!(said.contains("The kernel passes its new connections (never-block)"), "{said}");
        let refused = cli(world, &["why", "somebody"])?;
        ensure!(refused.status.code() == Some(2), "{refused:?}");
        let refused = cli(world, &["events", "--kind", "party"])?;
        ensure!(
            refused.status.code() == Some(2) && String::from_utf8_lossy(&refused.stderr).contains("offence"),
            "{refused:?}"
        );
        Ok(())
    });
}

#[test]
fn why_of_a_network_names_what_covers_it_what_lies_inside_and_who_comes_close() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        ask(world, &["block", "add", "203.0.113.200", "--comment", "a scanner"])?;
        ask(world, &["never", "add", "203.0.113.201"])?;
        let mut client = Client::greeted(world, "203.0.113.26")?;
        client.ask("MAIL FROM:<sender@client.example>", 250)?;
        client.ask("RCPT TO:<someone@elsewhere.test>", 554)?;
        client.quit()?;
        let network = why(world, "203.0.113.0/24")?;
        // The gateway is in it, too.
        ensure!(network["blocks_inside"] == 1 && network["never_inside"] == 2, "{network}");
        ensure!(network["watched"] == 1 && network["heaviest"][0]["score"] == 100, "{network}");
        ensure!(network["kernel"]["blocks"] == 1, "{network}");
        ensure!(!events(&network["history"], "offence").is_empty(), "{network}");
        let said = told(world, "203.0.113.0/24")?;
        ensure!(said.contains("203.0.113.0/24 is not blocked as a whole"), "{said}");
        ensure!(said.contains("a scanner") && said.contains("203.0.113.26"), "{said}");
        ask(world, &["block", "add", "203.0.0.0/16"])?;
        let said = told(world, "203.0.113.0/24")?;
        ensure!(said.contains("203.0.113.0/24 is blocked for another"), "{said}");
        Ok(())
    });
}

#[test]
fn a_network_that_is_blocked_as_a_whole_names_the_blocks_that_led_to_it() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "[ips]\nwiden_after = 2\n")?;
        for who in ["203.0.113.20", "203.0.113.21"] {
            let mut client = Client::greeted(world, who)?;
            client.ask("MAIL FROM:<sender@client.example>", 250)?;
            client.send(&"RCPT TO:<someone@elsewhere.test>\r\n".repeat(10))?;
            wait_until("the block", Duration::from_secs(5), || {
                Ok(why(world, who)?["refused_by"].is_string())
            })?;
        }
        ensure!(
            matches!(Client::attempt(world, "203.0.113.30")?, Attempt::Silence),
            "a neighbour was answered"
        );
        let said = told(world, "203.0.113.30")?;
        let members: Vec<_> =
            said.lines().filter(|line| line.ends_with("\tscore 1000 reached the threshold 1000")).collect();
        ensure!(
            members.len() == 2 && members[0].contains("203.0.113.20") && members[1].contains("203.0.113.21"),
            "{said}"
        );
        ensure!(!said.contains("COST"), "a sum of nothing: {said}");
        ensure!(said.contains("(drop-prefix)"), "{said}");
        Ok(())
    });
}

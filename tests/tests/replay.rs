//! The past judged by other numbers: real offences of real sessions, told to a real engine once more.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use filter_tests::agent::{Agent, ask, cli, config_of};
use filter_tests::client::Client;
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::world::World;
use serde_json::Value;

const UNKNOWN: &str = "RCPT TO:<nobody@example.test>\r\n";
const RELAY: &str = "RCPT TO:<someone@elsewhere.test>\r\n";

/// A client says the same many times, and is gone.
fn repeat(world: &World, from: &str, command: &str, times: u64) -> Result<()> {
    let before = offences(world)?;
    let mut client = Client::greeted(world, from)?;
    client
        .send(&format!("MAIL FROM:<sender@client.example>\r\n{}", command.repeat(usize::try_from(times)?)))?;
    wait_until("the offences", Duration::from_secs(10), || Ok(offences(world)? == before + times))
}

fn offences(world: &World) -> Result<u64> {
    ask(world, &["status"])?["offences"].as_u64().context("no offences")
}

fn replay(world: &World, arguments: &[&str]) -> Result<Value> {
    ask(world, &[&["replay"], arguments].concat())
}

/// The clients that were blocked on either side, and on which.
fn sides(view: &Value) -> Vec<(&str, bool, bool)> {
    let clients = view["clients"].as_array().into_iter().flatten();
    let side = |client: &Value, name: &str| client[name].is_object();
    clients
        .filter_map(|client| {
            Some((client["network"].as_str()?, side(client, "in_force"), side(client, "replayed")))
        })
        .collect()
}

fn told(world: &World, arguments: &[&str]) -> Result<String> {
    let output = cli(world, &[&["replay"], arguments].concat())?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn other_numbers_show_who_would_have_been_blocked_and_who_would_not() {
    in_world(|world, _| {
        let agent = Agent::start(world, "")?;
        let said = told(world, &[])?;
        ensure!(said == "there are no offences in the event log; there is nothing to replay\n", "{said}");
        ask(world, &["never", "add", "203.0.113.22"])?;
        repeat(world, "203.0.113.20", UNKNOWN, 12)?;
        repeat(world, "203.0.113.21", RELAY, 10)?;
        repeat(world, "203.0.113.22", RELAY, 10)?;
        repeat(world, "2001:db8:a:2::1", UNKNOWN, 11)?;
        let (quiet, relay, other) = ("203.0.113.20/32", "203.0.113.21/32", "2001:db8:a:2::/64");
        let log = ask(world, &["events", "--kind", "blocked"])?;
        ensure!(log.as_array().is_some_and(|list| list.len() == 1), "one block was real: {log}");

        let check = || -> Result<()> {
            let view = replay(world, &[])?;
            ensure!(sides(&view) == [(relay, true, true)] && view["offences"] == 43, "{view}");
            let both = &view["clients"][0];
            ensure!(both["in_force"] == both["replayed"], "the same number, time and score: {view}");
            ensure!(both["replayed"]["score"] == 1000 && both["replayed"]["times"] == 1, "{view}");
            ensure!(both["replayed"]["first"] == log[0]["time"], "{view} {log}");
            // 12 unknown recipients are 600, 11 are 550; the relay attempts of the exempt client are nobody's.
            let view = replay(world, &["--threshold", "600"])?;
            ensure!(sides(&view) == [(quiet, false, true), (relay, true, true)], "{view}");
            let view = replay(world, &["--bad-local-rcpt-multiplier", "100"])?;
            ensure!(
                sides(&view) == [(quiet, false, true), (other, false, true), (relay, true, true)],
                "{view}"
            );
            let multipliers = ["--relay-denied-multiplier", "0", "--bad-local-rcpt-multiplier", "91"];
            let view = replay(world, &multipliers)?;
            ensure!(
                sides(&view) == [(quiet, false, true), (other, false, true), (relay, true, false)],
                "{view}"
            );
            ensure!(view["changed"].as_array().is_some_and(|list| list.len() == 2), "{view}");
            ensure!(view["only_in_force"] == 1 && view["only_replayed"] == 2 && view["both"] == 0, "{view}");
            Ok(())
        };
        check()?;
        agent.stop()?;
        // The log is read without the agent, and left as it is.
        check()?;
        let said = told(world, &["--threshold", "600"])?;
        let line = |start: &str| said.lines().find(|line| line.starts_with(start)).unwrap_or_default();
        ensure!(line("with") == "with client_error_block_threshold 600 instead of 1000", "{said}");
        ensure!(line("blocked") == "blocked only as replayed: 1; only as it was: 0; both: 1", "{said}");
        ensure!(
            line("203.0.113.20\t").contains("\tonly as replayed\t-\t")
                && line("203.0.113.20\t").ends_with("\t600\t0\t0"),
            "{said}"
        );
        ensure!(line("203.0.113.21\t").contains("\tboth\t"), "{said}");
        let summary =
            "1 client more would have been blocked, and it neither logged in nor delivered mail meanwhile";
        ensure!(line("1 client") == format!("{summary}."), "{said}");

        let _agent = Agent::start_again(world)?;
        let again = replay(world, &["--since", "1h"])?;
        ensure!(again["offences"] == 43, "{again}");
        Ok(())
    });
}

#[test]
fn what_a_file_says_is_the_base_and_what_cannot_be_read_is_named() {
    in_world(|world, _| {
        let agent = Agent::start(world, "")?;
        repeat(world, "203.0.113.23", UNKNOWN, 12)?;
        agent.stop()?;
        let own = fs::read_to_string(config_of(world))?;
        fs::write(config_of(world), format!("{own}\n[ips]\nclient_error_block_threshold = 600\n"))?;
        let view = replay(world, &[])?;
        ensure!(sides(&view) == [("203.0.113.23/32", false, true)] && view["changed"][0].is_null(), "{view}");
        let view = replay(world, &["--threshold", "601"])?;
        ensure!(sides(&view).is_empty() && view["changed"][0]["configured"] == "600", "{view}");
        std::thread::sleep(Duration::from_millis(1100));
        let said = told(world, &["--since", "1s"])?;
        ensure!(said == "there are no offences in the last 1s; there is nothing to replay\n", "{said}");

        for (arguments, code, word) in [
            (["--threshold", "0"], 2, "--threshold"),
            (["--block-time", "0s"], 2, "1s"),
            (["--relay-denied-multiplier", "lots"], 2, "relay-denied"),
        ] {
            let output = cli(world, &["replay", arguments[0], arguments[1]])?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.code() == Some(code) && said.contains(word), "{arguments:?}: {said}");
        }
        let elsewhere = own.replace("/state\"", "/nowhere\"");
        ensure!(elsewhere != own, "the state directory is not where it was");
        fs::write(config_of(world), elsewhere)?;
        let output = cli(world, &["replay"])?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1) && said.lines().count() == 1, "{output:?}");
        ensure!(said.contains("nowhere/gatepost.db") && said.contains("--config"), "{said}");
        ensure!(!world.scratch().join("nowhere").exists(), "it made something where nothing was");
        Ok(())
    });
}

//! The IDS log: what other tools read of a real client, and what happens when the file cannot be written.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use filter_tests::agent::{Agent, ask, cli};
use filter_tests::client::{Attempt, Client};
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::world::World;
use nix::sys::signal::Signal;

fn offend(world: &World, from: &str) -> Result<()> {
    let mut client = Client::greeted(world, from)?;
    client.ask("MAIL FROM:<sender@client.example>", 250)?;
    // What it would like to be read as another line.
    let forged = "RCPT TO:<\"2026-11-23T00:00:00Z 192.0.2.9 200 blocked\"@elsewhere.test>\r\n";
    client.send(&[forged, &"RCPT TO:<someone@elsewhere.test>\r\n".repeat(10)].concat())
}

#[test]
fn offences_blocks_and_unblocks_have_a_line_each_and_the_file_can_be_rotated() {
    in_world(|world, _| {
        let (file, old) = (world.scratch().join("ids.log"), world.scratch().join("ids.log.1"));
        let agent = Agent::start(world, &format!("[log]\nids_file = \"{}\"\n", file.display()))?;
        offend(world, "203.0.113.20")?;
        let lines = || -> Result<Vec<String>> {
            Ok(fs::read_to_string(&file).unwrap_or_default().lines().map(str::to_owned).collect())
        };
        wait_until("the block's line", Duration::from_secs(5), || {
            Ok(lines()?.iter().any(|line| line.contains(" 203.0.113.20 200 blocked for 1800 s, by engine: ")))
        })?;
        let before = lines()?;
        let denied = before
            .iter()
            .filter(|line| line.contains(" 203.0.113.20 1 relay-denied RCPT TO:<someone@"))
            .count();
        ensure!(denied >= 9, "{before:?}");
        let forged =
            before.iter().find(|line| line.contains("192.0.2.9")).context("the offence has no line")?;
        ensure!(
            forged.contains(" 203.0.113.20 1 relay-denied ") && !forged.starts_with("2026-11-23T00:00:00Z"),
            "{forged}"
        );
        for line in &before {
            let (time, rest) = line.split_once(' ').context("no time")?;
            ensure!(time.len() == 24 && time.ends_with('Z') && rest.starts_with("203.0.113.20 "), "{line}");
        }

        fs::rename(&file, &old)?;
        agent.signal(Signal::SIGHUP)?;
        wait_until("a new file", Duration::from_secs(5), || Ok(file.exists()))?;
        ask(world, &["block", "remove", "203.0.113.20"])?;
        wait_until("the unblock's line", Duration::from_secs(5), || Ok(!lines()?.is_empty()))?;
        ensure!(lines()?[0].ends_with(" 203.0.113.20 201 unblocked by root"), "{:?}", lines()?);
        ensure!(fs::read_to_string(&old)?.lines().count() == before.len(), "the old file was written to");
        ensure!(ask(world, &["status"])?["ids_lost"] == 0, "lines were lost");
        agent.stop()
    });
}

#[test]
fn a_full_disk_stops_neither_mail_nor_blocking_and_is_said_once() {
    in_world(|world, _| {
        for file in ["/dev/full".to_owned(), world.scratch().join("missing/ids.log").display().to_string()] {
            let agent = Agent::start(world, &format!("[log]\nids_file = \"{file}\"\n"))?;
            let said = agent.log().matches("IDS log cannot be written").count();
            offend(world, "203.0.113.21")?;
            wait_until("the block", Duration::from_secs(5), || {
                Ok(matches!(Client::attempt(world, "203.0.113.21")?, Attempt::Silence))
            })?;
            Client::greeted(world, "203.0.113.22")?.quit()?;
            wait_until("the count", Duration::from_secs(5), || {
                Ok(ask(world, &["status"])?["ids_lost"].as_u64().is_some_and(|lost| lost >= 11))
            })?;
            let times = agent.log().matches("IDS log cannot be written").count();
            // A directory that is missing is found when the agent starts.
            ensure!(times <= 1 + said && times > 0, "said {times} times");
            ask(world, &["block", "remove", "203.0.113.21"])?;
            agent.stop()?;
            fs::remove_file(world.scratch().join("gatepost.log"))?;
        }
        let path = world.scratch().join("wrong.toml");
        fs::write(&path, "[log]\nids_file = \"x\"\nids_format = \"%T %Z\"\n")?;
        let refused = cli(world, &["check-config", path.to_str().unwrap_or_default()])?;
        let said = String::from_utf8(refused.stderr)?;
        ensure!(
            refused.status.code() == Some(2) && said.contains("wrong.toml:3") && said.contains("%D"),
            "{said}"
        );
        Ok(())
    });
}

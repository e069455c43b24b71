//! The block list and the never-block list, changed while clients come and go.

use anyhow::{Result, ensure};
use filter_tests::agent::{Agent, ask, cli, cli_without_capabilities, is_pinned, verdict};
use filter_tests::client::{Attempt, Client};
use filter_tests::in_world;
use filter_tests::world::World;

fn is_silent(world: &World, from: &str) -> Result<bool> {
    Ok(matches!(Client::attempt(world, from)?, Attempt::Silence))
}

#[test]
fn a_never_block_entry_lets_a_blocked_client_in_at_once() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        ask(world, &["block", "add", "203.0.113.40"])?;
        ensure!(is_silent(world, "203.0.113.40")?, "the block does not hold");
        ask(world, &["never", "add", "203.0.113.32/27", "--comment", "branch office"])?;
        Client::greeted(world, "203.0.113.40")?.quit()?;
        let list = ask(world, &["block", "list"])?;
        ensure!(list[0]["overridden_by"] == "203.0.113.32/27", "{list}");
        ask(world, &["never", "remove", "203.0.113.32/27"])?;
        ensure!(is_silent(world, "203.0.113.40")?, "the block does not stand again");
        Ok(())
    });
}

#[test]
fn nested_blocks_are_removed_one_by_one() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        ask(world, &["block", "add", "203.0.113.*", "--minutes", "999999999"])?;
        ask(world, &["block", "add", "203.0.113.41"])?;
        let removed = ask(world, &["block", "remove", "203.0.113.41"])?;
        ensure!(removed["still_covered_by"][0] == "203.0.113.0/24", "{removed}");
        ensure!(verdict(world, "203.0.113.41")?.0 == "drop", "the wider block does not hold");
        ask(world, &["block", "remove", "203.0.113.0/24"])?;
        Client::greeted(world, "203.0.113.41")?.quit()
    });
}

#[test]
fn an_open_session_hears_why_it_ends() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        let mut open = Client::greeted(world, "203.0.113.42")?;
        let mut neighbour = Client::greeted(world, "203.0.113.43")?;
        ask(world, &["block", "add", "203.0.113.42"])?;
        let reply = open.expect(421)?;
        ensure!(reply.text.contains("Your connection has been blocked temporarily"), "{reply:?}");
        ensure!(open.is_closed()?, "it was not closed");
        neighbour.ask("NOOP", 250)?;
        Ok(())
    });
}

#[test]
fn mistakes_are_one_sentence_and_an_exit_code() {
    in_world(|world, _| {
        let check = |arguments: &[&str], code: i32, words: &[&str]| -> Result<()> {
            let output = cli(world, arguments)?;
            let said = String::from_utf8(output.stderr)?;
            ensure!(output.status.code() == Some(code), "{arguments:?} exits with {}: {said}", output.status);
            ensure!(said.lines().count() == 1, "{arguments:?} says {said}");
            for word in words {
                ensure!(said.contains(word), "{arguments:?}: `{word}` is missing in {said}");
            }
            Ok(())
        };
        let agent = Agent::start(world, "")?;
        check(&["block", "add", "203.0.113.300"], 2, &["is not an address"])?;
        check(&["block", "add", "203.0.113.5/24"], 2, &["203.0.113.0/24", "203.0.113.5?"])?;
        check(&["block", "add", "0.0.0.0/0"], 1, &["--force"])?;
        check(&["block", "add", "203.0.113.5", "--minutes", "1000000000"], 1, &["999999999"])?;
        check(&["block", "add", "203.0.113.5", "--for", "0s"], 1, &["999999999"])?;
        check(&["block", "remove", "203.0.113.5"], 1, &["not on the list"])?;
        check(&["never", "remove", "203.0.113.1"], 1, &["built in"])?;
        check(&["maps", "get", "nobody"], 2, &["is not an address"])?;
        check(&["run"], 1, &["203.0.113.1:25", "in use"])?;
        agent.stop()?;
        check(&["status"], 3, &["not running", "gatepost run"])?;
        ensure!(cli(world, &["unload"])?.status.success(), "unload failed");
        check(&["maps", "list"], 1, &["not loaded", "gatepost load"])?;
        check(&["unload"], 1, &["not loaded"])?;
        check(&["load", "--interface", "wan7"], 1, &["wan7", "wan0"])?;
        let denied = cli_without_capabilities(world, &["load"])?;
        let said = String::from_utf8(denied.stderr)?;
        ensure!(denied.status.code() == Some(4) && said.contains("run as root"), "{said}");
        ensure!(!is_pinned(world), "a load that failed leaves something");
        let path = world.scratch().join("broken.toml");
        std::fs::write(&path, "\n[smtp]\nlissten = []\n")?;
        let path = path.to_str().unwrap_or_default();
        check(&["check-config", path], 2, &["broken.toml:3", "lissten", "listen"])?;
        Ok(())
    });
}

//! The help page's own arithmetic, played by a real client against a real Postfix, with the drop in the real kernel.

use anyhow::{Result, ensure};
use filter_tests::agent::{Agent, ask, cli, verdict};
use filter_tests::client::{Attempt, Client};
use filter_tests::{in_world, process::wait_until, world::World};
use std::time::Duration;

/// The client tries to relay, to log in and to write to nobody, so many times each; its session stays open.
fn misbehave(world: &World, from: &str, relay: usize, login: usize, nobody: usize) -> Result<Client> {
    let mut client = Client::greeted(world, from)?;
    client.ask("MAIL FROM:<sender@client.example>", 250)?;
    for _ in 0..relay {
        client.ask("RCPT TO:<someone@elsewhere.test>", 554)?;
    }
    for recipient in 0..nobody {
        client.ask(&format!("RCPT TO:<nobody{recipient}@example.test>"), 550)?;
    }
    client.ask("RSET", 250)?;
    for attempt in 0..login {
        // "\0alice@example.test\0wrong", once plainly and once in two steps.
        if attempt % 2 == 0 {
            client.ask("AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdAB3cm9uZw==", 535)?;
        } else {
            client.ask("AUTH LOGIN", 334)?;
            client.ask("YWxpY2VAZXhhbXBsZS50ZXN0", 334)?;
            client.ask("d3Jvbmc=", 535)?;
        }
    }
    Ok(client)
}

fn blocks(world: &World) -> Result<usize> {
    Ok(ask(world, &["block", "list"])?.as_array().map_or(0, Vec::len))
}

#[test]
fn the_pages_own_example_is_dropped_in_the_kernel_and_others_are_served() {
    in_world(|world, postfix| {
        let _agent = Agent::start(world, "")?;
        // Twelve unknown recipients, five wrong logins and one attempt to relay make 950; the second attempt makes 1050.
        let mut client = misbehave(world, "203.0.113.10", 1, 5, 12)?;
        ensure!(blocks(world)? == 0, "950 must not block");
        client.ask("MAIL FROM:<sender@client.example>", 250)?;
        client.send("RCPT TO:<someone@elsewhere.test>\r\n")?;
        let mut last = client.read()?;
        if last.code == 554 {
            last = client.read()?;
        }
        let said = "421 4.7.0 mx.example.test Your connection has been blocked temporarily - Try again later";
        ensure!(last.text == said, "heard {last:?}");
        ensure!(client.is_closed()?, "the open session was not closed");

        let list = ask(world, &["block", "list"])?;
        ensure!(list[0]["reason"] == "score 1050 reached the threshold 1000", "{list}");
        ensure!(list[0]["network"] == "203.0.113.10/32" && list[0]["origin"] == "smtp", "{list}");
        let span =
            list[0]["until"].as_i64().zip(list[0]["since"].as_i64()).map(|(until, since)| until - since);
        ensure!(span == Some(30 * 60 * 1000), "{list}");
        let (decision, before) = verdict(world, "203.0.113.10")?;
        ensure!(decision == "drop", "the kernel would {decision}");
        let attempt = Client::attempt(world, "203.0.113.10")?;
        ensure!(matches!(attempt, Attempt::Silence), "the blocked client was answered: {attempt:?}");
        let (_, after) = verdict(world, "203.0.113.10")?;
        ensure!(after > before, "the drop counter stands at {after}");

        let mut other = Client::greeted(world, "203.0.113.11")?;
        other.deliver("alice@example.test", "while another is blocked")?;
        other.quit()?;
        wait_until("delivery", Duration::from_secs(10), || Ok(postfix.messages("alice")?.len() == 1))
    });
}

#[test]
fn the_score_adds_up_over_sessions_and_pipelined_commands() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        misbehave(world, "203.0.113.12", 2, 0, 0)?.quit()?;
        misbehave(world, "203.0.113.12", 0, 5, 0)?.quit()?;
        ensure!(blocks(world)? == 0, "450 must not block");
        let mut client = Client::greeted(world, "203.0.113.12")?;
        let commands: Vec<_> =
            (0..12).map(|nobody| format!("RCPT TO:<nobody{nobody}@example.test>\r\n")).collect();
        client.send(&format!("MAIL FROM:<sender@client.example>\r\n{}", commands.concat()))?;
        wait_until("the block", Duration::from_secs(5), || Ok(blocks(world)? == 1))
    });
}

#[test]
fn one_recipient_fewer_than_the_threshold_does_not_block() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        let client = misbehave(world, "203.0.113.13", 2, 5, 10)?;
        client.quit()?;
        ensure!(blocks(world)? == 0, "950 must not block");
        let mut again = Client::greeted(world, "203.0.113.13")?;
        again.ask("NOOP", 250)?;
        // The eleventh makes it exactly 1000.
        again.ask("MAIL FROM:<sender@client.example>", 250)?;
        again.send("RCPT TO:<nobody@example.test>\r\n")?;
        wait_until("the block at exactly 1000", Duration::from_secs(5), || Ok(blocks(world)? == 1))
    });
}

#[test]
fn a_client_that_breaks_its_connection_is_scored_for_what_it_has_asked() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        let mut client = Client::greeted(world, "203.0.113.15")?;
        client.send(&format!("MAIL FROM:<>\r\n{}", "RCPT TO:<someone@elsewhere.test>\r\n".repeat(9)))?;
        client.reset()?;
        wait_until("nine offences", Duration::from_secs(5), || Ok(ask(world, &["status"])?["offences"] == 9))
    });
}

#[test]
fn ipv6_clients_are_blocked_with_their_64() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        let mut client = Client::greeted(world, "2001:db8:a:1::1")?;
        client.ask("MAIL FROM:<sender@client.example>", 250)?;
        client.send(&"RCPT TO:<someone@elsewhere.test>\r\n".repeat(10))?;
        wait_until("the block", Duration::from_secs(5), || Ok(blocks(world)? == 1))?;
        let (decision, _) = verdict(world, "2001:db8:a:1:ffff::9")?;
        ensure!(decision == "drop", "a neighbour in the /64 would {decision}");
        ensure!(matches!(Client::attempt(world, "2001:db8:a:1::1")?, Attempt::Silence), "it was answered");
        Client::greeted(world, "2001:db8:a:2::1")?.quit()
    });
}

#[test]
fn observe_mode_judges_and_lets_everybody_pass() {
    in_world(|world, _| {
        let agent = Agent::start(world, "")?;
        agent.stop()?;
        let path = filter_tests::agent::config_of(world);
        let text = std::fs::read_to_string(&path)?;
        std::fs::write(&path, format!("mode = \"observe\"\n{text}"))?;
        let agent = Agent::start_again(world)?;
        misbehave(world, "203.0.113.14", 10, 0, 0)?.quit()?;
        ensure!(blocks(world)? == 1, "what would be blocked is listed");
        ensure!(agent.log().contains("would be blocked"), "and logged");
        Client::greeted(world, "203.0.113.14")?.quit()?;
        ask(world, &["block", "add", "203.0.113.15"])?;
        let export = cli(world, &["block", "export", "--format", "plain"])?;
        let (list, left_out) = (String::from_utf8(export.stdout)?, String::from_utf8(export.stderr)?);
        ensure!(
            list.starts_with("203.0.113.15 ") && list.lines().count() == 1,
            "would be enforced elsewhere: {list}"
        );
        ensure!(left_out.contains("1 block that was only observed is left out"), "{left_out}");
        let list = ask(world, &["maps", "list"])?;
        let observed =
            list["counters"].as_array().and_then(|all| all.iter().find(|one| one["reason"] == "observed"));
        ensure!(observed.is_some_and(|one| one["packets"].as_u64() > Some(0)), "and counted: {list}");
        Ok(())
    });
}

//! Several services, their own session books, and clients behind a load balancer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use filter_tests::agent::{Agent, ask, cli, verdict};
use filter_tests::client::{Attempt, Client};
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::world::{GATEWAY_V4, World};

/// The load balancer's own address.
const BALANCER: &str = "203.0.113.50";

fn two_services() -> String {
    format!(
        "[services.submission]
listen = [\"{GATEWAY_V4}:587\"]
proxy_from = \"{BALANCER}\"
[services.submission.sessions]
maximum_sessions = 2
maximum_incoming_sessions = 2
"
    )
}

/// A client behind the balancer that has heard the greeting and said EHLO.
fn behind(world: &World, header: &[u8]) -> Result<Client> {
    let mut client = Client::connect_on(world, BALANCER, 587)?;
    client.send_bytes(header)?;
    client.expect(220)?;
    client.ask("EHLO client.example", 250)?;
    Ok(client)
}

fn v1(client: &str) -> String {
    format!("PROXY TCP4 {client} {GATEWAY_V4} 4711 587\r\n")
}

#[test]
fn services_with_books_of_their_own_do_not_take_each_others_places() {
    in_world(|world, _| {
        let _agent = Agent::start(world, &two_services())?;
        let _first = behind(world, v1("192.0.2.1").as_bytes())?;
        let _second = behind(world, v1("192.0.2.2").as_bytes())?;
        let mut third = Client::connect_on(world, "203.0.113.20", 587)?;
        ensure!(third.expect(421)?.text.contains("Too many connections"), "the third is refused");
        Client::greeted(world, "203.0.113.20")?.quit()?;
        let status = ask(world, &["status"])?;
        let services = status["services"].as_array().context("no services")?;
        ensure!(services[0]["name"] == "smtp" && services[0]["sessions"].is_null(), "{status}");
        let own = &services[1]["sessions"];
        ensure!(own["total"]["used"] == 2 && own["total"]["limit"] == 2, "{status}");
        ensure!(own["admitted"] == 2 && own["overflowed"] == 1, "{status}");
        ensure!(status["sessions"]["admitted"] == 1 && status["sessions"]["overflowed"] == 0, "{status}");
        let said = String::from_utf8(cli(world, &["status"])?.stdout)?;
        ensure!(said.contains("service submission") && said.contains("3 sessions"), "{said}");
        let means = String::from_utf8(cli(world, &["check-config"])?.stdout)?;
        ensure!(means.contains("service submission: listens on 203.0.113.1:587"), "{means}");
        let shown = String::from_utf8(cli(world, &["config", "show"])?.stdout)?;
        ensure!(shown.contains("[services.submission.sessions]\nmaximum_sessions = 2"), "{shown}");
        Ok(())
    });
}

#[test]
fn a_client_behind_a_listed_balancer_is_known_by_its_own_address() {
    in_world(|world, postfix| {
        let _agent = Agent::start(world, &two_services())?;
        let v2 =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x02\xcb\x00\x71\x01\x12\x67\x02\x4b".to_vec();
        for (header, shown) in [(v1("192.0.2.1").into_bytes(), "[192.0.2.1]"), (v2, "[192.0.2.2]")] {
            let mut client = behind(world, &header)?;
            client.deliver("alice@example.test", shown)?;
            client.quit()?;
            wait_until("delivery", Duration::from_secs(10), || {
                Ok(postfix
                    .messages("alice")?
                    .iter()
                    .any(|message| message.contains(&format!("from client.example (unknown {shown})"))))
            })?;
        }
        ask(world, &["block", "add", "192.0.2.1"])?;
        let mut blocked = Client::connect_on(world, BALANCER, 587)?;
        blocked.send(&v1("192.0.2.1"))?;
        ensure!(blocked.expect(421)?.text.contains("blocked temporarily"), "enforced at accept");
        behind(world, v1("192.0.2.3").as_bytes())?.quit()?;
        // The balancer can never be blocked, or nobody behind it could come in.
        ask(world, &["block", "add", BALANCER])?;
        ensure!(verdict(world, BALANCER)?.0 == "pass", "the balancer is dropped");
        behind(world, v1("192.0.2.3").as_bytes())?.quit()
    });
}

#[test]
fn a_header_from_a_stranger_is_an_offence_and_never_believed() {
    in_world(|world, postfix| {
        let _agent = Agent::start(world, &two_services())?;
        let mut stranger = Client::connect_on(world, "203.0.113.21", 587)?;
        stranger.expect(220)?;
        stranger.ask(v1("127.0.0.1").trim_end(), 500)?;
        stranger.ask("EHLO client.example", 250)?;
        stranger.ask("MAIL FROM:<a@client.example>", 250)?;
        stranger.ask("RCPT TO:<someone@elsewhere.test>", 554)?;
        stranger.quit()?;
        ensure!(!postfix.log().contains("127.0.0.1"), "the mail server was told");
        let why = ask(world, &["why", "203.0.113.21"])?;
        ensure!(why["score"] == 120, "syntax-error and relay-denied: {why}");
        // Whoever speaks first is an early talker, whatever it says.
        let mut early = Client::connect_on(world, "203.0.113.22", 587)?;
        early.send(&v1("127.0.0.1"))?;
        early.expect(220)?;
        early.expect(500)?;
        early.quit()?;
        let why = ask(world, &["why", "203.0.113.22"])?;
        ensure!(why["score"].as_u64() >= Some(20), "{why}");
        Ok(())
    });
}

#[test]
fn a_balancer_without_a_whole_header_is_closed_and_named_in_the_log() {
    in_world(|world, _| {
        let agent = Agent::start(world, &two_services())?;
        let mut silent = Client::connect_on(world, BALANCER, 587)?;
        silent.send("PROXY TCP4 192.0.2.1 ")?;
        let mut talker = Client::connect_on(world, BALANCER, 587)?;
        talker.send("EHLO client.example\r\n")?;
        ensure!(talker.is_closed()?, "a balancer without a header was served");
        // One that is slow holds up nobody.
        behind(world, v1("192.0.2.3").as_bytes())?.quit()?;
        ensure!(silent.is_closed()?, "half a header is waited for without end");
        let log = agent.log();
        ensure!(log.contains(BALANCER) && log.contains("proxy_from"), "{log}");
        ensure!(log.matches("a connection of a load balancer is closed").count() == 1, "{log}");
        let status = ask(world, &["status"])?;
        ensure!(status["offences"] == 0, "nobody is known yet whose offence it could be: {status}");
        Ok(())
    });
}

#[test]
fn a_blocked_source_reaches_no_service() {
    in_world(|world, _| {
        let sections = format!("[services.odd]\nlisten = [\"{GATEWAY_V4}:2465\"]\n");
        let _agent = Agent::start(world, &sections)?;
        ask(world, &["block", "add", "203.0.113.23"])?;
        for port in [25, 2465] {
            let attempt = Client::attempt_on(world, "203.0.113.23", port)?;
            ensure!(matches!(attempt, Attempt::Silence), "port {port}: {attempt:?}");
        }
        Ok(())
    });
}

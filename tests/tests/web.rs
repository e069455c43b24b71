//! What an administrator does in a browser, with real clients, a real mail server and the real filter in the kernel.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use filter_tests::agent::{ask, config_of, verdict};
use filter_tests::browser::in_browser;
use filter_tests::client::{Attempt, Client};
use filter_tests::process::{Process, wait_until};
use filter_tests::world::World;

/// Ten attempts to relay, which block.
fn misbehave(world: &World, from: &str) -> Result<()> {
    let mut client = Client::greeted(world, from)?;
    client.ask("MAIL FROM:<sender@client.example>", 250)?;
    for number in 1..=10 {
        client.ask(&format!("RCPT TO:<user{number}@elsewhere.example>"), 554)?;
    }
    // Whoever has been told is blocked.
    client.expect(421).map(drop)
}

fn is_silent(world: &World, from: &str) -> Result<bool> {
    Ok(matches!(Client::attempt(world, from)?, Attempt::Silence))
}

#[test]
fn it_is_one_click_from_a_blocked_client_to_the_reason_and_one_to_the_remedy() {
    in_browser("operator", |world, browser| {
        misbehave(world, "203.0.113.11")?;
        ensure!(is_silent(world, "203.0.113.11")?, "it is not blocked");
        browser.click("nav.main a[href='/blocks']")?;
        browser.wait("#entries", "203.0.113.11")?;
        browser.shots("blocks")?;
        browser.check("the block list")?;
        browser.click("#entries a.button")?;
        browser.wait("#verdict", "Blocked for another")?;
        browser.wait("#sums", "Together 1,000 of 1,000 that block.")?;
        browser.wait("#kernel", "dropped")?;
        browser.shots("client")?;
        browser.check("a client's page")?;

        browser.click("#verdict button.primary")?;
        browser.wait(".notice", "203.0.113.11 is no longer blocked")?;
        browser.wait(".notice", "The kernel passes its connections. Its score is 0 of 1,000.")?;
        browser.wait("#verdict", "Not blocked")?;
        browser.shot("unblocked")?;
        Client::greeted(world, "203.0.113.11")?.quit()?;

        browser.click(".notice button")?;
        browser.wait("body", "The entry is back as it was")?;
        ensure!(is_silent(world, "203.0.113.11")?, "the removal is not undone");
        Ok(())
    });
}

#[test]
fn a_network_is_blocked_and_what_is_dangerous_is_asked_about_first() {
    in_browser("administrator", |world, browser| {
        browser.open("/blocks")?;
        browser.wait("main", "Nobody is blocked")?;
        browser.shot("blocks-empty")?;
        browser.fill("#network", "203.0.113.32/27")?;
        browser.fill("#minutes", "90")?;
        browser.fill("#comment", "<script>alert(1)</script> & a reason")?;
        browser.click("form[action='/blocks/add'] button")?;
        browser.wait(".notice", "203.0.113.32/27 is blocked for 1h 30m")?;
        browser.wait("#entries", "<script>alert(1)</script> & a reason")?;
        ensure!(verdict(world, "203.0.113.40")?.0 == "drop", "the kernel does not know");
        browser.fill("#q", "203.0.113.40")?;
        browser.click("form[role=search] button")?;
        browser.wait("#covered", "203.0.113.40 is covered by the block of 203.0.113.32/27")?;

        for (network, danger) in [
            ("0.0.0.0/0", "You are signed in from"),
            ("64.0.0.0/3", "large part of the internet"),
            ("127.0.0.1", "You are signed in from"),
        ] {
            browser.open("/blocks")?;
            browser.fill("#network", network)?;
            browser.click("form[action='/blocks/add'] button")?;
            browser.wait("main", danger)?;
            browser.check("the question before a danger")?;
            browser.shot("danger")?;
            browser.click("main a.button")?;
        }
        browser.open("/blocks")?;
        browser.fill("#network", "203.0.113.300")?;
        browser.click("form[action='/blocks/add'] button")?;
        browser.wait(".notice", "is not an address")?;

        ask(world, &["block", "add", "203.0.113.20"])?;
        browser.open("/blocks")?;
        browser.click("[data-check-all]")?;
        browser.click("form[action='/blocks/remove'] button")?;
        browser.wait(".notice", "2 entries are removed")?;
        ensure!(verdict(world, "203.0.113.40")?.0 == "pass", "the kernel still drops");
        browser.click(".notice button")?;
        browser.wait("body", "2 entries are back as they were")?;
        let list = ask(world, &["block", "list"])?;
        ensure!(list.as_array().is_some_and(|list| list.len() == 2), "{list}");

        browser.open("/never")?;
        browser.fill("#network", "203.0.113.32/27")?;
        browser.click("form[action='/never/add'] button")?;
        browser.wait(".notice", "is never blocked, for good")?;
        browser.wait("#entries", "built in")?;
        browser.shots("never")?;
        browser.check("the never-block list")?;
        ensure!(verdict(world, "203.0.113.40")?.0 == "pass", "never-block does not win");
        browser.open("/access")?;
        browser.wait("main", "Audit trail")?;
        browser.shots("access")?;
        browser.check("the access page")
    });
}

#[test]
fn the_log_is_followed_and_the_overview_shows_the_state() {
    in_browser("viewer", |world, browser| {
        browser.open("/")?;
        browser.wait("#tiles", "block list")?;
        browser.open("/events")?;
        browser.wait("main", "Nothing here")?;
        browser.click("#follow")?;
        browser.click("form[role=search] button")?;
        browser.wait("#following", "live")?;
        misbehave(world, "203.0.113.12")?;
        browser.wait("#list", "relay-denied")?;
        browser.wait("#list", "blocked")?;
        browser.wait("#following", "live")?;
        browser.shots("events")?;
        browser.check("the event log")?;
        ensure!(is_silent(world, "203.0.113.12")?, "it is not blocked");

        browser.open("/")?;
        browser.wait("#tiles", "on the block list")?;
        browser.shots("overview")?;
        browser.check("the overview")?;
        browser.open("/client?address=203.0.113.99")?;
        browser.wait("#verdict", "Not blocked")?;
        browser.check("an innocent client")?;
        browser.open("/client?address=nobody")?;
        browser.wait("main", "is not an address")?;

        // A viewer sees no button that he may not press.
        browser.open("/blocks")?;
        browser.wait("#entries", "203.0.113.12")?;
        ensure!(browser.text("form[action='/blocks/add']")?.is_empty(), "a viewer is offered a change");
        browser.click("form[action='/sign-out'] button")?;
        browser.wait("main", "Sign in")?;
        browser.shots("sign-in")?;
        browser.check("the sign-in page")
    });
}

#[test]
fn without_a_place_among_the_readers_the_log_is_asked_for_now_and_then() {
    in_browser("viewer", |world, browser| {
        let url = "http://gatepost/api/v1/events/follow";
        let socket = config_of(world).with_file_name("state").join("control.sock");
        let head = |number: usize| world.scratch().join(format!("reader-{number}"));
        let follow = |number| -> Result<Process> {
            let mut curl = Command::new("curl");
            curl.args(["-sN", "-D"]).arg(head(number)).arg("--unix-socket").arg(&socket).arg(url);
            Ok(Process::new(curl.stdout(Stdio::null()).spawn()?))
        };
        let _readers: Vec<_> = (0..64).map(follow).collect::<Result<_>>()?;
        let is_in = |number| fs::read_to_string(head(number)).is_ok_and(|head| head.contains(" 200 "));
        wait_until("all places taken", Duration::from_mins(1), || Ok((0..64).all(is_in)))?;
        browser.open("/events?follow=yes")?;
        browser.wait("#following", "asks every 2 s")?;
        misbehave(world, "203.0.113.13")?;
        browser.wait("#list", "relay-denied")?;
        browser.check("the event log without a place")
    });
}

//! Open sessions in a browser: seen to appear, ended, blocked and exempted with one click.

use anyhow::ensure;
use filter_tests::agent::{ask, verdict};
use filter_tests::browser::in_browser;
use filter_tests::client::Client;

#[test]
fn a_session_is_seen_to_appear_and_ends_with_one_click() {
    in_browser("operator", |world, browser| {
        browser.click("nav.main a[href='/sessions']")?;
        browser.wait("#open", "No session is open")?;
        browser.shots("sessions-empty")?;
        browser.check("the sessions page without a session")?;
        let mut client = Client::greeted(world, "203.0.113.45")?;
        client.ask("MAIL FROM:<a@client.example>", 250)?;
        let _other = Client::greeted(world, "203.0.113.46")?;
        // Nobody presses anything.
        browser.wait("#open", "203.0.113.45")?;
        browser.wait("#open", "envelope")?;
        browser.wait("#open", "client.example")?;
        browser.shots("sessions")?;
        browser.check("the sessions page")?;
        browser.click("th a[href*='sort=received']")?;
        browser.wait("th[aria-sort=descending]", "In")?;
        browser.fill("#q", "203.0.113.45")?;
        browser.click("form[role=search] button")?;
        browser.wait("#open", "1–1 of 1")?;
        browser.click("#open form button")?;
        browser.wait(".notice", "of 203.0.113.45 ends; its client may come back")?;
        ensure!(client.expect(421)?.text.contains("Session ended by the administrator"), "not told");
        browser.wait("#open", "No open session matches")?;
        browser.click("#open a")?;
        browser.wait("#open", "203.0.113.46")?;
        browser.click("#open button[formaction='/blocks/add']")?;
        browser.wait(".notice", "203.0.113.46 is blocked for 30m")?;
        browser.wait("#open", "No session is open")?;
        ensure!(verdict(world, "203.0.113.46")?.0 == "drop", "the kernel does not know");
        let _third = Client::greeted(world, "203.0.113.47")?;
        browser.wait("#open", "203.0.113.47")?;
        browser.click("#open button[formaction='/never/add']")?;
        browser.wait(".notice", "203.0.113.47 is never blocked, for good")?;
        let audit = ask(world, &["never", "list"])?;
        ensure!(audit.to_string().contains("203.0.113.47"), "{audit}");
        Ok(())
    });
}

#[test]
fn a_clients_page_shows_its_sessions_and_ends_them() {
    in_browser("operator", |world, browser| {
        let mut client = Client::greeted(world, "203.0.113.48")?;
        let _other = Client::greeted(world, "203.0.113.49")?;
        browser.open("/client?address=203.0.113.48")?;
        browser.wait("#sessions", "client.example")?;
        ensure!(!browser.text("#sessions")?.contains("203.0.113.49"), "a session of somebody else");
        browser.shots("client-sessions")?;
        browser.check("the page of a client with a session")?;
        browser.click("#sessions form button")?;
        browser.wait(".notice", "of 203.0.113.48 ends")?;
        ensure!(client.expect(421)?.text.contains("Session ended by the administrator"), "not told");
        browser.wait("h1", "203.0.113.48")?;
        browser.wait("#sessions", "no open session")
    });
}

#[test]
fn a_viewer_sees_sessions_and_no_button() {
    in_browser("viewer", |world, browser| {
        let _client = Client::greeted(world, "203.0.113.45")?;
        browser.open("/sessions")?;
        browser.wait("#open", "203.0.113.45")?;
        ensure!(browser.text("#open form")?.is_empty(), "a viewer is offered a change");
        Ok(())
    });
}

//! Settings, the replay as a form, and the day on the overview, in a browser.

use anyhow::ensure;
use filter_tests::agent::ask;
use filter_tests::browser::in_browser;
use filter_tests::client::Client;

#[test]
fn another_number_is_tried_before_it_is_changed() {
    in_browser("viewer", |world, browser| {
        browser.click("nav.main a[href='/settings']")?;
        browser.wait("#weights", "20 of these = block")?;
        browser.wait("#weights", "only logged")?;
        browser.wait("#limits", "every service without its own")?;
        browser.wait("#settings", "gatepost.toml:1")?;
        browser.shots("settings")?;
        browser.check("the settings page")?;
        browser.click("#replay button")?;
        browser.wait("#outcome", "Nothing to replay")?;

        let mut client = Client::greeted(world, "203.0.113.51")?;
        client.ask("MAIL FROM:<sender@client.example>", 250)?;
        for number in 1..=5 {
            client.send(&format!("RCPT TO:<user{number}@elsewhere.example>\r\n"))?;
            ensure!(client.read()?.code >= 500, "it relays");
        }
        browser.open("/")?;
        browser.wait("#nearest", "203.0.113.51")?;
        browser.wait("#day", "relay-denied")?;
        browser.shots("overview-day")?;
        browser.check("the overview of a busy day")?;

        browser.open("/settings")?;
        browser.fill("#client_error_block_threshold", "300")?;
        browser.click("#replay button")?;
        browser.wait("#outcome", "client_error_block_threshold 300 instead of 1000")?;
        browser.wait("#outcome", "203.0.113.51")?;
        browser.wait("#outcome", "newly")?;
        browser.shots("replay")?;
        browser.check("a replay")?;
        browser.click("#replay summary")?;
        browser.fill("#relay_denied_multiplier", "0")?;
        browser.click("#replay button")?;
        browser.wait("#outcome", "Nobody would be blocked")?;
        browser.fill("#client_error_block_threshold", "lots")?;
        browser.click("#replay button")?;
        browser.wait(".notice.fault", "`lots` is not a number from 1")?;
        let list = ask(world, &["block", "list"])?;
        ensure!(list.as_array().is_some_and(Vec::is_empty), "a replay changes nothing: {list}");
        Ok(())
    });
}

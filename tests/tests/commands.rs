//! What the pages show and do, on the command line.

use anyhow::{Result, ensure};
use filter_tests::agent::{Agent, ask, cli};
use filter_tests::client::Client;
use filter_tests::in_world;

#[test]
fn what_the_pages_show_and_do_the_command_line_shows_and_does() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        let says = |arguments: &[&str], words: &[&str]| -> Result<String> {
            let output = cli(world, arguments)?;
            let said = String::from_utf8([output.stdout, output.stderr].concat())?;
            for word in words {
                ensure!(said.contains(word), "`{word}` is missing in {arguments:?}: {said}");
            }
            Ok(said)
        };
        let from = "203.0.113.51";
        let mut client = Client::greeted(world, from)?;
        client.ask("MAIL FROM:<sender@client.example>", 250)?;
        client.ask("RCPT TO:<user@elsewhere.example>", 554)?;
        says(&["sessions", "list", "--search", "CLIENT.example"], &[from])?;
        says(&["sessions", "list", "--search", "nobody at all"], &["no open session matches"])?;
        says(&["statistics"], &["relay-denied", "1 clients have a score; 1000 blocks", from])?;
        says(&["stats", "--json"], &["\"nearest\""])?;
        says(&["events", "--csv"], &["id,time,network,event", "\"relay-denied\",\"100\",\"100\""])?;
        says(&["policy"], &["a score of 1000 within 1h", "relay-denied", "all others"])?;
        says(&["about"], &["described at /api/v1/openapi.json", "follow"])?;
        says(&["config", "show", "--running"], &["[smtp]", "gatepost.toml:"])?;
        says(&["openapi"], &["\"openapi\": \"3.1.0\""])?;

        says(&["block", "test", from], &["is not refused: no block covers it"])?;
        says(&["block", "add", "203.0.113.48/30", "--comment", "a test"], &["is blocked for 30m"])?;
        says(&["block", "test", from], &["is refused; blocks that cover it: 203.0.113.48/30"])?;
        let changed = says(
            &["block", "change", "203.0.113.48/30", "--minutes", "600", "--comment", "another"],
            &["until", "another", "undo: ", "--comment 'a test'"],
        )?;
        let undo = changed.lines().find_map(|line| line.strip_prefix("undo: gatepost ")).unwrap_or_default();
        let list = ask(world, &["block", "list", "--search", "ANOTHER"])?;
        ensure!(list[0]["network"] == "203.0.113.48/30" && list[0]["packets"] == 0, "{list}");
        ensure!(ask(world, &["block", "list", "--search", "a test"])?.as_array().is_some_and(Vec::is_empty));
        ensure!(undo.contains("block add 203.0.113.48/30 --until "), "{undo}");
        says(&["block", "change", "203.0.113.99", "--minutes", "5"], &["203.0.113.99"])?;
        ensure!(
            cli(world, &["block", "change", "203.0.113.48/30"])?.status.code() == Some(2),
            "changes what?"
        );
        says(&["never", "add", "203.0.113.51"], &["is never blocked"])?;
        says(&["never", "change", "203.0.113.51", "--comment", "ours"], &["for good: ours"])?;
        says(
            &["never", "test", from],
            &["is not refused", "never-block entries that cover it: 203.0.113.51"],
        )?;
        says(&["never", "list", "--search", "OURS"], &["203.0.113.51"])?;
        says(
            &["audit"],
            &[
                "changed an entry: blocked 203.0.113.48/30 for 10h: another",
                "never blocks 203.0.113.51 for good: ours",
                "control socket",
            ],
        )?;
        Ok(())
    });
}

//! The login component and the reload of the policy, with real logins at a real Postfix.

use std::time::Duration;

use anyhow::{Result, ensure};
use filter_tests::agent::{Agent, ask, cli, config_of, verdict};
use filter_tests::client::Client;
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::world::World;

/// "\0alice@example.test\0" and a guess, in base64.
const GUESSES: [&str; 10] = [
    "AGFsaWNlQGV4YW1wbGUudGVzdABhMA==",
    "AGFsaWNlQGV4YW1wbGUudGVzdABhMQ==",
    "AGFsaWNlQGV4YW1wbGUudGVzdABhMg==",
    "AGFsaWNlQGV4YW1wbGUudGVzdABhMw==",
    "AGFsaWNlQGV4YW1wbGUudGVzdABhNA==",
    "AGFsaWNlQGV4YW1wbGUudGVzdABhNQ==",
    "AGFsaWNlQGV4YW1wbGUudGVzdABhNg==",
    "AGFsaWNlQGV4YW1wbGUudGVzdABhNw==",
    "AGFsaWNlQGV4YW1wbGUudGVzdABhOA==",
    "AGFsaWNlQGV4YW1wbGUudGVzdABhOQ==",
];

fn guess(client: &mut Client, guess: &str) -> Result<()> {
    client.ask(&format!("AUTH PLAIN {guess}"), 535).map(drop)
}

fn is_blocked(world: &World, address: &str) -> Result<bool> {
    Ok(ask(world, &["why", address])?["refused_by"].is_string())
}

#[test]
fn ten_wrong_logins_block_and_the_same_wrong_password_counts_once() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        // A telephone with an old password: nineteen times the same, 950 points and one failed login.
        let mut phone = Client::greeted(world, "203.0.113.22")?;
        for _ in 0..19 {
            guess(&mut phone, GUESSES[0])?;
        }
        let why = ask(world, &["why", "203.0.113.22"])?;
        ensure!(why["failed_logins"] == 1 && why["score"] == 950 && why["refused_by"].is_null(), "{why}");
        phone.quit()?;

        let mut guesser = Client::greeted(world, "203.0.113.23")?;
        for attempt in &GUESSES[..9] {
            guess(&mut guesser, attempt)?;
        }
        ensure!(!is_blocked(world, "203.0.113.23")?, "nine do not block");
        guesser.send(&format!("AUTH PLAIN {}\r\n", GUESSES[9]))?;
        let mut last = guesser.read()?;
        if last.code == 535 {
            last = guesser.read()?;
        }
        let said = "421 4.7.0 mx.example.test Server access temporarily blocked! Please try again later";
        ensure!(last.text == said, "heard {last:?}");
        wait_until("the block", Duration::from_secs(5), || is_blocked(world, "203.0.113.23"))?;
        let list = ask(world, &["block", "list"])?;
        ensure!(list[0]["origin"] == "login", "{list}");
        ensure!(list[0]["reason"] == "10 failed logins reached the threshold 10", "{list}");
        ensure!(verdict(world, "203.0.113.23")?.0 == "drop", "the kernel does not know of it");
        let told = cli(world, &["why", "203.0.113.23"])?;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        ensure!(told.matches("AUTH PLAIN as alice@example.test").count() == 10, "{told}");
        Ok(())
    });
}

#[test]
fn a_reload_keeps_scores_and_sessions_and_a_bad_file_changes_nothing() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        let mut client = Client::greeted(world, "203.0.113.24")?;
        client.ask("MAIL FROM:<sender@client.example>", 250)?;
        for _ in 0..5 {
            client.ask("RCPT TO:<someone@elsewhere.test>", 554)?;
        }
        let good = std::fs::read_to_string(config_of(world))?;
        std::fs::write(config_of(world), format!("{good}\n[ips]\nclient_error_block_threshold = 0\n"))?;
        // The command line reads the same file for the way to the agent, so it is asked from beside it.
        let socket = world.scratch().join("state/control.sock");
        let curl = |route: &str| -> Result<String> {
            let mut command = std::process::Command::new("curl");
            let url = format!("http://gatepost/api/v1/{route}");
            command.args(["--silent", "--request", "POST", "--header", "content-type: application/json"]);
            let output = command.args(["--data", "null", "--unix-socket"]).arg(&socket).arg(url).output()?;
            Ok(String::from_utf8(output.stdout)?)
        };
        let refused = curl("reload")?;
        ensure!(
            refused.contains("client_error_block_threshold") && refused.contains("stays in force"),
            "{refused}"
        );
        std::fs::write(config_of(world), format!("{good}\n[ips]\nclient_error_block_threshold = 600\n"))?;
        let waiting = ask(world, &["reload"])?;
        ensure!(waiting.as_array().is_some_and(Vec::is_empty), "{waiting}");
        let why = ask(world, &["why", "203.0.113.24"])?;
        ensure!(why["score"] == 500 && why["threshold"] == 600 && why["refused_by"].is_null(), "{why}");
        client.send("RCPT TO:<someone@elsewhere.test>\r\n")?;
        wait_until("the block", Duration::from_secs(5), || is_blocked(world, "203.0.113.24"))?;
        std::fs::write(config_of(world), good.replace("[smtp]", "[smtp]\nclient_timeout = \"1m\""))?;
        let waiting = ask(world, &["reload"])?;
        ensure!(waiting[0] == "[smtp]", "{waiting}");
        Ok(())
    });
}

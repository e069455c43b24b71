//! The log reader: everything that happens to a log. What is in it is for `rules.rs`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use filter_tests::agent::{Agent, ask, verdict};
use filter_tests::client::Client;
use filter_tests::in_world;
use filter_tests::journald::Journald;
use filter_tests::process::wait_until;
use filter_tests::world::World;

/// How long the reader may take; it looks four times a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// A line of Dovecot's about a failed login just now.
fn failed(address: &str, account: &str) -> Result<String> {
    let now = Command::new("date").arg("+%Y-%m-%dT%H:%M:%S%:z").output()?.stdout;
    let now = String::from_utf8(now)?;
    Ok(format!(
        "{} mx dovecot: imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): \
         user=<{account}>, method=PLAIN, rip={address}, lip=192.0.2.1, session=<{}>\n",
        now.trim(),
        account.replace(|character: char| !character.is_ascii_alphanumeric(), "")
    ))
}

fn append(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

fn failed_logins(world: &World, address: &str) -> Result<u64> {
    ask(world, &["why", address])?["failed_logins"].as_u64().context("no count")
}

fn wait_for_logins(world: &World, address: &str, count: u64) -> Result<()> {
    let arrived = wait_until("the failed logins", PATIENCE, || Ok(failed_logins(world, address)? >= count));
    arrived.with_context(|| format!("{:?}", ask(world, &["status"]).map(|status| status["logs"].clone())))?;
    let now = failed_logins(world, address)?;
    ensure!(now == count, "{now} failed logins instead of {count}");
    Ok(())
}

#[test]
fn a_log_is_read_once_over_rotation_stop_and_crash() {
    in_world(|world, _| {
        let (client, log) = ("203.0.113.40", world.scratch().join("mail.log"));
        let write = |accounts: std::ops::Range<u8>| -> Result<()> {
            accounts
                .into_iter()
                .try_for_each(|number| append(&log, &failed(client, &format!("user{number}"))?))
        };
        // Years ago, which is before everything that counts.
        append(&log, &failed(client, "old")?.replacen("202", "201", 1))?;
        let agent = Agent::start(world, &format!("[logs]\nfiles = [{{ path = \"{}\" }}]\n", log.display()))?;
        write(0..3)?;
        // What a client chose as its account names somebody else, who has done nothing.
        append(&log, &failed(client, "x>, method=PLAIN, rip=203.0.113.41, lip=1.2.3.4, session=<a")?)?;
        wait_for_logins(world, client, 4)?;
        agent.stop()?;

        write(4..5)?;
        fs::rename(&log, log.with_extension("log.1"))?;
        write(5..6)?;
        let agent = Agent::start_again(world)?;
        wait_for_logins(world, client, 6)?;
        agent.kill()?;

        write(6..7)?;
        let _agent = Agent::start_again(world)?;
        wait_for_logins(world, client, 7)?;
        fs::write(&log, "")?;
        wait_until("the end of the old file", PATIENCE, || {
            Ok(ask(world, &["status"])?["logs"][0]["cuts"] == 1)
        })?;
        write(7..9)?;
        append(&log, &format!("{}\n", "x".repeat(100_000)))?;
        append(&log, "\u{0}\u{1}garbage \u{fffd}[[[\n")?;
        wait_for_logins(world, client, 9)?;
        ensure!(verdict(world, client)?.0 == "pass", "nine block");
        write(9..10)?;
        wait_until("the block", PATIENCE, || Ok(verdict(world, client)?.0 == "drop"))?;

        let why = ask(world, &["why", client])?;
        let events = why["events"].to_string();
        ensure!(events.contains("\"imap\"") && events.contains("user9"), "{events}");
        ensure!(failed_logins(world, "203.0.113.41")? == 0, "an address was injected");
        let status = ask(world, &["status"])?;
        ensure!(status["logs"][0]["unreadable"] == 1 && status["logs"][0]["behind"] == 0, "{status}");
        Ok(())
    });
}

#[test]
fn what_our_own_session_and_postfixs_log_tell_of_counts_once() {
    in_world(|world, postfix| {
        let files = format!("[logs]\nfiles = [{{ path = \"{}\" }}]\n", postfix.log_file().display());
        let _agent = Agent::start(world, &files)?;
        let mut client = Client::greeted(world, "203.0.113.42")?;
        for guess in ["AGFsaWNlQGV4YW1wbGUudGVzdABhMA==", "AGFsaWNlQGV4YW1wbGUudGVzdABhMQ=="] {
            client.ask(&format!("AUTH PLAIN {guess}"), 535)?;
        }
        client.quit()?;
        wait_until("both lines", PATIENCE, || Ok(ask(world, &["status"])?["logs"][0]["known"] == 2))?;
        ensure!(failed_logins(world, "203.0.113.42")? == 2, "{}", ask(world, &["why", "203.0.113.42"])?);
        Ok(())
    });
}

#[test]
fn the_journal_is_read_once_over_a_restart() {
    in_world(|world, _| {
        let (client, mut journal) = ("203.0.113.44", Journald::start(world, "dovecot")?);
        let mut write = |account: &str| -> Result<()> {
            let line = failed(client, account)?;
            let (_, message) = line.split_once("dovecot: ").context("no message")?;
            journal.log(message.trim_end())
        };
        write("one")?;
        let sections = format!(
            "[logs]\njournal_programs = [\"dovecot\"]\njournal_directory = \"{}\"\n",
            world.scratch().join("journal").display()
        );
        let agent = Agent::start(world, &sections)?;
        write("two")?;
        wait_for_logins(world, client, 2)?;
        agent.stop()?;
        write("three")?;
        let _agent = Agent::start_again(world)?;
        wait_for_logins(world, client, 3)
    });
}

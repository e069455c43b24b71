//! Open sessions as an administrator sees them, and ending them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use filter_tests::agent::{Agent, ask, cli};
use filter_tests::client::Client;
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::world::World;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(5);

fn open(world: &World, arguments: &[&str]) -> Result<Vec<Value>> {
    let page = ask(world, &[&["sessions", "list"], arguments].concat())?;
    page["sessions"].as_array().cloned().context("no sessions")
}

#[test]
fn open_sessions_say_who_is_connected_and_what_each_is_doing() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        ensure!(open(world, &[])?.is_empty(), "nobody is connected yet");
        let mut busy = Client::greeted(world, "203.0.113.40")?;
        busy.ask("RCPT TO:<postmaster@example.test>", 503)?;
        busy.ask("MAIL FROM:<a@client.example>", 250)?;
        let _quiet = Client::greeted(world, "203.0.113.41")?;
        wait_until("the sender to be seen", SOON, || {
            Ok(open(world, &["--state", "envelope"])?.len() == 1
                && open(world, &["--state", "ready"])?.len() == 1)
        })?;
        let sessions = open(world, &["--network", "203.0.113.40"])?;
        let [session] = sessions.as_slice() else { anyhow::bail!("{sessions:?}") };
        ensure!(session["client"] == "203.0.113.40" && session["local"] == false, "{session}");
        ensure!(session["service"] == "smtp" && session["helo"] == "client.example", "{session}");
        ensure!(session["awaits"] == "client" && session["messages"] == 0, "{session}");
        ensure!(session["score"] == 20, "the wrong order costs 20: {session}");
        let said =
            "EHLO client.example\r\nRCPT TO:<postmaster@example.test>\r\nMAIL FROM:<a@client.example>\r\n";
        ensure!(session["received"] == said.len(), "{session}");
        ensure!(session["mail_server"].as_str().is_some_and(|server| server.contains(':')), "{session}");
        let sorted = open(world, &["--sort", "received", "--descending"])?;
        ensure!(sorted[0]["id"] == session["id"] && sorted.len() == 2, "{sorted:?}");
        drop(busy);
        wait_until("it to be gone", SOON, || Ok(open(world, &[])?.len() == 1))
    });
}

#[test]
fn a_session_that_an_administrator_ends_hears_421_and_may_come_back() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        let mut clients = [40, 41, 41].map(|host| Client::greeted(world, &format!("203.0.113.{host}")));
        wait_until("three sessions", SOON, || Ok(open(world, &[])?.len() == 3))?;
        let id = open(world, &["--network", "203.0.113.40"])?[0]["id"].to_string();
        ask(world, &["sessions", "end", &id])?;
        let said = "421 4.3.2 mx.example.test Session ended by the administrator - try again later";
        let first = clients[0].as_mut().map_err(|error| anyhow::anyhow!("{error}"))?;
        ensure!(first.expect(421)?.text == said && first.is_closed()?, "it is still open");
        wait_until("two sessions", SOON, || Ok(open(world, &[])?.len() == 2))?;
        let again = cli(world, &["sessions", "end", &id])?;
        ensure!(again.status.code() == Some(1), "there is no such session any more");
        let told = String::from_utf8_lossy(&again.stderr).into_owned();
        ensure!(told.contains("may have ended by itself"), "{told}");
        let ended = ask(world, &["sessions", "end", "--network", "203.0.113.0/24"])?;
        ensure!(ended["ended"].as_array().is_some_and(|ended| ended.len() == 2), "{ended}");
        wait_until("no session", SOON, || Ok(open(world, &[])?.is_empty()))?;
        Client::greeted(world, "203.0.113.40")?.quit()
    });
}

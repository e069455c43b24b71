//! Session limits, as the help page words them.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, ensure};
use filter_tests::agent::{Agent, ask, cli};
use filter_tests::client::Client;
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::world::{MAIL, World};
use socket2::{Domain, Socket, Type};

const LIMITS: &str = "[sessions]\nmaximum_sessions_per_address = 3\nmaximum_incoming_sessions = 6\n\
                      sessions_to_reserve = 2\nreserve_sessions_for = \"203.0.113.60\"\n";

#[test]
fn one_session_too_many_from_one_address_hears_421_and_a_freed_slot_is_usable_at_once() {
    in_world(|world, _| {
        let _agent = Agent::start(world, LIMITS)?;
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(Client::greeted(world, "203.0.113.30")?);
        }
        let said = "421 4.3.2 mx.example.test Too many connections from your IP address - try later";
        for _ in 0..3 {
            let mut fourth = Client::connect(world, "203.0.113.30")?;
            let reply = fourth.read()?;
            ensure!(reply.text == said, "heard {reply:?}");
            ensure!(fourth.is_closed()?, "it was not closed");
        }
        let status = ask(world, &["status"])?;
        ensure!(
            status["sessions"]["overflowed"] == 3 && status["offences"] == 3,
            "each counts once: {status}"
        );
        for round in 0..10 {
            if let Some(client) = held.pop() {
                // However a session ends, its place is free: by QUIT, or by the client just going.
                if round % 2 == 0 { client.quit()? } else { drop(client) }
            }
            held.push(Client::greeted(world, "203.0.113.30")?);
        }
        ensure!(ask(world, &["status"])?["sessions"]["total"]["used"] == 3, "the books drift");
        Ok(())
    });
}

#[test]
fn a_flood_of_refused_connections_is_counted_to_the_last_one_and_does_not_fill_the_event_log() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "[sessions]\nmaximum_incoming_sessions = 0\n")?;
        for _ in 0..25 {
            Client::connect(world, "203.0.113.30")?.expect(421)?;
        }
        let offences = ask(world, &["status"])?["offences"].clone();
        ensure!(offences == 25, "{offences}");
        let metrics = String::from_utf8(cli(world, &["metrics"])?.stdout)?;
        ensure!(metrics.contains("gatepost_offences_total{kind=\"session-overflow\"} 25\n"), "{metrics}");
        let logged = cli(world, &["events", "--kind", "offence"])?;
        let lines = String::from_utf8(logged.stdout)?;
        // Ten by themselves, the next ten as one, and five that are still to come.
        ensure!(lines.matches("session-overflow").count() == 11, "{lines}");
        ensure!(lines.trim_end().ends_with("maximum incoming sessions (10 times)"), "{lines}");
        Ok(())
    });
}

#[test]
fn the_reserve_is_kept_for_whom_it_is() {
    in_world(|world, _| {
        let _agent = Agent::start(world, LIMITS)?;
        let mut held = Vec::new();
        for host in [31, 31, 32, 32] {
            held.push(Client::greeted(world, &format!("203.0.113.{host}"))?);
        }
        let mut stranger = Client::connect(world, "203.0.113.33")?;
        let reply = stranger.read()?;
        ensure!(
            reply.text == "421 4.3.2 mx.example.test Too many connections - try later",
            "heard {reply:?}"
        );
        for _ in 0..2 {
            held.push(Client::greeted(world, "203.0.113.60")?);
        }
        let status = ask(world, &["status"])?;
        ensure!(status["sessions"]["reserved"]["used"] == 2, "{status}");
        ensure!(status["sessions"]["incoming"]["used"] == 6, "{status}");
        Ok(())
    });
}

/// A mail server that never accepts: its queue is one connection long, and taken.
fn silent_mail_server(world: &World) -> Result<(Socket, TcpStream)> {
    world.mail.enter(|| {
        let address: std::net::SocketAddr = format!("{MAIL}:2525").parse()?;
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        listener.bind(&address.into())?;
        listener.listen(0)?;
        Ok((listener, TcpStream::connect(address)?))
    })
}

fn sessions(world: &World) -> Result<u64> {
    Ok(ask(world, &["status"])?["sessions"]["total"]["used"].as_u64().unwrap_or(u64::MAX))
}

#[test]
fn a_client_that_hangs_up_or_is_blocked_does_not_wait_for_a_silent_mail_server() {
    in_world(|world, _| {
        let _silent = silent_mail_server(world)?;
        let _agent = Agent::start_before(world, &format!("{MAIL}:2525"), "")?;
        let soon = Duration::from_secs(3);
        let gone = Client::connect(world, "203.0.113.34")?;
        let reset = Client::connect(world, "203.0.113.35")?;
        let mut blocked = Client::connect(world, "203.0.113.36")?;
        wait_until("three sessions", soon, || Ok(sessions(world)? == 3))?;
        drop(gone);
        wait_until("the place of the one that hung up", soon, || Ok(sessions(world)? == 2))?;
        reset.reset()?;
        wait_until("the place of the one that broke off", soon, || Ok(sessions(world)? == 1))?;
        ask(world, &["block", "add", "203.0.113.36"])?;
        wait_until("the place of the blocked one", soon, || Ok(sessions(world)? == 0))?;
        let reply = blocked.expect(421)?;
        ensure!(reply.text.contains("has been blocked temporarily"), "heard {reply:?}");
        ensure!(ask(world, &["status"])?["offences"] == 0, "none of this is an offence");
        Ok(())
    });
}

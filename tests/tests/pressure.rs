//! What happens when there is no room: a side that does not read, and no descriptors.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use filter_tests::agent::{Agent, ask};
use filter_tests::client::{Attempt, Client};
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::tls::setting;
use filter_tests::world::{GATEWAY_V4, MAIL};

/// The name of the gateway's certificate.
const NAME: &str = "mx.example.test";
/// What a client sends at once; whole lines.
const PIECE: usize = 74 * 1000;
/// A line of a long reply, and how many it has.
const LONG_LINE: &str = "250-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n";
const TEXT_LINES: usize = 600;
/// More than all the buffers of two kernels.
const MUCH: usize = 128 << 20;

/// A mail server that takes a message when it is told to, and not before; how many bytes that was.
fn reluctant(listener: &TcpListener, go: &Receiver<()>) -> Result<usize> {
    let (mut stream, _) = listener.accept()?;
    let mut lines = BufReader::new(stream.try_clone()?);
    stream.write_all(b"220 mail.example.test\r\n")?;
    for reply in ["250 mail.example.test\r\n", "250 Ok\r\n", "250 Ok\r\n", "354 Go on\r\n"] {
        lines.read_line(&mut String::new())?;
        stream.write_all(reply.as_bytes())?;
    }
    go.recv()?;
    let (mut count, mut line) = (0, Vec::new());
    while line != b".\r\n" {
        line.clear();
        count += lines.read_until(b'\n', &mut line)?;
        ensure!(!line.is_empty(), "the message was broken off");
    }
    stream.write_all(b"250 Ok\r\n")?;
    lines.read_to_end(&mut Vec::new())?;
    Ok(count)
}

#[test]
fn a_mail_server_that_does_not_read_stops_the_reading_of_a_client_inside_tls() {
    in_world(|world, postfix| {
        let certificates = setting(&postfix.authority().sign("gateway", &[NAME])?);
        let service = format!("listen = [\"{GATEWAY_V4}:465\"]\ntls = \"implicit\"\n{certificates}");
        let _agent = Agent::start_before(
            world,
            &format!("{MAIL}:2600"),
            &format!("client_address = \"none\"\n[services.submissions]\n{service}"),
        )?;
        let listener = world.mail.enter(|| Ok(TcpListener::bind((MAIL, 2600))?))?;
        let (tell, told) = channel();
        std::thread::scope(|scope| {
            let server = scope.spawn(move || reluctant(&listener, &told));
            let client = Client::connect_on(world, "203.0.113.49", 465)?;
            let mut client = client.secure(NAME, &postfix.authority().file())?;
            client.expect(220)?;
            client.ask("EHLO client.example", 250)?;
            client.ask("MAIL FROM:<a@client.example>", 250)?;
            client.ask("RCPT TO:<alice@example.test>", 250)?;
            client.ask("DATA", 354)?;
            let mut wire = client.into_wire()?;
            wire.set_patience(Duration::from_secs(3))?;
            let piece = ["x".repeat(72), "\r\n".to_owned()].concat().repeat(PIECE / 74);
            let mut sent = 0;
            let stopped = loop {
                // Behind an error nothing of what was to be written has been taken.
                match wire.write(&piece.as_bytes()[sent % PIECE..]) {
                    Ok(count) => sent += count,
                    Err(error) => break error,
                }
                ensure!(sent < MUCH, "{sent} bytes were taken that nobody has read");
            };
            tell.send(())?;
            wire.set_patience(Duration::from_mins(1))?;
            let end = [&piece.as_bytes()[sent % PIECE..], b".\r\n"].concat();
            wire.write_all(&end).with_context(|| format!("stopped by {stopped} after {sent}"))?;
            let mut heard = [0; 6];
            wire.read_exact(&mut heard)?;
            ensure!(&heard == b"250 Ok", "{heard:?}");
            drop(wire);
            let taken = server.join().unwrap_or_else(|_| bail!("the mail server failed"))?;
            ensure!(taken == sent + end.len(), "{taken} of {}", sent + end.len());
            Ok(())
        })
    });
}

/// A mail server that answers each NOOP with as much as a reply may be, for as long as that is taken and more is asked for, and says how
/// many bytes that was before nothing more was.
fn talkative(listener: &TcpListener, tell: &Sender<usize>) -> Result<()> {
    let (mut stream, _) = listener.accept()?;
    let mut lines = BufReader::new(stream.try_clone()?);
    stream.write_all(b"220 mail.example.test\r\n")?;
    lines.read_line(&mut String::new())?;
    stream.write_all(b"250-mail.example.test\r\n250 PIPELINING\r\n")?;
    let reply = [LONG_LINE.repeat(TEXT_LINES), "250 Ok\r\n".to_owned()].concat();
    let patience = Some(Duration::from_secs(3));
    stream.set_write_timeout(patience)?;
    stream.set_read_timeout(patience)?;
    let (mut said, mut at) = (0, reply.len());
    let mut line = String::new();
    for _ in 0..MUCH / reply.len() {
        if lines.read_line(&mut line).is_err() {
            break;
        }
        line.clear();
        at = 0;
        while let Ok(count @ 1..) = stream.write(&reply.as_bytes()[at..]) {
            (at, said) = (at + count, said + count);
        }
        if at < reply.len() {
            break;
        }
    }
    tell.send(said)?;
    stream.set_write_timeout(None)?;
    stream.set_read_timeout(None)?;
    stream.write_all(&reply.as_bytes()[at..])?;
    // What is asked from here on is answered in one line.
    while lines.read_line(&mut line)? > 0 {
        stream.write_all(b"250 Ok\r\n")?;
        line.clear();
    }
    Ok(())
}

#[test]
fn a_client_inside_tls_that_does_not_read_stops_the_reading_of_the_mail_server() {
    in_world(|world, postfix| {
        let certificates = setting(&postfix.authority().sign("gateway", &[NAME])?);
        let service = format!("listen = [\"{GATEWAY_V4}:465\"]\ntls = \"implicit\"\n{certificates}");
        let _agent = Agent::start_before(
            world,
            &format!("{MAIL}:2600"),
            &format!("client_address = \"none\"\nmaximum_commands = 0\n[services.submissions]\n{service}"),
        )?;
        let listener = world.mail.enter(|| Ok(TcpListener::bind((MAIL, 2600))?))?;
        let (tell, told) = channel();
        std::thread::scope(|scope| {
            let server = scope.spawn(move || talkative(&listener, &tell));
            let client = Client::connect_on(world, "203.0.113.49", 465)?;
            let mut client = client.secure(NAME, &postfix.authority().file())?;
            client.expect(220)?;
            client.ask("EHLO client.example", 250)?;
            let mut wire = client.into_wire()?;
            // More than anybody answers at once, and nothing of it is heard.
            wire.set_patience(Duration::from_mins(1))?;
            let asked = 2 * MUCH / (LONG_LINE.len() * TEXT_LINES);
            let asking = ["NOOP\r\n".repeat(asked)].concat();
            wire.write_all(asking.as_bytes())?;
            let said = told.recv_timeout(Duration::from_mins(1))?;
            ensure!(said > 0 && said < MUCH / 2, "{said} bytes were taken that nobody has read");
            // And nothing was lost of it.
            let (mut answers, mut tail) = (0, Vec::new());
            let mut heard = vec![0; 65_536];
            while answers < asked {
                let count = wire.read(&mut heard)?;
                ensure!(count > 0, "closed after {answers} answers");
                tail.extend_from_slice(&heard[..count]);
                let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
                answers +=
                    tail[..whole].split(|byte| *byte == b'\n').filter(|l| l.starts_with(b"250 ")).count();
                tail.drain(..whole);
            }
            ensure!(answers == asked && tail.is_empty(), "{answers} answers to {asked} commands");
            drop(wire);
            server.join().unwrap_or_else(|_| bail!("the mail server failed"))
        })
    });
}

/// A mail server that greets everybody and says no more.
fn greet_all(listener: TcpListener) {
    std::thread::spawn(move || {
        let mut open: Vec<TcpStream> = Vec::new();
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.write_all(b"220 mail.example.test\r\n");
            open.push(stream);
        }
    });
}

#[test]
fn without_descriptors_a_listener_backs_off_and_serves_again_when_there_are_some() {
    in_world(|world, _| {
        let sections = format!(
            "client_address = \"none\"\n[services.many]\nlisten = [\"{GATEWAY_V4}:2501\"]\nmail_servers = \"{MAIL}:2600\"\n\
             [sessions]\nmaximum_sessions = 2000\nmaximum_incoming_sessions = 2000\nmaximum_sessions_per_address = 0\n"
        );
        let listener = world.mail.enter(|| Ok(TcpListener::bind((MAIL, 2600))?))?;
        greet_all(listener);
        let agent = Agent::start_through(
            world,
            &sections,
            &["prlimit", "--nofile=160:160", "env", "RUST_LOG=debug"],
        )?;
        let from = "203.0.113.50";
        // Each session takes two descriptors; the kernel takes connections for a program that cannot accept them.
        let mut clients = Vec::new();
        for _ in 0..200 {
            match Client::attempt_on(world, from, 2501)? {
                Attempt::Connected(client) => clients.push(client),
                other => bail!("{other:?}"),
            }
        }
        let complaint = "cannot accept connections for now; raise the limit of open files";
        wait_until("the shortage", Duration::from_secs(20), || Ok(agent.log().contains(complaint)))?;
        let failed = || agent.log().matches("a connection could not be accepted").count();
        let before = failed();
        std::thread::sleep(Duration::from_secs(2));
        let tries = failed() - before;
        ensure!((1..200).contains(&tries), "{tries} tries while there was nothing to be had");
        ensure!(agent.log().matches(complaint).count() == 1, "said once: {}", agent.log());

        drop(clients);
        wait_until("the sessions' end", Duration::from_secs(30), || {
            Ok(ask(world, &["sessions", "list"])?["sessions"].as_array().is_some_and(Vec::is_empty))
        })?;
        // Who waited to be accepted and has gone takes descriptors once more, for a moment.
        wait_until("the next greeting", Duration::from_secs(30), || {
            Ok(Client::connect_on(world, from, 2501)?.expect(220).is_ok())
        })
    });
}

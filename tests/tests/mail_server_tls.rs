//! TLS towards mail servers: fail-over, what is believed, and what becomes of a session when it fails.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Result, ensure};
use filter_tests::agent::{Agent, ask};
use filter_tests::client::Client;
use filter_tests::in_world;
use filter_tests::postfix::Postfix;
use filter_tests::process::wait_until;
use filter_tests::world::{GATEWAY_V4, MAIL, World};

/// A service on port 2501 whose mail servers are the Postfix's, with these settings.
fn start<'world>(world: &'world World, postfix: &Postfix, settings: &str) -> Result<Agent<'world>> {
    Agent::start(
        world,
        &format!(
            "[services.one]\nlisten = [\"{GATEWAY_V4}:2501\"]\ntls = \"none\"\nmail_server_ca = \"{ca}\"\n{settings}",
            ca = postfix.authority().file().display()
        ),
    )
}

/// Delivers a message by that service; how it arrived.
fn deliver(world: &World, postfix: &Postfix, subject: &str) -> Result<String> {
    let mut client = Client::connect_on(world, "203.0.113.47", 2501)?;
    client.expect(220)?;
    client.ask("EHLO client.example", 250)?;
    client.deliver("alice@example.test", subject)?;
    client.quit()?;
    let mut found = None;
    wait_until("delivery", Duration::from_secs(10), || {
        found = postfix.messages("alice")?.into_iter().find(|message| message.contains(subject));
        Ok(found.is_some())
    })?;
    Ok(found.unwrap_or_default())
}

#[test]
fn a_mail_server_without_the_tls_that_is_required_is_passed_over() {
    in_world(|world, postfix| {
        let agent = start(
            world,
            postfix,
            &format!(
                "mail_servers = [\"{MAIL}:25\", \"{MAIL}:28\"]\nmail_server_tls = \"starttls\"\nmail_server_name = \"mail.example.test\"\n"
            ),
        )?;
        let message = deliver(world, postfix, "by the second")?;
        ensure!(message.contains("using TLSv1.3") && message.contains("[203.0.113.47]"), "{message}");
        let up: Vec<_> = ask(world, &["status"])?["services"][1]["mail_servers"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|server| server["up"] == true)
            .collect();
        ensure!(up == [false, true], "{up:?}");
        ensure!(agent.log().contains("does not offer STARTTLS"), "{}", agent.log());
        Ok(())
    });
}

#[test]
fn whoever_answers_is_believed_where_that_is_said() {
    in_world(|world, postfix| {
        let settings = format!(
            "mail_servers = \"{MAIL}:29\"\nmail_server_tls = \"implicit\"\nmail_server_name = \"evil.test\"\n"
        );
        let agent = start(world, postfix, &settings)?;
        let mut client = Client::connect_on(world, "203.0.113.47", 2501)?;
        client.expect(421)?;
        agent.stop()?;
        let _agent = start(world, postfix, &format!("{settings}mail_server_verify = false\n"))?;
        let message = deliver(world, postfix, "unverified")?;
        ensure!(message.contains("using TLSv1.3"), "{message}");
        Ok(())
    });
}

/// A mail server that offers TLS and cannot do it, and says so or not; then one that is asked for none. What the second heard.
fn without_tls(listener: &TcpListener, answer: &str) -> Result<String> {
    let (mut first, _) = listener.accept()?;
    let mut lines = BufReader::new(first.try_clone()?);
    first.write_all(b"220 mail.example.test\r\n")?;
    lines.read_line(&mut String::new())?;
    first.write_all(b"250-mail.example.test\r\n250 STARTTLS\r\n")?;
    lines.read_line(&mut String::new())?;
    first.write_all(answer.as_bytes())?;
    if answer.starts_with("220") {
        // A fatal alert, `handshake_failure`, instead of a hello (RFC 8446 section 6.2).
        lines.fill_buf()?;
        first.write_all(&[21, 3, 3, 0, 2, 2, 40])?;
    }
    lines.read_to_end(&mut Vec::new())?;
    let (mut second, _) = listener.accept()?;
    let mut lines = BufReader::new(second.try_clone()?);
    second.write_all(b"220 in.the.clear.test\r\n")?;
    let mut heard = String::new();
    lines.read_line(&mut heard)?;
    second.write_all(b"250-mail.example.test\r\n250 STARTTLS\r\n")?;
    lines.read_line(&mut heard)?;
    second.write_all(b"221 Bye\r\n")?;
    Ok(heard)
}

#[test]
fn tls_that_fails_where_it_is_only_an_opportunity_is_done_without() {
    // A handshake that fails, and a STARTTLS that is refused.
    for answer in ["220 go ahead\r\n", "454 4.7.0 TLS not available\r\n"] {
        in_world(|world, postfix| {
            let agent = start(
                world,
                postfix,
                &format!(
                    "mail_servers = \"{MAIL}:2600\"\nmail_server_tls = \"opportunistic\"\nclient_address = \"none\"\n"
                ),
            )?;
            let listener = world.mail.enter(|| Ok(TcpListener::bind((MAIL, 2600))?))?;
            let server = std::thread::scope(|scope| {
                let server = scope.spawn(|| without_tls(&listener, answer));
                let mut client = Client::connect_on(world, "203.0.113.48", 2501)?;
                ensure!(client.expect(220)?.text == "220 in.the.clear.test");
                client.ask("EHLO client.example", 250)?;
                client.quit()?;
                server.join().unwrap_or_else(|_| anyhow::bail!("the mail server failed"))
            })?;
            ensure!(server == "EHLO client.example\r\nQUIT\r\n", "{server}");
            ensure!(agent.log().contains("spoken to in the clear"), "{}", agent.log());
            Ok(())
        });
    }
}

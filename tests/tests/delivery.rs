//! Mail through the edge: unchanged, and with the client's own address.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use filter_tests::agent::{Agent, ask};
use filter_tests::client::Client;
use filter_tests::in_world;
use filter_tests::postfix::Postfix;
use filter_tests::process::wait_until;

fn the_message(postfix: &Postfix, recipient: &str) -> Result<String> {
    wait_until("delivery", Duration::from_secs(10), || Ok(!postfix.messages(recipient)?.is_empty()))?;
    postfix.messages(recipient)?.pop().context("no message")
}

#[test]
fn a_message_arrives_with_the_clients_own_address_in_its_received_header() {
    in_world(|world, postfix| {
        let _agent = Agent::start(world, "")?;
        for (from, recipient, shown) in [
            ("203.0.113.20", "alice", "[203.0.113.20]"),
            ("2001:db8:a:3::1", "bob", "[IPv6:2001:db8:a:3::1]"),
        ] {
            let mut client = Client::greeted(world, from)?;
            client.deliver(&format!("{recipient}@example.test"), "hello")?;
            client.quit()?;
            let message = the_message(postfix, recipient)?;
            ensure!(message.contains(shown), "{shown} is not in {message}");
            ensure!(message.contains("Subject: hello\n\nHello.\n"), "{message}");
        }
        let status = ask(world, &["status"])?;
        ensure!(status["messages"] == 2, "{status}");
        Ok(())
    });
}

#[test]
fn a_client_that_half_closes_behind_its_message_is_served_to_the_end() {
    in_world(|world, postfix| {
        let _agent = Agent::start(world, "")?;
        let mut client = Client::greeted(world, "203.0.113.25")?;
        client.send("MAIL FROM:<sender@client.example>\r\nRCPT TO:<carol@example.test>\r\nDATA\r\n")?;
        client.send("Subject: all at once\r\n\r\nHello.\r\n.\r\nQUIT\r\n")?;
        client.half_close()?;
        for code in [250, 250, 354, 250, 221] {
            client.expect(code)?;
        }
        ensure!(client.is_closed()?, "the session stays open");
        let message = the_message(postfix, "carol")?;
        ensure!(message.contains("all at once"), "{message}");
        Ok(())
    });
}

#[test]
fn a_message_in_chunks_arrives_and_is_counted() {
    in_world(|world, postfix| {
        let _agent = Agent::start(world, "")?;
        let mut client = Client::greeted(world, "203.0.113.27")?;
        client.ask("MAIL FROM:<sender@client.example>", 250)?;
        client.ask("RCPT TO:<nobody@example.test>", 550)?;
        client.send("BDAT 6\r\nRSET\r\nBDAT 6 LAST\r\nRSET\r\n")?;
        ensure!(client.read()?.code >= 500 && client.read()?.code >= 500, "a chunk for nobody was taken");
        client.ask("RSET", 250)?;
        client.ask("MAIL FROM:<sender@client.example>", 250)?;
        client.ask("RCPT TO:<bob@example.test>", 250)?;
        client.send("BDAT 19\r\nSubject: chunks\r\n\r\nBDAT 8 LAST\r\nHello.\r\n")?;
        client.expect(250)?;
        client.expect(250)?;
        client.quit()?;
        ensure!(the_message(postfix, "bob")?.contains("Subject: chunks\n\nHello.\n"), "another message");
        let status = ask(world, &["status"])?;
        ensure!(status["messages"] == 1 && status["offences"] == 1, "{status}");
        Ok(())
    });
}

#[test]
fn a_line_that_begins_with_no_verb_is_not_shown_to_the_mail_server() {
    in_world(|world, postfix| {
        let _agent = Agent::start(world, "")?;
        let mut client = Client::greeted(world, "203.0.113.26")?;
        client.ask(" XCLIENT ADDR=127.0.0.1", 500)?;
        client.ask(" DATA", 500)?;
        client.ask("\x0cRCPT TO:<someone@elsewhere.test>", 500)?;
        client.ask("X-EXPS LOGIN", 500)?;
        client.deliver("alice@example.test", "still in step")?;
        client.quit()?;
        ensure!(the_message(postfix, "alice")?.contains("still in step"), "another message");
        ensure!(ask(world, &["status"])?["offences"] == 4, "each is an offence");
        Ok(())
    });
}

#[test]
fn a_login_that_is_right_is_no_offence_and_may_relay() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        let mut client = Client::greeted(world, "203.0.113.21")?;
        // "\0alice@example.test\0secret"
        client.ask("AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdABzZWNyZXQ=", 235)?;
        client.ask("MAIL FROM:<alice@example.test>", 250)?;
        client.ask("RCPT TO:<someone@elsewhere.test>", 250)?;
        client.quit()?;
        let status = ask(world, &["status"])?;
        ensure!(status["offences"] == 0, "{status}");
        Ok(())
    });
}

#[test]
fn privileges_of_the_gateway_are_not_the_clients() {
    in_world(|world, postfix| {
        let _agent = Agent::start(world, "")?;
        let mut client = Client::connect(world, "203.0.113.22")?;
        client.expect(220)?;
        let ehlo = client.ask("EHLO client.example", 250)?;
        ensure!(ehlo.text.contains("PIPELINING") && !ehlo.text.contains("XCLIENT"), "{ehlo:?}");
        client.ask("XCLIENT ADDR=127.0.0.1", 502)?;
        client.quit()?;
        ensure!(!postfix.log().contains("XCLIENT"), "Postfix was shown the command");
        Ok(())
    });
}

#[test]
fn a_mail_server_that_is_not_there_is_a_421_and_one_warning() {
    in_world(|world, _| {
        let agent = Agent::start_before(world, "198.51.100.2:2525", "")?;
        for _ in 0..5 {
            let mut client = Client::connect(world, "203.0.113.23")?;
            let reply = client.expect(421)?;
            ensure!(reply.text.starts_with("421 4.3.0 mx.example.test "), "{reply:?}");
            ensure!(client.is_closed()?, "the session stays open");
        }
        let warnings = agent.log().matches("the mail server does not answer").count();
        ensure!(warnings == 1, "{warnings} warnings");
        let status = ask(world, &["status"])?;
        ensure!(
            status["services"][0]["mail_servers"][0]["up"] == false && status["offences"] == 0,
            "{status}"
        );
        agent.stop()
    });
}

#[test]
fn a_mail_server_that_knows_no_proxy_protocol_is_named_in_the_log() {
    in_world(|world, _| {
        let agent = Agent::start_before(world, "198.51.100.2:26", "")?;
        let mut client = Client::connect(world, "203.0.113.24")?;
        let mut reply = client.read()?;
        if reply.code == 220 {
            reply = client.read()?;
        }
        ensure!(reply.code == 421, "{reply:?}");
        ensure!(agent.log().contains("does it expect the PROXY protocol?"), "{}", agent.log());
        Ok(())
    });
}

//! Mail servers behind a service: which one is asked, and how it learns the client's address.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use filter_tests::agent::{Agent, ask};
use filter_tests::client::Client;
use filter_tests::in_world;
use filter_tests::postfix::Postfix;
use filter_tests::process::wait_until;
use filter_tests::world::{GATEWAY_V4, GATEWAY_V6, MAIL, World};
use serde_json::Value;

fn start<'world>(world: &'world World, service: &str) -> Result<Agent<'world>> {
    let sections =
        format!("[services.second]\nlisten = [\"{GATEWAY_V4}:587\", \"[{GATEWAY_V6}]:587\"]\n{service}");
    Agent::start(world, &sections)
}

/// A client of that service that has said EHLO.
fn greeted(world: &World, from: &str) -> Result<Client> {
    let mut client = Client::connect_on(world, from, 587)?;
    client.expect(220)?;
    client.ask("EHLO client.example", 250)?;
    Ok(client)
}

fn health(world: &World) -> Result<Vec<Value>> {
    let status = ask(world, &["status"])?;
    let servers = status["services"][1]["mail_servers"].as_array().context("no mail servers")?;
    Ok(servers.iter().map(|server| server["up"].clone()).collect())
}

fn arrives(postfix: &Postfix, recipient: &str, words: &str) -> Result<()> {
    wait_until("delivery", Duration::from_secs(10), || {
        Ok(postfix.messages(recipient)?.iter().any(|message| message.contains(words)))
    })
}

/// A mail server that answers each connection with one line, until it is told to stop.
fn one_liner(world: &World, port: u16, line: &'static str) -> Result<Arc<AtomicBool>> {
    let listener = world.mail.enter(|| Ok(TcpListener::bind((MAIL, port))?))?;
    listener.set_nonblocking(true)?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            if let Ok((mut stream, _)) = listener.accept() {
                let _ = stream.write_all(line.as_bytes());
                // The other side's bytes are taken, so that nothing is reset.
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = BufReader::new(stream).read_line(&mut String::new());
            } else {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    });
    Ok(stop)
}

#[test]
fn the_second_mail_server_serves_while_the_first_is_down_and_no_longer() {
    in_world(|world, postfix| {
        // The first is not there, the second takes no mail, the third is well.
        let busy = one_liner(world, 2601, "421 4.3.2 busy.example not now\r\n")?;
        let servers = format!("mail_servers = [\"{MAIL}:2600\", \"{MAIL}:2601\", \"{MAIL}:25\"]\n");
        let agent = start(world, &servers)?;
        let mut client = greeted(world, "203.0.113.30")?;
        client.deliver("alice@example.test", "by the third")?;
        client.quit()?;
        arrives(postfix, "alice", "by the third")?;
        ensure!(health(world)? == [Value::from(false), false.into(), true.into()], "{:?}", health(world)?);
        greeted(world, "203.0.113.30")?.quit()?;
        ensure!(agent.log().matches("the mail server does not answer").count() == 2, "{}", agent.log());
        busy.store(true, Ordering::Relaxed);
        // The first comes back, and is found without a client's help.
        let _well = one_liner(world, 2600, "220 first.example\r\n")?;
        wait_until("the first mail server's return", Duration::from_secs(20), || {
            Ok(health(world)?.first() == Some(&true.into()))
        })?;
        ensure!(agent.log().contains("the mail server answers again"), "{}", agent.log());
        let mut client = Client::connect_on(world, "203.0.113.30", 587)?;
        ensure!(client.expect(220)?.text.contains("first.example"), "the first is asked first again");
        Ok(())
    });
}

#[test]
fn a_refusal_of_the_last_mail_server_is_the_clients_to_hear() {
    in_world(|world, _| {
        let _busy = one_liner(world, 2601, "421 4.3.2 busy.example not now\r\n")?;
        let servers = format!("mail_servers = [\"{MAIL}:2600\", \"{MAIL}:2601\"]\n");
        let _agent = start(world, &servers)?;
        let mut client = Client::connect_on(world, "203.0.113.31", 587)?;
        ensure!(client.expect(421)?.text == "421 4.3.2 busy.example not now", "its own words");
        Ok(())
    });
}

#[test]
fn postfix_learns_the_clients_address_by_proxy_v1_and_by_xclient() {
    in_world(|world, postfix| {
        for (number, (how, port)) in [("proxy-v1", 25), ("xclient", 27)].into_iter().enumerate() {
            let service = format!("mail_servers = \"{MAIL}:{port}\"\nclient_address = \"{how}\"\n");
            let agent = start(world, &service)?;
            for (from, shown) in
                [("203.0.113.32", "[203.0.113.32]"), ("2001:db8:a:4::1", "[IPv6:2001:db8:a:4::1]")]
            {
                let mut client = Client::connect_on(world, from, 587)?;
                ensure!(client.expect(220)?.text.contains("mail.example.test"), "one greeting");
                let offer = client.ask("EHLO client.example", 250)?;
                ensure!(!offer.text.contains("XCLIENT"), "{offer:?}");
                client.deliver("bob@example.test", &format!("by {how} {number}"))?;
                client.ask("XCLIENT ADDR=127.0.0.1", 502)?;
                client.ask("MAIL FROM:<a@client.example>", 250)?;
                client.ask("RCPT TO:<someone@elsewhere.test>", 554)?;
                client.quit()?;
                wait_until("delivery", Duration::from_secs(10), || {
                    let wanted = [shown.to_owned(), "from client.example".to_owned(), format!("by {how}")];
                    let messages = postfix.messages("bob")?;
                    Ok(messages.iter().any(|text| wanted.iter().all(|part| text.contains(part))))
                })?;
            }
            agent.stop()?;
        }
        Ok(())
    });
}

#[test]
fn a_mail_server_that_does_not_trust_the_gateway_with_xclient_is_a_421_and_a_remedy() {
    in_world(|world, _| {
        let service = format!("mail_servers = \"{MAIL}:26\"\nclient_address = \"xclient\"\n");
        let agent = start(world, &service)?;
        let mut client = Client::connect_on(world, "203.0.113.33", 587)?;
        ensure!(client.expect(421)?.text.starts_with("421 4.3.0 "), "our own trouble is temporary");
        ensure!(agent.log().contains("smtpd_authorized_xclient_hosts"), "{}", agent.log());
        ensure!(ask(world, &["status"])?["offences"] == 0, "and nobody's offence");
        Ok(())
    });
}

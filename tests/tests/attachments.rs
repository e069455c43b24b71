//! Attachments: what is blocked does not reach the mail server's queue, and what is not arrives unchanged.

use std::time::Duration;

use anyhow::ensure;
use filter_tests::agent::{Agent, ask};
use filter_tests::client::Client;
use filter_tests::in_world;
use filter_tests::process::wait_until;

/// A message with an attachment of this name.
fn message(name: &str) -> String {
    format!(
        "Subject: with {name}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\n\
         Content-Type: application/octet-stream\r\nContent-Disposition: attachment;\r\n filename=\"{name}\"\r\n\r\nTVqQ\r\n--b1--\r\n"
    )
}

#[test]
fn a_blocked_attachment_is_refused_and_never_delivered() {
    in_world(|world, postfix| {
        let _agent = Agent::start(world, "")?;
        let from = "203.0.113.30";
        let mut client = Client::greeted(world, from)?;
        client.ask("MAIL FROM:<sender@client.example>", 250)?;
        client.ask("RCPT TO:<alice@example.test>", 250)?;
        client.ask("DATA", 354)?;
        let refusal = client.ask(&format!("{}.", message("=?utf-8?Q?invoice.pdf=2Eexe?=")), 550)?;
        ensure!(refusal.text.contains("5.7.1") && refusal.text.contains("invoice.pdf.exe"), "{refusal:?}");
        client.quit()?;

        let mut chunks = Client::greeted(world, from)?;
        let bytes = message("evil.scr");
        chunks.send(&format!(
            "MAIL FROM:<sender@client.example>\r\nRCPT TO:<alice@example.test>\r\nBDAT {} LAST\r\n{bytes}",
            bytes.len()
        ))?;
        for code in [250, 250, 550] {
            chunks.expect(code)?;
        }
        chunks.ask("MAIL FROM:<sender@client.example>", 421)?;
        ensure!(chunks.is_closed()?, "a refused client can only leave");

        let mut honest = Client::greeted(world, from)?;
        honest.ask("MAIL FROM:<sender@client.example>", 250)?;
        honest.ask("RCPT TO:<alice@example.test>", 250)?;
        honest.ask("DATA", 354)?;
        honest.ask(&format!("{}.", message("archive.tar.gz")), 250)?;
        honest.quit()?;
        wait_until("delivery", Duration::from_secs(10), || Ok(!postfix.messages("alice")?.is_empty()))?;
        let messages = postfix.messages("alice")?;
        ensure!(messages.len() == 1 && messages[0].contains("archive.tar.gz"), "{messages:?}");
        let log = ask(world, &["events", "--network", from])?;
        let blocked = log.to_string().matches("\"blocked-attachment\"").count();
        ensure!(blocked == 2, "{log}");
        Ok(())
    });
}

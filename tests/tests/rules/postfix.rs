//! Postfix: one that refuses little, and one that refuses what it can.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::thread;

use anyhow::{Result, ensure};
use filter_tests::client::Client;
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::strict::{
    BRIEF, DEAD, LIMITED, LISTED, LOGINS, MILTERS, POSTSCREEN, SMTPD, SPAM, Strict, VIRUS,
};
use filter_tests::world::{MAIL, World};

use crate::{INJECTED, PATIENCE, ensure_found, misbehave_thus, spoken};

/// What a client of one does that refuses little.
const LENIENT: [&str; 5] = [
    "postfix-non-smtp",
    "postfix-relay-denied",
    "postfix-sasl-failed",
    "postfix-too-big",
    "postfix-unknown-recipient",
];

/// What clients of one do that refuses what it can, and which of them; none where it is nobody's fault.
const STRICT: [(&str, Option<&str>); 22] = [
    ("postfix-auth-summary", Some("203.0.113.26")),
    ("postfix-dnsbl", Some(LISTED)),
    ("postfix-milter-reject", Some("203.0.113.31")),
    ("postfix-milter-spam", Some("203.0.113.29")),
    ("postfix-milter-virus", Some("203.0.113.30")),
    ("postfix-milter-trouble", None),
    ("postfix-pipelining", Some("203.0.113.25")),
    ("postfix-refused", Some("203.0.113.22")),
    ("postfix-sasl-trouble", None),
    ("postfix-spf", Some("203.0.113.21")),
    ("postfix-timeout", Some("203.0.113.24")),
    ("postfix-too-many-connections", Some("203.0.113.27")),
    ("postfix-too-many-connections", Some("203.0.113.28")),
    ("postfix-too-many-errors", Some("203.0.113.23")),
    ("postscreen-bare-newline", Some("203.0.113.36")),
    ("postscreen-dnsbl", Some(LISTED)),
    ("postscreen-early-talker", Some("203.0.113.34")),
    ("postscreen-early-talker", Some("2001:db8:a:1::1")),
    ("postscreen-non-smtp", Some("203.0.113.37")),
    ("postscreen-pipelining", Some("203.0.113.35")),
    ("postscreen-timeout", Some("203.0.113.38")),
    ("postscreen-too-many-connections", Some("203.0.113.39")),
];

/// The rules that have met real lines here.
pub(crate) fn shown() -> Vec<&'static str> {
    LENIENT.into_iter().chain(STRICT.map(|(rule, _)| rule)).collect()
}

#[test]
fn one_that_refuses_little() {
    in_world(|world, postfix| {
        let big = ["EHLO c", "MAIL FROM:<a@client.example> SIZE=99999999999", "QUIT"];
        misbehave_thus(world, 26, &[&["GET / HTTP/1.0", "QUIT"], &big])?;
        wait_until("Postfix's last line", PATIENCE, || {
            let log = postfix.log();
            Ok(log.split_once("552 5.3.4").is_some_and(|(_, rest)| rest.contains("disconnect from")))
        })?;
        // The summary has nothing to say that the line before it has not said.
        ensure_found(&postfix.log(), None, MAIL, &LENIENT).map(drop)
    });
}

/// What a client says to a port of the gateway, each when the one before it has been answered; until it is cut off.
fn say(world: &World, from: &str, port: u16, commands: &[&str]) -> Result<()> {
    let mut client = Client::connect_on(world, from, port)?;
    let mut is_heard = client.read().is_ok();
    for command in commands {
        is_heard = is_heard && client.send(&format!("{command}\r\n")).is_ok() && client.read().is_ok();
    }
    // Who has said all and is not gone waits for what becomes of it.
    while client.read().is_ok() {}
    Ok(())
}

/// What a client says before it has heard anything.
fn blurt(world: &World, from: &str, port: u16, bytes: &str) -> Result<()> {
    let mut client = Client::connect_on(world, from, port)?;
    client.send(bytes)?;
    while client.read().is_ok() {}
    Ok(())
}

/// A second connection beside one, from the same client.
fn crowd(world: &World, from: &str, port: u16) -> Result<()> {
    let mut first = Client::connect_on(world, from, port)?;
    // Who is greeted has been counted.
    first.read()?;
    say(world, from, port, &["QUIT"])
}

/// A message of this text, of somebody who would have another one blocked.
fn message<'a>(sender: &'a str, text: &'a str) -> [&'a str; 6] {
    ["EHLO [203.0.113.99]", sender, "RCPT TO:<alice@example.test>", "DATA", text, "QUIT"]
}

/// Everything that [`STRICT`] lists, all at once, since a client must wait for postscreen.
fn misbehave_in_every_way(world: &World) -> Result<()> {
    let sender = format!("MAIL FROM:<\"{INJECTED}\"@sender.example>");
    let (spam, virus) = (format!("Subject: x\r\n\r\n{SPAM}\r\n."), format!("Subject: x\r\n\r\n{VIRUS}\r\n."));
    let (spam, virus) = (&message(&sender, &spam), &message(&sender, &virus));
    let recipient = |hello, sender| [hello, sender, "RCPT TO:<alice@example.test>", "QUIT"];
    let early = "EHLO [203.0.113.99]\r\n";
    let attempts: [&(dyn Fn() -> Result<()> + Sync); 21] = [
        &|| say(world, LISTED, SMTPD, &recipient("EHLO [203.0.113.99]", &sender)),
        &|| {
            say(
                world,
                "203.0.113.21",
                SMTPD,
                &recipient("EHLO [203.0.113.99]", "MAIL FROM:<a@client.example>"),
            )
        },
        &|| {
            say(
                world,
                "203.0.113.22",
                SMTPD,
                &recipient("EHLO localhost", "MAIL FROM:<\"x[203.0.113.99]: \"@sender.example>"),
            )
        },
        &|| say(world, "203.0.113.23", SMTPD, &["FOO from x[203.0.113.99]"; 5]),
        &|| say(world, "203.0.113.24", SMTPD, &["EHLO x[203.0.113.99]"]),
        &|| {
            blurt(
                world,
                "203.0.113.25",
                SMTPD,
                "EHLO c\r\nMAIL FROM:<a@sender.example>\r\nfrom x[203.0.113.99]: x\r\nQUIT\r\n",
            )
        },
        &|| say(world, "203.0.113.26", SMTPD, &["EHLO [203.0.113.99]", "AUTH", "QUIT"]),
        &|| crowd(world, "203.0.113.27", LIMITED),
        &|| (0..2).try_for_each(|_| say(world, "203.0.113.28", LIMITED, &["QUIT"])),
        &|| say(world, "203.0.113.29", MILTERS, spam),
        &|| say(world, "203.0.113.30", MILTERS, virus),
        &|| say(world, "203.0.113.31", BRIEF, virus),
        &|| say(world, "203.0.113.32", DEAD, &["EHLO [203.0.113.99]", "QUIT"]),
        &|| say(world, "203.0.113.33", LOGINS, &["EHLO c", "AUTH PLAIN AGFsaWNlAGEx", "QUIT"]),
        &|| blurt(world, "203.0.113.34", POSTSCREEN, early),
        &|| blurt(world, "2001:db8:a:1::1", POSTSCREEN, early),
        &|| say(world, LISTED, POSTSCREEN, &[]),
        &|| say(world, "203.0.113.35", POSTSCREEN, &["EHLO c\r\nMAIL FROM:<[203.0.113.99]:1 after >"]),
        &|| say(world, "203.0.113.36", POSTSCREEN, &["EHLO from [203.0.113.99]:1 after x\nQUIT"]),
        &|| say(world, "203.0.113.37", POSTSCREEN, &["GET from [203.0.113.99]:1 after x HTTP/1.0"]),
        &|| say(world, "203.0.113.38", POSTSCREEN, &["EHLO c"]),
    ];
    thread::scope(|scope| {
        let running = attempts.map(|attempt| scope.spawn(attempt));
        crowd(world, "203.0.113.39", POSTSCREEN)?;
        running.into_iter().try_for_each(|attempt| attempt.join().expect("an attempt does not panic"))
    })
}

#[test]
fn one_that_refuses_what_it_can() {
    in_world(|world, _| {
        let strict = Strict::start(world)?;
        misbehave_in_every_way(world)?;
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let wanted: BTreeSet<_> = STRICT.map(|(rule, client)| (rule.to_owned(), client.map(address))).into();
        let seen = || -> Result<BTreeSet<_>> {
            let all = spoken(&strict.log(), None)?.into_iter();
            Ok(all.map(|(rule, found)| (rule, found.map(|found| found.address))).collect())
        };
        // What is not there by then is shown as missing.
        let _ = wait_until("every line of Postfix", PATIENCE, || Ok(seen()?.is_superset(&wanted)));
        let seen = seen()?;
        let (missing, others): (Vec<_>, Vec<_>) =
            seen.symmetric_difference(&wanted).partition(|one| wanted.contains(one));
        ensure!(seen == wanted, "missing: {missing:?}, besides: {others:?}\n{}", strict.log());
        Ok(())
    });
}

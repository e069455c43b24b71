//! The shipped rules for logs against what real servers write, for clients who mean harm.

//!
//! Each test demands that exactly these rules speak, and `every_shipped_rule_has_met_a_real_line` that no rule is without one.

mod mail_servers;
mod postfix;
mod webmail;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use filter_core::logs::{Book, Found, Line, Outcome, Quiet, Reader};
use filter_tests::world::{MAIL, World};
use filter_user::logs::shipped;

/// How long a server may take to write a line.
const PATIENCE: Duration = Duration::from_secs(20);

/// Says commands to a server and hears whatever it says; an empty one is for its greeting.
fn talk(mut to: impl Write, from: impl Read, commands: &[&str]) {
    let mut lines = BufReader::new(from).lines();
    let mut hear = || lines.by_ref().map_while(Result::ok).find(|line| line.as_bytes().get(3) != Some(&b'-'));
    for command in commands {
        // A server that has had enough closes, which is what is wanted of it.
        let is_said = command.is_empty() || to.write_all(format!("{command}\r\n").as_bytes()).is_ok();
        if !is_said || hear().is_none() {
            break;
        }
    }
}

/// Says commands to a mail server, from the address of its own name space.
fn misbehave(world: &World, port: u16, commands: &[&str]) -> Result<()> {
    world.mail.enter(|| {
        let stream = TcpStream::connect(SocketAddr::new(MAIL.parse()?, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        talk(stream.try_clone()?, stream, &[&[""], commands].concat());
        Ok(())
    })
}

/// A rule that has spoken, and what it reports; nothing if it only says who a client is, or that nobody is at fault.
type Spoken = (String, Option<Found>);

/// The shipped rules that speak of a log.
fn spoken(log: &str, program: Option<&str>) -> Result<Vec<Spoken>> {
    let book = Arc::new(Book::new(shipped::rules()?)?);
    let mut reader = Reader::new(Arc::clone(&book));
    let speaks = |line: &str| match reader.judge(&match program {
        Some(program) => Line::of_program(line.as_bytes(), program.as_bytes()),
        None => Line::of_syslog(line.as_bytes())?,
    })? {
        Outcome::Found(found) => Some((found.rule.clone(), Some(found))),
        Outcome::Quiet { rule, why: Quiet::Ignored | Quiet::Introduction } => {
            Some((book.rules().get(rule)?.name().to_owned(), None))
        }
        Outcome::Quiet { .. } => None,
    };
    Ok(log.lines().filter_map(speaks).collect())
}

/// Exactly these rules speak, and of nobody but one client; gives what they report.
#[track_caller]
fn ensure_found(log: &str, program: Option<&str>, client: &str, rules: &[&str]) -> Result<Vec<Found>> {
    let all = spoken(log, program)?;
    let names: BTreeSet<_> = all.iter().map(|(rule, _)| rule.as_str()).collect();
    ensure!(names == rules.iter().copied().collect(), "{names:?}\n{log}");
    let client: IpAddr = client.parse()?;
    let found: Vec<_> = all.into_iter().filter_map(|(_, found)| found).collect();
    ensure!(found.iter().all(|found| found.address == client), "{found:?}\n{log}");
    Ok(found)
}

#[test]
fn every_shipped_rule_has_met_a_real_line() {
    let shown = [mail_servers::SHOWN.concat(), postfix::shown(), webmail::SHOWN.concat()].concat();
    let rules = shipped::rules().unwrap();
    let names: BTreeSet<_> = rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, shown.into_iter().collect());
}

/// What a client writes who wants another one blocked.
const INJECTED: &str =
    "x[203.0.113.99]: 554 5.7.1 <y>: Relay access denied; from=<z> [203.0.113.99]: 535 Incorrect";

/// Base64 of `\0x) [203.0.113.99]: 535 Incorrect authentication data (set_id=y\0z`.
const INJECTED_ACCOUNT: &str =
    "AHgpIFsyMDMuMC4xMTMuOTldOiA1MzUgSW5jb3JyZWN0IGF1dGhlbnRpY2F0aW9uIGRhdGEgKHNldF9pZD15AHo=";

/// What a client says to a mail server who is up to no good and wants another one blocked.
fn dialogue() -> Vec<String> {
    let recipient = format!("RCPT TO:<\"{INJECTED}\"@elsewhere.test>");
    let auth = format!("AUTH PLAIN {INJECTED_ACCOUNT}");
    let commands = [
        "EHLO [203.0.113.99]",
        &auth,
        "AUTH PLAIN AGFsaWNlAGEx",
        "MAIL FROM:<a@client.example>",
        "RCPT TO:<nobody@example.test>",
        "RCPT TO:<x@elsewhere.test>",
        &recipient,
        "QUIT",
    ];
    commands.map(str::to_owned).to_vec()
}

/// Says a dialogue and these ones.
fn misbehave_thus(world: &World, port: u16, others: &[&[&str]]) -> Result<()> {
    let dialogue = dialogue();
    misbehave(world, port, &dialogue.iter().map(String::as_str).collect::<Vec<_>>())?;
    others.iter().try_for_each(|commands| misbehave(world, port, commands))
}

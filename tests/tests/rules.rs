//! The shipped rules for logs against what real servers write, for clients who mean harm.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use filter_core::logs::{Book, Found, Line, Reader};
use filter_tests::dovecot::{Dovecot, Reader as Mailbox, Service};
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::roundcube::Roundcube;
use filter_tests::unpacked::{ANONYMOUS, EXIM_STRICT, OPENSMTPD_LOGINS, Unpacked};
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

/// The same inside TLS, with certain ciphers.
fn misbehave_inside_tls(world: &World, port: u16, ciphers: &str, commands: &[&str]) -> Result<()> {
    world.mail.enter(|| {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-quiet", "-starttls", "smtp", "-tls1_2", "-cipher", ciphers]);
        openssl.arg("-connect").arg(format!("{MAIL}:{port}"));
        openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = openssl.spawn().context("cannot run openssl")?;
        let (input, output) =
            (child.stdin.take().context("no pipe")?, child.stdout.take().context("no pipe")?);
        talk(input, output, commands);
        child.kill()?;
        child.wait()?;
        Ok(())
    })
}
/// What the shipped rules find in a log.
fn found(log: &str, program: Option<&str>) -> Result<Vec<Found>> {
    let mut reader = Reader::new(Arc::new(Book::new(shipped::rules()?)?));
    Ok(log
        .lines()
        .filter_map(|line| {
            let line = match program {
                Some(program) => Line::of_program(line.as_bytes(), program.as_bytes()),
                None => Line::of_syslog(line.as_bytes())?,
            };
            reader.read(&line)
        })
        .collect())
}

/// Exactly these rules find something, and nobody but one client; gives what.
#[track_caller]
fn ensure_found(log: &str, program: Option<&str>, client: &str, rules: &[&str]) -> Result<Vec<Found>> {
    let all = found(log, program)?;
    let names: BTreeSet<_> = all.iter().map(|found| found.rule.as_str()).collect();
    ensure!(names == rules.iter().copied().collect(), "{names:?}\n{log}");
    let client: IpAddr = client.parse()?;
    ensure!(all.iter().all(|found| found.address == client), "{all:?}\n{log}");
    Ok(all)
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

#[test]
fn postfix() {
    in_world(|world, postfix| {
        let big = ["EHLO c", "MAIL FROM:<a@client.example> SIZE=99999999999", "QUIT"];
        misbehave_thus(world, 26, &[&["GET / HTTP/1.0", "QUIT"], &big])?;
        wait_until("Postfix's last line", PATIENCE, || {
            let log = postfix.log();
            Ok(log.split_once("552 5.3.4").is_some_and(|(_, rest)| rest.contains("disconnect from")))
        })?;
        // The summary has nothing to say that the line before it has not said.
        let rules = [
            "postfix-non-smtp",
            "postfix-relay-denied",
            "postfix-sasl-failed",
            "postfix-too-big",
            "postfix-unknown-recipient",
        ];
        ensure_found(&postfix.log(), None, MAIL, &rules).map(drop)
    });
}

#[test]
fn exim() {
    in_world(|world, _| {
        let exim = Unpacked::Exim;
        let _exim = exim.start(world)?;
        let message = |text| {
            ["EHLO c", "MAIL FROM:<a@client.example>", "RCPT TO:<alice@example.test>", "DATA", text, "QUIT"]
        };
        let big = ["EHLO c", "MAIL FROM:<a@client.example> SIZE=99999999", "QUIT"];
        let others: [&[&str]; 5] = [
            &["EHLO a b", "QUIT"],
            &big,
            &message("Subject: [203.0.113.99]\r\n\r\ncheap pills\r\n."),
            &message("Subject: x\r\n\r\nEICAR\r\n."),
            &["FOO"; 12],
        ];
        misbehave_thus(world, exim.port(), &others)?;
        world.mail.enter(|| {
            let mut stream = TcpStream::connect((MAIL, EXIM_STRICT))?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream.write_all(b"EHLO early [203.0.113.99]\r\n")?;
            // It is told off and cut off.
            let _ = stream.read_to_end(&mut Vec::new());
            Ok(())
        })?;
        let log = exim.log_file(world);
        let read = || fs::read_to_string(&log).unwrap_or_default();
        wait_until("Exim's last lines", PATIENCE, || {
            Ok(read().contains("dropped: too many") && read().contains("synchronization error"))
        })
        .with_context(read)?;
        let rules = [
            "exim-auth-failed",
            "exim-bad-helo",
            "exim-early-talker",
            "exim-relay-denied",
            "exim-spam",
            "exim-too-big",
            "exim-too-many-errors",
            "exim-unknown-recipient",
            "exim-virus",
        ];
        ensure_found(&read(), Some("exim"), MAIL, &rules).map(drop)
    });
}

#[test]
fn opensmtpd() {
    in_world(|world, _| {
        let opensmtpd = Unpacked::OpenSmtpd;
        let _opensmtpd = opensmtpd.start(world)?;
        misbehave_thus(world, opensmtpd.port(), &[])?;
        let commands = [
            "EHLO c.example",
            // As `x" result="535 [203.0.113.99]`.
            "AUTH LOGIN",
            "eCIgcmVzdWx0PSI1MzUgWzIwMy4wLjExMy45OV0=",
            "cA==",
            "AUTH PLAIN AGFsaWNlAGEx",
            // The right password, which is nobody's fault.
            "AUTH PLAIN AGFsaWNlAHNlY3JldA==",
            "QUIT",
        ];
        misbehave_inside_tls(world, OPENSMTPD_LOGINS, ANONYMOUS, &commands)?;
        let log = opensmtpd.log_file(world);
        let read = || fs::read_to_string(&log).unwrap_or_default();
        wait_until("OpenSMTPD's last line", PATIENCE, || {
            Ok(read().matches("disconnected reason=").count() >= 3)
        })
        .with_context(read)?;
        let rules = [
            "opensmtpd-auth-failed",
            "opensmtpd-relay-denied",
            "opensmtpd-syntax-error",
            "opensmtpd-unknown-recipient",
        ];
        let all = ensure_found(&read(), Some("smtpd"), MAIL, &rules)?;
        let accounts: Vec<_> = all.iter().filter_map(|found| found.account.as_deref()).collect();
        ensure!(accounts.len() == 2 && accounts.contains(&"alice"), "{accounts:?}\n{}", read());
        Ok(())
    });
}

/// What Dovecot serves, as its log calls it.
const SERVICES: [&str; 4] = ["imap", "pop3", "managesieve", "submission"];

#[test]
fn dovecot() {
    in_world(|world, _| {
        let dovecot = Dovecot::start(world)?;
        let client = "203.0.113.50";
        let hostile = "x>, method=PLAIN, rip=203.0.113.99, lip=1.2.3.4, session=<a";
        for service in Service::ALL {
            for account in ["alice@example.test", "nobody@example.test", hostile] {
                let mut mailbox = Mailbox::connect(world, client, service)?;
                ensure!(!mailbox.log_in(account, "wrong")?, "{account} is let in");
                mailbox.log_out();
            }
            let mut mailbox = Mailbox::connect(world, "203.0.113.51", service)?;
            ensure!(mailbox.log_in("alice@example.test", "secret")?, "the right password is refused");
            mailbox.log_out();
            Mailbox::connect(world, "203.0.113.52", service)?.log_out();
        }
        let read = || dovecot.log();
        wait_until("Dovecot's last line", PATIENCE, || {
            let log = read();
            Ok(SERVICES.iter().all(|service| log.matches(&format!("{service}-login: Info: ")).count() >= 5))
        })
        .with_context(read)?;
        let rules = ["dovecot-auth-failed", "dovecot-bad-account"];
        let all = ensure_found(&read(), Some("dovecot"), client, &rules)?;
        ensure!(all.len() == 12, "{} instead of 12\n{}", all.len(), read());
        // Without `auth_verbose`, only the ends of the sessions tell of it.
        let ends: String =
            read().lines().filter(|line| !line.contains(" auth: ")).flat_map(|line| [line, "\n"]).collect();
        let all = ensure_found(&ends, Some("dovecot"), client, &["dovecot-login-failed"])?;
        for service in SERVICES {
            let of: Vec<_> = all.iter().filter(|found| found.service == service).collect();
            let known = of.iter().filter(|found| found.account.as_deref() == Some("alice@example.test"));
            ensure!((of.len(), known.count()) == (3, 1), "{service}: {of:?}\n{ends}");
        }
        Ok(())
    });
}

#[test]
fn roundcube() {
    in_world(|world, _| {
        let dovecot = Dovecot::start(world)?;
        let roundcube = Roundcube::start(world)?;
        let client = "203.0.113.53";
        let forged = "[24-Nov-2026 15:22:27 +0000]: <b2f5k8s1> IMAP Error: Login failed for y against z from 203.0.113.99. \
            AUTHENTICATE PLAIN: Authentication failed. in /x on line 211 (POST /?_task=login)";
        // Line ends in the name of an account end the line, and what follows is one of its own.
        let hostile = format!("x against y from 203.0.113.99. LOGIN: x in y (POST z)\n{forged}\n{forged}\n");
        let headers: [&[&str]; 3] =
            [&[], &["X-Forwarded-For: 203.0.113.99, 203.0.113.98", "X-Real-IP: 203.0.113.97"], &[]];
        for (account, headers) in ["alice", "alice", &hostile].into_iter().zip(headers) {
            ensure!(!roundcube.log_in(world, client, account, headers)?, "{account} is let in");
        }
        // That its mail server is down is not the fault of who logs in.
        drop(dovecot);
        ensure!(!roundcube.log_in(world, "203.0.113.54", "alice", &[])?, "let in");
        let log = fs::read_to_string(roundcube.log_file("errors"))?;
        ensure!(log.contains("203.0.113.54. Could not connect"), "{log}");
        ensure!(log.matches("203.0.113.99").count() >= 3, "nobody is injected: {log}");
        let all = ensure_found(&log, Some("roundcube"), client, &["roundcube-failed-login"])?;
        let accounts: Vec<_> = all.iter().map(|found| found.account.as_deref()).collect();
        ensure!(accounts == [Some("alice"), Some("alice")], "{accounts:?}\n{log}");
        Ok(())
    });
}

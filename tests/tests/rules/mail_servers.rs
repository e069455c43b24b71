//! Exim, OpenSMTPD and Dovecot.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use filter_tests::dovecot::{Dovecot, Reader as Mailbox, Service};
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::unpacked::{ANONYMOUS, EXIM_STRICT, OPENSMTPD_LOGINS, Unpacked};
use filter_tests::world::{MAIL, World};

use crate::{PATIENCE, ensure_found, misbehave_thus, talk};

/// What a client of Exim does.
const EXIM: [&str; 9] = [
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

/// What one of OpenSMTPD does.
const OPENSMTPD: [&str; 5] = [
    "opensmtpd-auth-failed",
    "opensmtpd-connected",
    "opensmtpd-relay-denied",
    "opensmtpd-syntax-error",
    "opensmtpd-unknown-recipient",
];

/// What one of Dovecot does, as it logs at once.
const DOVECOT: [&str; 2] = ["dovecot-auth-failed", "dovecot-bad-account"];

/// And as it logs at the end of a session.
const DOVECOT_ENDS: [&str; 1] = ["dovecot-login-failed"];

/// The rules that have met real lines here.
pub(crate) const SHOWN: [&[&str]; 4] = [&EXIM, &OPENSMTPD, &DOVECOT, &DOVECOT_ENDS];

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
        ensure_found(&read(), Some("exim"), MAIL, &EXIM).map(drop)
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
        let all = ensure_found(&read(), Some("smtpd"), MAIL, &OPENSMTPD)?;
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
        let all = ensure_found(&read(), Some("dovecot"), client, &DOVECOT)?;
        ensure!(all.len() == 12, "{} instead of 12\n{}", all.len(), read());
        // Without `auth_verbose`, only the ends of the sessions tell of it.
        let ends: String =
            read().lines().filter(|line| !line.contains(" auth: ")).flat_map(|line| [line, "\n"]).collect();
        let all = ensure_found(&ends, Some("dovecot"), client, &DOVECOT_ENDS)?;
        for service in SERVICES {
            let of: Vec<_> = all.iter().filter(|found| found.service == service).collect();
            let known = of.iter().filter(|found| found.account.as_deref() == Some("alice@example.test"));
            ensure!((of.len(), known.count()) == (3, 1), "{service}: {of:?}\n{ends}");
        }
        Ok(())
    });
}

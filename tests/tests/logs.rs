//! The log reader: real logs of real servers, and everything that happens to a log.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use filter_core::logs::{Book, Line, Reader};
use filter_tests::agent::{Agent, ask, verdict};
use filter_tests::client::Client;
use filter_tests::in_world;
use filter_tests::journald::Journald;
use filter_tests::process::wait_until;
use filter_tests::unpacked::Unpacked;
use filter_tests::world::{GATEWAY_V4, MAIL, World};
use filter_user::logs::shipped;

/// How long the reader may take; it looks four times a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// A line of Dovecot's about a failed login just now.
fn failed(address: &str, account: &str) -> Result<String> {
    let now = Command::new("date").arg("+%Y-%m-%dT%H:%M:%S%:z").output()?.stdout;
    let now = String::from_utf8(now)?;
    Ok(format!(
        "{} mx dovecot: imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): \
         user=<{account}>, method=PLAIN, rip={address}, lip=192.0.2.1, session=<{}>\n",
        now.trim(),
        account.replace(|character: char| !character.is_ascii_alphanumeric(), "")
    ))
}

fn append(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

fn failed_logins(world: &World, address: &str) -> Result<u64> {
    ask(world, &["why", address])?["failed_logins"].as_u64().context("no count")
}

fn wait_for_logins(world: &World, address: &str, count: u64) -> Result<()> {
    let arrived = wait_until("the failed logins", PATIENCE, || Ok(failed_logins(world, address)? >= count));
    arrived.with_context(|| format!("{:?}", ask(world, &["status"]).map(|status| status["logs"].clone())))?;
    let now = failed_logins(world, address)?;
    ensure!(now == count, "{now} failed logins instead of {count}");
    Ok(())
}

#[test]
fn a_log_is_read_once_over_rotation_stop_and_crash() {
    in_world(|world, _| {
        let (client, log) = ("203.0.113.40", world.scratch().join("mail.log"));
        let write = |accounts: std::ops::Range<u8>| -> Result<()> {
            accounts
                .into_iter()
                .try_for_each(|number| append(&log, &failed(client, &format!("user{number}"))?))
        };
        // Years ago, which is before everything that counts.
        append(&log, &failed(client, "old")?.replacen("202", "201", 1))?;
        let agent = Agent::start(world, &format!("[logs]\nfiles = [{{ path = \"{}\" }}]\n", log.display()))?;
        write(0..3)?;
        // What a client chose as its account names somebody else, who has done nothing.
        append(&log, &failed(client, "x>, method=PLAIN, rip=203.0.113.41, lip=1.2.3.4, session=<a")?)?;
        wait_for_logins(world, client, 4)?;
        agent.stop()?;

        write(4..5)?;
        fs::rename(&log, log.with_extension("log.1"))?;
        write(5..6)?;
        let agent = Agent::start_again(world)?;
        wait_for_logins(world, client, 6)?;
        agent.kill()?;

        write(6..7)?;
        let _agent = Agent::start_again(world)?;
        wait_for_logins(world, client, 7)?;
        fs::write(&log, "")?;
        wait_until("the end of the old file", PATIENCE, || {
            Ok(ask(world, &["status"])?["logs"][0]["cuts"] == 1)
        })?;
        write(7..9)?;
        append(&log, &format!("{}\n", "x".repeat(100_000)))?;
        append(&log, "\u{0}\u{1}garbage \u{fffd}[[[\n")?;
        wait_for_logins(world, client, 9)?;
        ensure!(verdict(world, client)?.0 == "pass", "nine block");
        write(9..10)?;
        wait_until("the block", PATIENCE, || Ok(verdict(world, client)?.0 == "drop"))?;

        let why = ask(world, &["why", client])?;
        let events = why["events"].to_string();
        ensure!(events.contains("\"imap\"") && events.contains("user9"), "{events}");
        ensure!(failed_logins(world, "203.0.113.41")? == 0, "an address was injected");
        let status = ask(world, &["status"])?;
        ensure!(status["logs"][0]["unreadable"] == 1 && status["logs"][0]["behind"] == 0, "{status}");
        Ok(())
    });
}

#[test]
fn what_our_own_session_and_postfixs_log_tell_of_counts_once() {
    in_world(|world, postfix| {
        let files = format!("[logs]\nfiles = [{{ path = \"{}\" }}]\n", postfix.log_file().display());
        let _agent = Agent::start(world, &files)?;
        let mut client = Client::greeted(world, "203.0.113.42")?;
        for guess in ["AGFsaWNlQGV4YW1wbGUudGVzdABhMA==", "AGFsaWNlQGV4YW1wbGUudGVzdABhMQ=="] {
            client.ask(&format!("AUTH PLAIN {guess}"), 535)?;
        }
        client.quit()?;
        wait_until("both lines", PATIENCE, || Ok(ask(world, &["status"])?["logs"][0]["known"] == 2))?;
        ensure!(failed_logins(world, "203.0.113.42")? == 2, "{}", ask(world, &["why", "203.0.113.42"])?);
        Ok(())
    });
}

/// Ten wrong passwords inside TLS, which the gateway passes through.
fn guess_inside_tls(world: &World, from: &str) -> Result<()> {
    let mut child = world.internet.enter(|| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-crlf", "-starttls", "smtp", "-bind", from, "-connect"]);
        command.arg(format!("{GATEWAY_V4}:25"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().context("cannot run openssl")
    })?;
    let (mut input, output) =
        (child.stdin.take().context("no pipe")?, child.stdout.take().context("no pipe")?);
    let mut lines = BufReader::new(output).lines();
    let mut say = |command: &str, code: &str| -> Result<()> {
        writeln!(input, "{command}")?;
        for line in lines.by_ref() {
            let line = line?;
            if line.starts_with(code) && line.as_bytes().get(3) == Some(&b' ') {
                return Ok(());
            }
        }
        anyhow::bail!("no {code} after {command}")
    };
    say("EHLO client.example", "250")?;
    for number in 0..10 {
        // "\0alice\0" and a guess: the last characters of the base64 are the guess.
        say(&format!("AUTH PLAIN AGFsaWNlAGE{number}"), "535")?;
    }
    drop(input);
    child.kill()?;
    child.wait()?;
    Ok(())
}

#[test]
fn failed_logins_inside_tls_block_through_the_log() {
    in_world(|world, postfix| {
        let files = format!("[logs]\nfiles = [{{ path = \"{}\" }}]\n", postfix.log_file().display());
        let _agent = Agent::start_before(world, &format!("{MAIL}:28"), &files)?;
        guess_inside_tls(world, "203.0.113.43")?;
        wait_until("the block", PATIENCE, || Ok(verdict(world, "203.0.113.43")?.0 == "drop"))
            .with_context(|| postfix.log())?;
        let blocks = ask(world, &["block", "list"])?;
        ensure!(blocks[0]["origin"] == "login", "{blocks}");
        Ok(())
    });
}

#[test]
fn the_journal_is_read_once_over_a_restart() {
    in_world(|world, _| {
        let (client, mut journal) = ("203.0.113.44", Journald::start(world, "dovecot")?);
        let mut write = |account: &str| -> Result<()> {
            let line = failed(client, account)?;
            let (_, message) = line.split_once("dovecot: ").context("no message")?;
            journal.log(message.trim_end())
        };
        write("one")?;
        let sections = format!(
            "[logs]\njournal_programs = [\"dovecot\"]\njournal_directory = \"{}\"\n",
            world.scratch().join("journal").display()
        );
        let agent = Agent::start(world, &sections)?;
        write("two")?;
        wait_for_logins(world, client, 2)?;
        agent.stop()?;
        write("three")?;
        let _agent = Agent::start_again(world)?;
        wait_for_logins(world, client, 3)
    });
}

/// Says commands to a mail server, from one of the addresses of its own name space, and hears whatever it says.
fn misbehave(world: &World, from: &str, port: u16, commands: &[&str]) -> Result<()> {
    world.mail.enter(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(from.parse()?, 0).into())?;
        socket.connect(&SocketAddr::new(MAIL.parse()?, port).into())?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let mut hear =
            || lines.by_ref().map_while(Result::ok).find(|line| line.as_bytes().get(3) != Some(&b'-'));
        hear().context("no greeting")?;
        for command in commands {
            // A server that has had enough closes, which is what is wanted of it.
            if stream.write_all(format!("{command}\r\n").as_bytes()).is_err() || hear().is_none() {
                break;
            }
        }
        Ok(())
    })
}

/// What the shipped rules find in a log: by rule, whom.
fn found(log: &str, program: Option<&str>) -> Result<BTreeMap<String, BTreeSet<IpAddr>>> {
    let mut reader = Reader::new(Arc::new(Book::new(shipped::rules()?)?));
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in log.lines().map(str::as_bytes) {
        let line = match program {
            Some(program) => Some(Line::of_program(line, program.as_bytes())),
            None => Line::of_syslog(line),
        };
        if let Some(said) = line.and_then(|line| reader.read(&line)) {
            found.entry(said.rule).or_default().insert(said.address);
        }
    }
    Ok(found)
}

/// Exactly these rules, and nobody but one client.
#[track_caller]
fn ensure_found(log: &str, program: Option<&str>, client: &str, rules: &[&str]) -> Result<()> {
    let all = found(log, program)?;
    let names: Vec<_> = all.keys().map(String::as_str).collect();
    ensure!(names == rules, "{names:?}\n{log}");
    let clients: BTreeSet<_> = all.into_values().flatten().collect();
    ensure!(clients == BTreeSet::from([client.parse()?]), "{clients:?}\n{log}");
    Ok(())
}

/// What a client writes who wants another one blocked.
const INJECTED: &str =
    "x[203.0.113.99]: 554 5.7.1 <y>: Relay access denied; from=<z> [203.0.113.99]: 535 Incorrect";

/// Base64 of `\0x) [203.0.113.99]: 535 Incorrect authentication data (set_id=y\0z`.
const INJECTED_ACCOUNT: &str =
    "AHgpIFsyMDMuMC4xMTMuOTldOiA1MzUgSW5jb3JyZWN0IGF1dGhlbnRpY2F0aW9uIGRhdGEgKHNldF9pZD15AHo=";

#[test]
fn the_shipped_rules_understand_what_real_servers_write() {
    in_world(|world, postfix| {
        let client = MAIL;
        let recipient = format!("RCPT TO:<\"{INJECTED}\"@elsewhere.test>");
        let auth = format!("AUTH PLAIN {INJECTED_ACCOUNT}");
        let dialogue = [
            "EHLO [203.0.113.99]",
            &auth,
            "AUTH PLAIN AGFsaWNlAGEx",
            "MAIL FROM:<a@client.example>",
            "RCPT TO:<nobody@example.test>",
            "RCPT TO:<x@elsewhere.test>",
            &recipient,
            "QUIT",
        ];
        misbehave(world, client, 26, &dialogue)?;
        misbehave(world, client, 26, &["GET / HTTP/1.0", "QUIT"])?;
        wait_until("Postfix's last line", PATIENCE, || {
            Ok(postfix.log().matches("disconnect from").count() >= 2)
        })?;
        // The summary has nothing to say that the line before it has not said.
        let postfixs =
            ["postfix-non-smtp", "postfix-relay-denied", "postfix-sasl-failed", "postfix-unknown-recipient"];
        ensure_found(&postfix.log(), None, client, &postfixs)?;

        let exim = Unpacked::Exim;
        let _exim = exim.start(world)?;
        misbehave(world, client, exim.port(), &dialogue)?;
        misbehave(world, client, exim.port(), &["EHLO a b", "QUIT"])?;
        misbehave(world, client, exim.port(), &["FOO"; 12])?;
        let log = world.scratch().join("exim/var/log/exim4/mainlog");
        let read = || fs::read_to_string(&log).unwrap_or_default();
        wait_until("Exim's last line", PATIENCE, || Ok(read().contains("dropped: too many")))?;
        let exims = [
            "exim-auth-failed",
            "exim-bad-helo",
            "exim-relay-denied",
            "exim-too-many-errors",
            "exim-unknown-recipient",
        ];
        ensure_found(&read(), Some("exim"), client, &exims)?;

        let opensmtpd = Unpacked::OpenSmtpd;
        let _opensmtpd = opensmtpd.start(world)?;
        misbehave(world, client, opensmtpd.port(), &dialogue)?;
        let log = world.scratch().join("opensmtpd/log");
        let read = || fs::read_to_string(&log).unwrap_or_default();
        wait_until("OpenSMTPD's last line", PATIENCE, || Ok(read().contains("disconnected reason=quit")))?;
        let opensmtpds = ["opensmtpd-relay-denied", "opensmtpd-syntax-error", "opensmtpd-unknown-recipient"];
        ensure_found(&read(), Some("smtpd"), client, &opensmtpds)
    });
}

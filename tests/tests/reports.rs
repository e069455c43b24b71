//! What other services tell: a real Dovecot by its auth-policy requests, for IMAP, POP3 and the Postfix that asks it; and any
//! program by the API, a datagram or the command line.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use filter_tests::agent::{Agent, ask, cli, verdict};
use filter_tests::client::{Attempt, Client};
use filter_tests::dovecot::{API_KEY, Dovecot, POLICY, Reader};
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::world::{GATEWAY_V4, World};

/// An agent that Dovecot asks.
fn settings() -> String {
    format!("[dovecot]\nlisten = \"{POLICY}\"\napi_key = \"{API_KEY}\"\n")
}

/// Failed logins that count for an address.
fn failed(world: &World, address: &str) -> Result<u64> {
    Ok(ask(world, &["why", address])?["failed_logins"].as_u64().unwrap_or_default())
}

fn counts(world: &World, address: &str, wanted: u64) -> Result<()> {
    wait_until(&format!("{wanted} failed logins of {address}"), Duration::from_secs(5), || {
        Ok(failed(world, address)? == wanted)
    })
}

/// What `why` says to a person.
fn why(world: &World, address: &str) -> Result<String> {
    Ok(String::from_utf8(cli(world, &["why", address])?.stdout)?)
}

/// Logs in to the submission inside TLS, which the gateway does not see into; says whether it was let in.
fn log_in_by_tls(world: &World, from: &str, password: &str) -> Result<bool> {
    let mut command = Command::new("swaks");
    command.args(["--server", GATEWAY_V4, "--local-interface", from, "--tls", "--quit-after", "AUTH"]);
    command.args(["--auth", "PLAIN", "--auth-user", "alice@example.test", "--auth-password", password]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = world.internet.enter(|| Ok(command.output()?))?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(said.contains("TLS started"), "no TLS: {said}");
    Ok(said.contains("235 "))
}

#[test]
fn the_tenth_failed_login_over_imap_pop3_and_smtp_together_blocks_in_the_kernel() {
    in_world(|world, postfix| {
        let dovecot = Dovecot::start(world)?;
        postfix.ask_dovecot(&dovecot)?;
        let _agent = Agent::start(world, &settings())?;

        // A telephone with an old password.
        let mut phone = Reader::connect(world, "203.0.113.20", 143)?;
        for _ in 0..20 {
            ensure!(!phone.log_in("alice@example.test", "old")?, "the old password is let in");
        }
        counts(world, "203.0.113.20", 1)?;
        ensure!(phone.log_in("alice@example.test", "secret")?, "the new one is not");

        let attacker = "203.0.113.21";
        for (guess, port) in [(0, 143), (1, 110)] {
            let mut reader = Reader::connect(world, attacker, port)?;
            for time in 0..3 {
                ensure!(!reader.log_in("alice@example.test", &format!("guess{guess}{time}"))?, "let in");
            }
        }
        // The SMTP session sees the attempt, and Dovecot tells of it: that is one.
        let mut client = Client::greeted(world, attacker)?;
        for guess in ["AGFsaWNlQGV4YW1wbGUudGVzdABhMA==", "AGFsaWNlQGV4YW1wbGUudGVzdABhMQ=="] {
            client.ask(&format!("AUTH PLAIN {guess}"), 535)?;
        }
        ensure!(!log_in_by_tls(world, attacker, "inside")?, "let in");
        counts(world, attacker, 9)?;
        ensure!(verdict(world, attacker)?.0 == "pass", "nine do not block");
        let told = why(world, attacker)?;
        ensure!(told.contains("9 of 10") && told.contains("pop3"), "{told}");
        ensure!(ask(world, &["why", attacker])?["score"] == 100, "what was seen in the clear costs 50 each");
        let mut reader = Reader::connect(world, attacker, 143)?;
        ensure!(!reader.log_in("bob", "tenth")?, "let in");
        wait_until("the block", Duration::from_secs(5), || Ok(verdict(world, attacker)?.0 == "drop"))?;
        ensure!(matches!(Client::attempt_on(world, attacker, 143)?, Attempt::Silence), "its SYN is answered");
        let told = why(world, attacker)?;
        for words in ["imap", "pop3", "smtp", "as alice@example.test", "as bob", "failed-login"] {
            ensure!(told.contains(words), "`{words}` is not in\n{told}");
        }
        let list = ask(world, &["block", "list"])?;
        ensure!(list[0]["origin"] == "login", "{list}");
        ensure!(verdict(world, "203.0.113.20")?.0 == "pass", "the telephone is blocked");
        Ok(())
    });
}

#[test]
fn failed_logins_inside_tls_lead_to_a_block_and_the_blocked_are_refused_by_dovecot_too() {
    in_world(|world, postfix| {
        let dovecot = Dovecot::start(world)?;
        postfix.ask_dovecot(&dovecot)?;
        let _agent = Agent::start(world, &settings())?;
        let attacker = "203.0.113.22";
        for guess in 0..10 {
            ensure!(!log_in_by_tls(world, attacker, &format!("guess{guess}"))?, "let in");
        }
        wait_until("the block", Duration::from_secs(5), || Ok(verdict(world, attacker)?.0 == "drop"))?;
        let told = why(world, attacker)?;
        ensure!(told.matches("as alice@example.test").count() == 10, "{told}");
        // Who is blocked while a connection is open is refused there: only packets that open one are dropped yet.
        let mut reader = Reader::connect(world, "203.0.113.23", 143)?;
        ask(world, &["block", "add", "203.0.113.23"])?;
        ensure!(!reader.log_in("alice@example.test", "secret")?, "a blocked client was let in");
        ensure!(failed(world, "203.0.113.23")? == 0, "our own refusal is no failed login");
        Ok(())
    });
}

#[test]
fn any_program_may_report_and_a_report_about_ourselves_is_refused() {
    in_world(|world, _| {
        let path = world.scratch().join("reports.sock");
        let agent = Agent::start(world, &format!("[reports]\nsocket = \"{}\"\n", path.display()))?;
        let socket = UnixDatagram::unbound()?;
        let send = |line: &str| -> Result<()> { Ok(socket.send_to(line.as_bytes(), &path).map(drop)?) };
        send("address=203.0.113.30 service=webmail account=\"al ice\" credentials=one\n")?;
        send("address=203.0.113.30 service=webmail account=\"al ice\" credentials=one\n")?;
        send("address=203.0.113.30 service=webmail account=bob count=3")?;
        send("address=203.0.113.30 service=webmail user=bob")?;
        send("address=203.0.113.30 service=webmail account=x address=203.0.113.31")?;
        counts(world, "203.0.113.30", 4)?;
        ensure!(failed(world, "203.0.113.31")? == 0, "somebody else was reported");
        ensure!(agent.log().contains("a datagram is no report"), "{}", agent.log());

        let heard =
            ask(world, &["report", "203.0.113.30", "--service", "shop", "--account", "eve", "--ago", "5m"])?;
        ensure!(heard[0]["outcome"] == "counted", "{heard}");
        let heard = ask(world, &["report", "203.0.113.30", "--service", "shop", "--ago", "3h"])?;
        ensure!(heard[0]["outcome"] == "too-old", "{heard}");
        let heard = ask(world, &["report", "10.9.9.9", "--service", "shop", "--count", "50"])?;
        ensure!(heard[0]["outcome"] == "logged", "{heard}");
        let heard = ask(world, &["report", "198.51.100.2", "--service", "shop"])?;
        ensure!(heard[0]["outcome"] == "not-a-client" && heard[0]["whose"] == "mail server", "{heard}");
        ensure!(agent.log().contains("let the service see the client's address"), "{}", agent.log());
        let wrong = cli(world, &["report", "203.0.113.30", "--service", "a/b"])?;
        ensure!(!wrong.status.success(), "a service of that name");
        counts(world, "203.0.113.30", 5)?;
        let weighed =
            ["report", "203.0.113.30", "--service", "shop", "--kind", "rule-matched", "--weight", "500"];
        ask(world, &weighed)?;
        ensure!(ask(world, &["why", "203.0.113.30"])?["score"] == 500, "a weight of its own");
        ask(world, &[&weighed[..], &["--detail", "a probe"]].concat())?;
        wait_until("the block", Duration::from_secs(5), || Ok(verdict(world, "203.0.113.30")?.0 == "drop"))?;
        let told = why(world, "203.0.113.30")?;
        ensure!(told.contains("shop") && told.contains("a probe"), "{told}");
        ensure!(
            ask(world, &["block", "list"])?.as_array().is_some_and(|list| list.len() == 1),
            "others are blocked"
        );
        Ok(())
    });
}

//! A real Dovecot that asks by its auth-policy requests, for all its services and for the Postfix that asks it.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use filter_tests::agent::{Agent, ask, cli, verdict};
use filter_tests::client::{Attempt, Client};
use filter_tests::dovecot::{API_KEY, Dovecot, POLICY, Reader, Service};
use filter_tests::in_world;
use filter_tests::postfix::Postfix;
use filter_tests::process::wait_until;
use filter_tests::web::{Answer, ask_from};
use filter_tests::world::{GATEWAY_V4, World};

/// How long a report, or a line of a log, may take to be judged.
const PATIENCE: Duration = Duration::from_secs(10);

/// An agent that Dovecot asks.
fn settings() -> String {
    format!("[dovecot]\nlisten = \"{POLICY}\"\napi_key = \"{API_KEY}\"\n")
}

/// Dovecot, and a Postfix that asks it.
fn servers(world: &World, postfix: &Postfix) -> Result<Dovecot> {
    let dovecot = Dovecot::start(world)?;
    postfix.ask_dovecot(&dovecot)?;
    Ok(dovecot)
}

/// Failed logins that count for an address.
fn failed(world: &World, address: &str) -> Result<u64> {
    Ok(ask(world, &["why", address])?["failed_logins"].as_u64().unwrap_or_default())
}

fn counts(world: &World, address: &str, wanted: u64) -> Result<()> {
    wait_until(&format!("{wanted} failed logins of {address}"), PATIENCE, || {
        Ok(failed(world, address)? == wanted)
    })
}

fn is_dropped(world: &World, address: &str) -> Result<()> {
    wait_until("the block", PATIENCE, || Ok(verdict(world, address)?.0 == "drop"))
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
fn the_tenth_failed_login_over_all_services_together_blocks_in_the_kernel() {
    in_world(|world, postfix| {
        let _dovecot = servers(world, postfix)?;
        let _agent = Agent::start(world, &settings())?;

        // A telephone with an old password.
        let mut phone = Reader::connect(world, "203.0.113.20", Service::Imap)?;
        for _ in 0..20 {
            ensure!(!phone.log_in("alice@example.test", "old")?, "the old password is let in");
        }
        counts(world, "203.0.113.20", 1)?;
        ensure!(phone.log_in("alice@example.test", "secret")?, "the new one is not");

        let attacker = "203.0.113.21";
        for (service, times) in Service::ALL.into_iter().zip([2, 2, 1, 1]) {
            let mut reader = Reader::connect(world, attacker, service)?;
            for time in 0..times {
                ensure!(!reader.log_in("alice@example.test", &format!("guess{service:?}{time}"))?, "let in");
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
        let mut reader = Reader::connect(world, attacker, Service::Imap)?;
        ensure!(!reader.log_in("bob", "tenth")?, "let in");
        is_dropped(world, attacker)?;
        ensure!(matches!(Client::attempt_on(world, attacker, 143)?, Attempt::Silence), "its SYN is answered");
        let told = why(world, attacker)?;
        let services = ["imap", "pop3", "managesieve", "submission", "smtp"];
        for words in services.into_iter().chain(["as alice@example.test", "as bob", "failed-login"]) {
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
        let _dovecot = servers(world, postfix)?;
        let _agent = Agent::start(world, &settings())?;
        let attacker = "203.0.113.22";
        for guess in 0..10 {
            ensure!(!log_in_by_tls(world, attacker, &format!("guess{guess}"))?, "let in");
        }
        is_dropped(world, attacker)?;
        let told = why(world, attacker)?;
        ensure!(told.matches("as alice@example.test").count() == 10, "{told}");
        // Who is blocked while a connection is open is refused there: only packets that open one are dropped yet.
        let mut readers = Vec::new();
        for service in Service::ALL {
            readers.push(Reader::connect(world, "203.0.113.23", service)?);
        }
        ask(world, &["block", "add", "203.0.113.23"])?;
        for mut reader in readers {
            ensure!(!reader.log_in("alice@example.test", "secret")?, "a blocked client was let in");
        }
        ensure!(failed(world, "203.0.113.23")? == 0, "our own refusal is no failed login");
        Ok(())
    });
}

#[test]
fn what_dovecot_and_both_logs_tell_of_counts_once() {
    in_world(|world, postfix| {
        let dovecot = servers(world, postfix)?;
        let logs = format!(
            "[logs]\nfiles = [{{ path = \"{}\" }}, {{ path = \"{}\", program = \"dovecot\" }}]\n",
            postfix.log_file().display(),
            dovecot.log_file().display()
        );
        let _agent = Agent::start(world, &[settings(), logs].concat())?;
        let attacker = "203.0.113.24";
        for guess in 0..6 {
            ensure!(!log_in_by_tls(world, attacker, &format!("guess{guess}"))?, "let in");
        }
        for service in [Service::Imap, Service::Pop3, Service::Sieve] {
            let mut reader = Reader::connect(world, attacker, service)?;
            ensure!(!reader.log_in("alice@example.test", &format!("guess{service:?}"))?, "let in");
            reader.log_out();
        }
        // Of Postfix's there is news, which is that they are failed logins to SMTP and cost as much.
        wait_until("Postfix's log and Dovecot's", PATIENCE, || {
            let logs = ask(world, &["status"])?["logs"].clone();
            Ok(logs[0]["matches"] == 6 && logs[1]["known"] == 3)
        })
        .with_context(|| dovecot.log())?;
        let told = ask(world, &["why", attacker])?;
        ensure!(told["score"] == 6 * 50, "{told}");
        ensure!(failed(world, attacker)? == 9, "{}", why(world, attacker)?);
        ensure!(verdict(world, attacker)?.0 == "pass", "nine block");
        ensure!(!log_in_by_tls(world, attacker, "tenth")?, "let in");
        is_dropped(world, attacker)
    });
}

#[test]
fn failed_logins_inside_tls_lead_to_a_block_through_postfixs_log_alone() {
    in_world(|world, postfix| {
        let _dovecot = servers(world, postfix)?;
        let files = format!("[logs]\nfiles = [{{ path = \"{}\" }}]\n", postfix.log_file().display());
        let _agent = Agent::start(world, &files)?;
        for guess in 0..9 {
            ensure!(!log_in_by_tls(world, "203.0.113.25", &format!("guess{guess}"))?, "let in");
        }
        counts(world, "203.0.113.25", 9)?;
        ensure!(verdict(world, "203.0.113.25")?.0 == "pass", "nine block");
        ensure!(!log_in_by_tls(world, "203.0.113.25", "tenth")?, "let in");
        is_dropped(world, "203.0.113.25")
    });
}

#[test]
fn a_dovecot_that_sees_the_gateway_instead_of_its_clients_is_told_of() {
    in_world(|world, _| {
        let _dovecot = Dovecot::start(world)?;
        let agent = Agent::start(world, &settings())?;
        for guess in 0..12 {
            // As from a webmail on the gateway.
            let mut reader = world.gateway.enter(|| Reader::dial(GATEWAY_V4, Service::Imap))?;
            ensure!(!reader.log_in("alice@example.test", &format!("guess{guess}"))?, "let in");
        }
        wait_until("the warning", PATIENCE, || {
            Ok(agent.log().contains("let the service see the client's address"))
        })?;
        let mut reader = world.gateway.enter(|| Reader::dial(GATEWAY_V4, Service::Imap))?;
        ensure!(reader.log_in("alice@example.test", "secret")?, "the gateway is refused");
        ensure!(failed(world, GATEWAY_V4)? == 0, "it has failed logins");
        ensure!(ask(world, &["block", "list"])?.as_array().is_some_and(Vec::is_empty), "it is blocked");
        Ok(())
    });
}

/// Asks as Dovecot does.
fn policy(world: &World, command: &str, header: &[&str], body: &str) -> Result<Answer> {
    let (url, json) = (format!("http://{POLICY}/?command={command}"), "Content-Type: application/json");
    ask_from(&world.gateway, &url, &[header, &["-H", json, "-d", body]].concat())
}

#[test]
fn only_the_key_opens_and_who_has_failed_waits() {
    in_world(|world, _| {
        let file = world.scratch().join("dovecot.key");
        std::fs::write(&file, format!("{API_KEY}\n"))?;
        let sections =
            format!("[dovecot]\nlisten = \"{POLICY}\"\napi_key = \"{}\"\ntarpit = 7\n", file.display());
        let agent = Agent::start(world, &sections)?;
        let client = r#"{"login":"alice","remote":"203.0.113.26","protocol":"imap","pwhash":"1f"}"#;
        let (plain, bearer) = (format!("X-API-Key: {API_KEY}"), format!("Authorization: Bearer {API_KEY}"));
        let basic = format!("wforce:{API_KEY}");
        for header in [["-H", plain.as_str()], ["-H", &bearer], ["-u", &basic]] {
            let answer = policy(world, "allow", &header, client)?;
            ensure!(answer.status == 200 && answer.body.contains(r#""status":0"#), "{header:?}: {answer:?}");
        }
        for header in [["-H", "X-API-Key: another-key-of-this"], ["-u", "wforce:x"], ["-H", "Accept: */*"]] {
            let answer = policy(world, "report", &header, client)?;
            ensure!(answer.status == 401, "{header:?}: {answer:?}");
        }
        ensure!(agent.log().contains("auth_policy_server_api_header"), "{}", agent.log());

        let key = ["-H", plain.as_str()];
        for hash in ["1f", "2f", "2f", "3f"] {
            // Of weakforced's own clients, some write truth values as texts.
            let failed = client.replace(r#""1f""#, &format!(r#""{hash}","success":"false""#));
            ensure!(policy(world, "report", &key, &failed)?.status == 200, "a report is refused");
        }
        counts(world, "203.0.113.26", 3)?;
        let answer = policy(world, "allow", &key, client)?;
        ensure!(answer.body.contains(r#""status":7"#), "{answer:?}");
        let other = policy(world, "allow", &key, &client.replace(".26", ".27"))?;
        ensure!(other.body.contains(r#""status":0"#), "{other:?}");
        ask(world, &["block", "add", "203.0.113.26"])?;
        let answer = policy(world, "allow", &key, client)?;
        ensure!(answer.body.contains(r#""status":-1"#), "{answer:?}");

        // What is no request of Dovecot's.
        for (command, body) in [("allow", "{"), ("allow", "7"), ("drop", client), ("allow", "")] {
            ensure!(policy(world, command, &key, body)?.status == 400, "{command} {body}");
        }
        let long = format!(r#"{{"login":"{}"}}"#, "x".repeat(20_000));
        ensure!(policy(world, "allow", &key, &long)?.status == 413, "a long body is read");
        for nobody in [r#"{"remote":""}"#, r#"{"remote":"x"}"#, "{}"] {
            ensure!(policy(world, "allow", &key, nobody)?.status == 200, "{nobody}");
        }
        ensure!(agent.log().contains("auth_policy_request_attributes"), "{}", agent.log());
        Ok(())
    });
}

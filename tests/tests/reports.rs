//! What any program tells: by the API, a datagram or the command line.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use filter_tests::agent::{Agent, ask, cli, verdict};
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::web::{self, SECTION, token};
use filter_tests::world::{GATEWAY_V4, GATEWAY_V6, MAIL, World};

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

#[test]
fn any_program_may_report_by_a_datagram_or_the_command_line() {
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
        let log = ask(world, &["events", "--service", "shop", "--account", "Eve"])?;
        ensure!(log.as_array().is_some_and(|log| log.len() == 1) && log[0]["account"] == "eve", "{log}");
        let log = ask(world, &["events", "--account", "al ice"])?;
        ensure!(log.as_array().is_some_and(|log| log.len() == 2), "{log}");
        let log = ask(world, &["events", "--service", "shop", "--account", "al ice"])?;
        ensure!(log.as_array().is_some_and(Vec::is_empty), "{log}");
        let heard = ask(world, &["report", "203.0.113.30", "--service", "shop", "--ago", "3h"])?;
        ensure!(heard[0]["outcome"] == "too-old", "{heard}");
        let heard = ask(world, &["report", "10.9.9.9", "--service", "shop", "--count", "50"])?;
        ensure!(heard[0]["outcome"] == "logged", "{heard}");
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

#[test]
fn a_report_about_ourselves_is_refused_and_one_about_the_exempt_or_the_past_counts_as_it_must() {
    in_world(|world, _| {
        let agent = Agent::start(world, "")?;
        let tell = |address: &str, more: &[&str]| -> Result<serde_json::Value> {
            let heard = ask(world, &[&["report", address, "--service", "shop"], more].concat())?;
            Ok(heard[0].clone())
        };
        let own = [(MAIL, "mail server"), (GATEWAY_V4, ""), (GATEWAY_V6, ""), ("198.51.100.1", "")];
        for (address, whose) in
            own.into_iter().chain([("127.0.0.1", ""), ("::1", ""), ("::ffff:198.51.100.2", "")])
        {
            let heard = tell(address, &["--count", "50"])?;
            ensure!(heard["outcome"] == "not-a-client", "{address}: {heard}");
            ensure!(heard["whose"].to_string().contains(whose), "{address}: {heard}");
        }
        ensure!(agent.log().contains("let the service see the client's address"), "{}", agent.log());
        let log = ask(world, &["events", "--kind", "offence"])?;
        ensure!(log.as_array().is_some_and(Vec::is_empty), "a refused report is in the log: {log}");

        ask(world, &["never", "add", "203.0.113.31"])?;
        for exempt in ["203.0.113.31", "10.9.9.9"] {
            let heard = tell(exempt, &["--count", "50", "--account", "eve"])?;
            ensure!(heard["outcome"] == "logged", "{exempt}: {heard}");
            let log = ask(world, &["events", "--network", exempt, "--kind", "offence"])?;
            ensure!(log[0]["account"] == "eve" && log[0]["service"] == "shop", "{exempt}: {log}");
        }
        let blocks = ask(world, &["block", "list"])?;
        ensure!(blocks.as_array().is_some_and(Vec::is_empty), "{blocks}");

        // Nine failed logins of 29 minutes ago and one of now are ten within half an hour; of 31 minutes ago they are not.
        for (address, ago, counted) in [("203.0.113.32", "29m", 9), ("203.0.113.33", "31m", 0)] {
            ensure!(tell(address, &["--count", "9", "--ago", ago])?["outcome"] == "counted", "{ago}");
            let why = ask(world, &["why", address])?;
            ensure!(why["failed_logins"] == counted, "{ago}: {why}");
            let log = ask(world, &["events", "--network", address])?;
            let told = log[0]["time"].as_u64().zip(log[0]["reported"]["happened"].as_u64());
            ensure!(told.is_some_and(|(told, happened)| told - happened > 28 * 60_000), "{log}");
            tell(address, &[])?;
        }
        wait_until("the block", Duration::from_secs(5), || Ok(verdict(world, "203.0.113.32")?.0 == "drop"))?;
        ensure!(verdict(world, "203.0.113.33")?.0 == "pass", "what is past has counted");
        Ok(())
    });
}

#[test]
fn over_tcp_an_operator_reports_and_a_viewer_does_not() {
    in_world(|world, _| {
        let _agent = Agent::start(world, SECTION)?;
        let report = r#"{"address":"203.0.113.34","service":"webmail","account":"alice"}"#;
        let tell = |header: &str, body: &str| {
            let json = "Content-Type: application/json";
            web::ask(world, "/api/v1/reports", &["-H", header, "-H", json, "-d", body])
        };
        let (viewer, operator) = (token(world, "grafana", "viewer")?, token(world, "webmail", "operator")?);
        ensure!(tell(&viewer, report)?.status == 403, "a viewer reports");
        ensure!(tell("Authorization: Bearer x", report)?.status == 401, "anybody reports");
        ensure!(failed(world, "203.0.113.34")? == 0, "what was refused counts");
        let answer = tell(&operator, report)?;
        ensure!(answer.status == 200 && answer.body.contains(r#""outcome":"counted""#), "{answer:?}");
        let several = format!("[{report},{},{report}]", report.replace(".34", ".35"));
        let answer = tell(&operator, &several)?;
        ensure!(answer.status == 200 && answer.body.matches("counted").count() == 6, "{answer:?}");
        // One that cannot be taken, and none is.
        let several = format!("[{report},{}]", report.replace("203.0.113.34", "nobody"));
        let answer = tell(&operator, &several)?;
        ensure!(answer.status == 422 && answer.body.contains("report 2: `address`"), "{answer:?}");
        ensure!(failed(world, "203.0.113.34")? == 3, "{}", failed(world, "203.0.113.34")?);
        ensure!(failed(world, "203.0.113.35")? == 1, "the second is somebody else's");
        Ok(())
    });
}

/// Writes a datagram to a socket as a user and a group with that number.
fn send_as(number: &str, socket: &std::path::Path, line: &str) -> Result<bool> {
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        number,
        "--regid",
        number,
        "--clear-groups",
        "perl",
        "-MIO::Socket::UNIX",
        "-e",
    ]);
    command.arg("IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => $ARGV[0])->send($ARGV[1]) or die");
    Ok(command.arg(socket).arg(line).output()?.status.success())
}

#[test]
fn only_its_group_writes_to_the_socket() {
    in_world(|world, _| {
        let path = world.scratch().join("run/reports.sock");
        let sections = format!(
            "[reports]\nsocket = \"{}\"\nsocket_mode = \"0620\"\nsocket_group = \"www-data\"\n",
            path.display()
        );
        std::fs::set_permissions(world.scratch(), std::fs::Permissions::from_mode(0o755))?;
        let agent = Agent::start(world, &sections)?;
        let file = std::fs::symlink_metadata(&path)?;
        ensure!((file.mode() & 0o777, file.gid()) == (0o620, 33), "{:o} {}", file.mode(), file.gid());
        let line = "address=203.0.113.36 service=webmail";
        ensure!(!send_as("65534", &path, line)?, "anybody may write");
        ensure!(send_as("33", &path, line)?, "the group may not");
        counts(world, "203.0.113.36", 1)?;
        // One that a dead agent has left behind is in nobody's way.
        agent.kill()?;
        let agent = Agent::start_again(world)?;
        ensure!(send_as("33", &path, line)?, "the group may not write to the new one");
        counts(world, "203.0.113.36", 2)?;
        agent.stop()?;
        ensure!(!path.exists(), "the socket of an agent that stopped is there");
        Ok(())
    });
}

//! What the agent tells of itself in numbers, as Prometheus reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use filter_tests::agent::{Agent, ask, cli};
use filter_tests::client::{Attempt, Client};
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::prometheus::{Prometheus, promtool};
use filter_tests::web;
use filter_tests::world::{MAIL, World};

const SECTIONS: &str =
    "[sessions]\nmaximum_sessions_per_address = 3\n[ips]\nclient_error_block_threshold = 300\n";

/// Values by their names with labels, as they are written.
fn values(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.rsplit_once(' '));
    pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

fn metrics(world: &World) -> Result<String> {
    let output = cli(world, &["metrics"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn contrib(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib").join(path)
}

/// Three refusals, a message, three wrong recipients and the block that they lead to, and a drop in the kernel.
fn misbehave(world: &World) -> Result<Vec<Client>> {
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Client::greeted(world, "203.0.113.30")?);
    }
    for _ in 0..3 {
        Client::connect(world, "203.0.113.30")?.expect(421)?;
    }
    let mut honest = Client::greeted(world, "203.0.113.40")?;
    honest.deliver("alice@example.test", "counted")?;
    honest.quit()?;
    let mut client = Client::greeted(world, "203.0.113.41")?;
    client.ask("MAIL FROM:<sender@client.example>", 250)?;
    for number in 0..6 {
        let line = format!("RCPT TO:<nobody{number}@example.test>\r\n");
        // The last one is answered by the block.
        if client.send(&line).is_err() || client.read()?.code == 421 {
            break;
        }
    }
    wait_until("a drop in the kernel", Duration::from_secs(20), || {
        Ok(matches!(Client::attempt(world, "203.0.113.41")?, Attempt::Silence))
    })?;
    Ok(held)
}

#[test]
fn what_happened_is_what_is_counted_and_both_sockets_and_promtool_agree() {
    in_world(|world, _| {
        let sections = format!("{SECTIONS}{}", web::SECTION);
        let _agent = Agent::start(world, &format!("{sections}[metrics]\nlisten = \"127.0.0.1:9925\"\n"))?;
        let held = misbehave(world)?;
        let text = metrics(world)?;
        promtool(&["check", "metrics"], &text)?;
        let values = values(&text);
        let expect = |name: &str, wanted: f64| {
            let found = values.get(name).copied().with_context(|| format!("no {name} in\n{text}"))?;
            ensure!((found - wanted).abs() < f64::EPSILON, "{name} is {found}, not {wanted}");
            anyhow::Ok(())
        };
        expect("gatepost_sessions_open{service=\"smtp\",pool=\"public\"}", 3.0)?;
        expect("gatepost_sessions_admitted_total{service=\"smtp\",pool=\"public\"}", 5.0)?;
        expect("gatepost_refusals_total{service=\"smtp\",reason=\"per-address\"}", 3.0)?;
        // The one that misbehaves may have come in once more before the kernel knew.
        let refused = ask(world, &["status"])?["sessions"]["refused"].as_f64().context("no refusals")?;
        expect("gatepost_refusals_total{service=\"smtp\",reason=\"blocked\"}", refused)?;
        expect("gatepost_session_places_taken{book=\"shared\",limit=\"incoming\"}", 3.0)?;
        expect("gatepost_session_places_limit{book=\"shared\",limit=\"per-address\"}", 3.0)?;
        expect("gatepost_messages_total{service=\"smtp\"}", 1.0)?;
        expect("gatepost_offences_total{kind=\"session-overflow\"}", 3.0)?;
        expect("gatepost_offences_total{kind=\"bad-local-rcpt\"}", 6.0)?;
        expect("gatepost_decisions_total{decision=\"block\",origin=\"smtp\"}", 1.0)?;
        expect("gatepost_blocks", 1.0)?;
        expect("gatepost_kernel_map_entries{map=\"BLOCK_HOSTS_V4\"}", 1.0)?;
        expect("gatepost_kernel_map_capacity{map=\"BLOCK_HOSTS_V4\"}", 1_048_576.0)?;
        expect(&format!("gatepost_mail_server_up{{service=\"smtp\",mail_server=\"{MAIL}:25\"}}"), 1.0)?;
        expect("gatepost_session_duration_seconds_count", 2.0)?;
        expect("gatepost_mail_server_connect_duration_seconds_count", 5.0)?;
        // What the books report themselves is no message, and not timed.
        expect("gatepost_decision_duration_seconds_count", 6.0)?;
        let dropped = |reason: &str| {
            values.get(&format!("gatepost_kernel_packets_total{{verdict=\"drop\",reason=\"{reason}\"}}"))
        };
        ensure!(dropped("drop-host").is_some_and(|packets| *packets >= 1.0), "{text}");
        ensure!(!text.contains("203.0.113."), "a client's address is in\n{text}");

        ask(world, &["block", "remove", "203.0.113.41"])?;
        drop(held);
        wait_until("everything given back", Duration::from_secs(10), || {
            let values = crate::values(&metrics(world)?);
            let is =
                |name: &str, wanted: f64| values.get(name).is_some_and(|found| (found - wanted).abs() < 0.5);
            Ok(is("gatepost_sessions_open{service=\"smtp\",pool=\"public\"}", 0.0)
                && is("gatepost_kernel_map_entries{map=\"BLOCK_HOSTS_V4\"}", 0.0)
                && is("gatepost_decisions_total{decision=\"unblock\",origin=\"manual\"}", 1.0))
        })?;
        over_tcp(world)
    });
}

/// With a token over TCP, without one on loopback where that is wanted, and to nobody else.
fn over_tcp(world: &World) -> Result<()> {
    let token = web::token(world, "prometheus", "viewer")?;
    ensure!(web::ask(world, "/metrics", &[])?.status == 401, "a stranger gets in");
    let answer = web::ask(world, "/metrics", &["-H", &token])?;
    ensure!(answer.status == 200 && answer.head.contains("version=0.0.4"), "{answer:?}");
    let accept = "Accept: application/openmetrics-text;version=1.0.0";
    let answer = web::ask(world, "/metrics", &["-H", &token, "-H", accept])?;
    ensure!(answer.head.contains("application/openmetrics-text"), "{answer:?}");
    ensure!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
    let open = |path: &str, arguments: &[&str]| {
        web::ask_from(&world.gateway, &format!("http://127.0.0.1:9925{path}"), arguments)
    };
    let answer = open("/metrics", &[])?;
    ensure!(answer.status == 200 && answer.body.contains("gatepost_blocks 0\n"), "{answer:?}");
    ensure!(open("/api/v1/blocks", &[])?.status == 404, "more than metrics is open");
    ensure!(
        open("/metrics", &["-H", "Host: stranger.example"])?.status == 421,
        "a stranger's page gets them"
    );
    ensure!(open("/metrics", &["-X", "POST"])?.status == 405, "it takes more than questions");
    Ok(())
}

/// Names of metrics in a text, without the suffix of a histogram's buckets.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = words.filter(|word| word.starts_with("gatepost_") || word.starts_with("process_"));
    ours.map(|word| word.trim_end_matches("_bucket").to_owned()).collect()
}

#[test]
fn prometheus_reads_them_and_the_rules_and_the_dashboard_name_only_what_there_is() {
    in_world(|world, _| {
        let rules = contrib("prometheus/gatepost.rules.yml");
        let tests = contrib("prometheus/gatepost.rules.test.yml");
        let path = |path: &Path| path.to_str().map(str::to_owned).context("a path that is no text");
        promtool(&["check", "rules", &path(&rules)?], "")?;
        promtool(&["test", "rules", &path(&tests)?], "")?;

        let _agent = Agent::start(world, web::SECTION)?;
        Client::greeted(world, "203.0.113.42")?.quit()?;
        let there = names(&metrics(world)?);
        let dashboard = fs::read_to_string(contrib("grafana/gatepost.json"))?;
        let panels: serde_json::Value = serde_json::from_str(&dashboard)?;
        ensure!(panels["panels"].as_array().is_some_and(|panels| panels.len() > 20), "no dashboard");
        for text in [dashboard, fs::read_to_string(&rules)?] {
            let missing: Vec<_> = names(&text).difference(&there).cloned().collect();
            ensure!(names(&text).len() > 10 && missing.is_empty(), "there is no {missing:?} in {there:?}");
        }

        let token = web::token(world, "prometheus", "viewer")?;
        let token = token.rsplit(' ').next().context("no token")?;
        let prometheus = Prometheus::start(world, token, &fs::canonicalize(rules)?)?;
        let sessions = "sum(gatepost_sessions_admitted_total)";
        ensure!(prometheus.value(sessions)? == Some(1.0), "{:?}", prometheus.value(sessions)?);
        // It asks for OpenMetrics, and knows the kinds from it.
        let bytes = "process_resident_memory_bytes > 1000000";
        ensure!(prometheus.value(bytes)?.is_some(), "no memory");
        ensure!(prometheus.value("ALERTS{alertstate=\"firing\"}")?.is_none(), "an alert on a quiet gateway");
        Ok(())
    });
}

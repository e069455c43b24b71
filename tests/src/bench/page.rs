//! How long a browser waits for the first byte of each page, and a program for that of each route, on a busy gateway.
//!
//! The agent is the real one, with its filter; the blocks are imported, the event log is written before it starts, and the
//! sessions are held open by real clients meanwhile.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use filter_core::event::{Event, EventId, What};
use filter_core::offence::Kind;
use filter_core::service::ServiceName;
use filter_core::time::Timestamp;
use filter_user::clock;
use filter_user::store::{Entry, Store};

use super::crowd::{Crowd, Family};
use super::hold::{begin, hold, wait_for_sessions};
use super::proxy;
use super::relay::start_sink;
use super::report::{Cell, Report, Table, count};
use crate::agent::Agent;
use crate::tls::{self, Authority};
use crate::web;
use crate::world::{GATEWAY_V4, World};

/// Networks on the block list.
const BLOCKS: usize = 100_000;
/// Events in the log.
const EVENTS: u32 = 1_000_000;
/// Questions to each page.
const QUESTIONS: usize = 40;
/// Events that are handed to the store at once.
const PORTION: u32 = 10_000;
/// Who has many of those events.
const KNOWN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 200);

const SECTIONS: &str = "client_address = \"none\"\n[sessions]\nmaximum_sessions = 20000\n\
                        maximum_incoming_sessions = 20000\nmaximum_sessions_per_address = 0\n\
                        [web]\nlisten = \"127.0.0.1:8025\"\nrequests_per_second = 0\n";

const NOTE: &str = "\
milliseconds until the first byte, of 40 questions one after another over one connection, as an administrator with a token. A
session has two ends; where the machine does not allow so many descriptors, the last sessions are still about to begin with TLS.";

const PATHS: [&str; 29] = [
    "/",
    "/sessions",
    "/blocks",
    "/blocks?q=203.0.113.7",
    "/blocks?q=administrator&sort=since",
    "/never",
    "/events",
    "/events?kind=blocked",
    "/events?network=203.0.113.200",
    "/client?address=203.0.113.200",
    "/settings",
    "/access",
    "/sign-in",
    "/api/v1/status",
    "/api/v1/sessions?limit=100",
    "/api/v1/blocks",
    "/api/v1/blocks/search?limit=100",
    "/api/v1/blocks/search?sort=since&q=203.0&limit=100",
    "/api/v1/blocks/test?address=203.0.113.7",
    "/api/v1/never",
    "/api/v1/events?limit=100",
    "/api/v1/why?address=203.0.113.200",
    "/api/v1/statistics",
    "/api/v1/nearest",
    "/api/v1/policy",
    "/api/v1/config",
    "/api/v1/audit",
    "/health/ready",
    "/metrics",
];

/// Where sessions begin with TLS.
const TLS: &str = "203.0.113.1:465";

/// Measures each of them.
pub fn measure(report: &mut Report) -> Result<()> {
    let whole = proxy::raise_descriptors()?;
    let world = World::new()?;
    remember(&world)?;
    let sink = start_sink(&world)?;
    let files = Authority::new(&world.scratch().join("tls"))?.sign("gateway", &["mx.example.test"])?;
    let certificates = tls::setting(&files);
    let service = format!("[services.submissions]\nlisten = [\"{TLS}\"]\ntls = \"implicit\"\n{certificates}");
    let agent = Agent::start(&world, &format!("{SECTIONS}{service}"))?;
    block(&world)?;
    let token = web::token(&world, "bench", "administrator")?;
    let address = format!("{GATEWAY_V4}:25").parse()?;
    let (rows, kept) = channel();
    hold(&world, address, None, whole, || {
        let silent = begin(&world, TLS.parse()?, whole..proxy::MANY)?;
        wait_for_sessions(&world, proxy::MANY)?;
        for path in PATHS {
            rows.send((path, first_bytes(&world, &token, path)?))?;
        }
        drop(silent);
        Ok(())
    })?;
    drop(rows);
    let heads = ["page or route", "p50", "p99", "largest"];
    let title = format!(
        "first byte with {} blocks, {} events, {} sessions",
        count(BLOCKS),
        count(usize::try_from(EVENTS)?),
        count(proxy::MANY)
    );
    let mut table = Table::new(&title, NOTE, &heads);
    for (path, times) in kept {
        let path = Cell::Text(path.to_owned());
        let at = |percent: usize| times.get((times.len() - 1) * percent / 100).copied().unwrap_or(f64::NAN);
        table.row(if times.is_empty() {
            let missing = || Cell::Missing("no such page");
            vec![path, missing(), missing(), missing()]
        } else {
            vec![path, Cell::Figure(at(50), 1), Cell::Figure(at(99), 1), Cell::Figure(at(100), 1)]
        });
    }
    report.add(&table);
    drop(sink);
    agent.stop()
}

/// Milliseconds, in rising order; none: there is no such page.
fn first_bytes(world: &World, token: &str, path: &str) -> Result<Vec<f64>> {
    let url = format!("{}{path}", web::URL);
    let output = world.gateway.enter(|| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "60", "-H", token, "-w", "%{http_code} %{time_starttransfer}\n"]);
        for _ in 0..QUESTIONS {
            curl.args(["-o", "/dev/null", &url]);
        }
        Ok(curl.output()?)
    })?;
    ensure!(output.status.success(), "curl {url}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let mut times = Vec::new();
    for line in text.lines() {
        let (status, seconds) = line.split_once(' ').context("curl says something else")?;
        if status == "404" {
            return Ok(Vec::new());
        }
        ensure!(status == "200", "{path} is answered {status}");
        times.push(seconds.parse::<f64>()? * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Writes the event log of an earlier agent: a day of offences of a thousand clients.
fn remember(world: &World) -> Result<()> {
    let state = world.scratch().join("state");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (store, _) = Store::open(&state)?;
    let start = clock::now().wall.before(Duration::from_hours(24));
    for from in (0..EVENTS).step_by(usize::try_from(PORTION)?) {
        store.write((from..from + PORTION).map(|number| Entry::Event(event(number, start))).collect());
        runtime.block_on(store.flushed())?;
    }
    Ok(())
}

fn event(number: u32, start: Timestamp) -> Event {
    let who = if number.is_multiple_of(100) { KNOWN } else { Ipv4Addr::from(0x0b00_0000 + number % 1000) };
    let what = What::Offence {
        kind: Kind::BadLocalRcpt,
        number: Kind::BadLocalRcpt.number(),
        multiplier: 50,
        score: 50,
        detail: "RCPT TO:<nobody@example.test>: 550 5.1.1 no such user".to_owned(),
        failed_logins: 0,
        service: ServiceName::SMTP,
        account: None,
        reported: None,
    };
    // The last of them half an hour before now or earlier, so that few still count.
    let time = start.after(Duration::from_millis(u64::from(number) * 80));
    Event { id: EventId(u64::from(number) + 1), time, network: host(who), what, answered_by: None }
}

fn host(address: Ipv4Addr) -> ipnet::IpNet {
    ipnet::IpNet::from(std::net::IpAddr::from(address))
}

/// Fills the block list as an administrator does.
fn block(world: &World) -> Result<()> {
    let networks: Vec<_> = Crowd::new(Family::V4).grow(BLOCKS).iter().map(ToString::to_string).collect();
    let output = web::cli_reading(world, &networks.join("\n"), &["block", "import", "-"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

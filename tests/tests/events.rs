//! The event log by service and account: on its page, as a file, and as it grows.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use filter_tests::agent::{self, Agent};
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::web::{HURRIED, URL, ask, token};
use filter_tests::world::World;

/// What is reported: who, where, about whom.
const REPORTS: [(&str, &str, &str); 4] = [
    ("203.0.113.40", "imap", "alice"),
    ("203.0.113.41", "pop3", "alice"),
    ("203.0.113.42", "imap", "bob & son"),
    ("203.0.113.43", "webmail", "ALICE"),
];

/// Filters, and the places of those reports that they let through.
const FILTERS: [(&str, &[usize]); 5] = [
    ("service=imap", &[0, 2]),
    ("account=alice", &[0, 1, 3]),
    ("service=imap&account=Alice", &[0]),
    ("account=bob%20%26%20son", &[2]),
    ("service=imap&network=203.0.113.42", &[2]),
];

/// What is sent within two seconds of the stream that a page follows, from the first event on; it never ends by itself.
fn followed(world: &World, header: &str, route: &str) -> Result<String> {
    let url = format!("{URL}{route}&after=0");
    let output = world.gateway.enter(|| {
        let mut curl = Command::new("curl");
        Ok(curl.args(["-sS", "-N", "--max-time", "2", "-H", header]).arg(url).output()?)
    })?;
    ensure!(output.status.code() == Some(28), "it ends: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn page_file_and_stream_show_what_a_service_and_an_account_have_met() {
    in_world(|world, _| {
        let _agent = Agent::start(world, HURRIED)?;
        let header = token(world, "reader", "viewer")?;
        for (client, service, account) in REPORTS {
            agent::ask(world, &["report", client, "--service", service, "--account", account])?;
        }
        wait_until("the last event", Duration::from_secs(5), || {
            let log = agent::ask(world, &["events", "--service", "webmail"])?;
            Ok(log.as_array().is_some_and(|log| log.len() == 1))
        })?;
        for (filter, wanted) in FILTERS {
            let page = ask(world, &format!("/events?follow=yes&{filter}"), &["-H", &header])?;
            let file = ask(world, &format!("/events/export?format=csv&{filter}"), &["-H", &header])?;
            ensure!((page.status, file.status) == (200, 200), "{page:?} {file:?}");
            let (_, list) = page.body.split_once("id=\"list\"").unwrap_or_default();
            let (_, route) = page.body.split_once("data-follow=\"").unwrap_or_default();
            let route = route.split('"').next().unwrap_or_default().replace("&amp;", "&");
            let stream = followed(world, &header, &route)?;
            for (shown, text) in [("page", list), ("file", &file.body), ("stream", &stream)] {
                let found: Vec<_> =
                    (0..REPORTS.len()).filter(|place| text.contains(REPORTS[*place].0)).collect();
                ensure!(found == wanted, "{shown} of {filter}: {found:?}\n{text}");
            }
        }
        Ok(())
    });
}

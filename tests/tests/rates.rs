//! How often somebody may ask over TCP.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use filter_tests::agent::{Agent, cli};
use filter_tests::in_world;
use filter_tests::web::{ask_from, token};
use filter_tests::world::{GATEWAY_V4, World};

/// Many requests from an address over one connection; what each was answered.
fn flood(world: &World, from: &str, header: &str) -> Result<Vec<u16>> {
    let url = format!("http://{GATEWAY_V4}:8025/api/v1/status?[1-60]");
    let output = world.internet.enter(|| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--interface", from, "-H", header, "-o", "/dev/null", "-w", "%{http_code}\n"]);
        Ok(curl.arg(&url).output()?)
    })?;
    let codes = String::from_utf8(output.stdout)?;
    codes.lines().map(|code| code.parse().context("no status")).collect()
}

#[test]
fn whoever_asks_too_often_is_told_to_wait_and_nobody_else_is() {
    in_world(|world, _| {
        // One in a second, ten at once.
        let section = format!(
            "[web]\nlisten = \"{GATEWAY_V4}:8025\"\ntrusted_proxies = \"198.51.100.2\"\nrequests_per_second = 1\n"
        );
        let _agent = Agent::start(world, &section)?;
        let [busy, quiet] = [token(world, "busy", "viewer")?, token(world, "quiet", "viewer")?];
        let codes = flood(world, "203.0.113.21", &busy)?;
        ensure!(codes.len() == 60 && codes[..10].iter().all(|code| *code == 200), "{codes:?}");
        ensure!(codes.contains(&429) && codes.iter().all(|code| [200, 429].contains(code)), "{codes:?}");

        let url = format!("http://{GATEWAY_V4}:8025");
        let ask = |from: &str, path: &str, header: &str| {
            ask_from(&world.internet, &format!("{url}{path}"), &["--interface", from, "-H", header])
        };
        let answer = ask("203.0.113.21", "/api/v1/status", &quiet)?;
        ensure!(answer.status == 429, "another token of the same address: {answer:?}");
        ensure!(answer.head.contains("\r\nretry-after: "), "{}", answer.head);
        ensure!(answer.head.contains("application/problem+json"), "{}", answer.head);
        ensure!(answer.body.contains(r#""status":429"#) && answer.body.contains("requests_per_second"));
        let answer = ask("203.0.113.21", "/health/live", &quiet)?;
        ensure!(answer.status == 429, "health: {answer:?}");
        let answer = ask("203.0.113.22", "/api/v1/status", &busy)?;
        ensure!(answer.status == 429, "the same token from elsewhere: {answer:?}");
        let answer = ask("203.0.113.22", "/api/v1/status", &quiet)?;
        ensure!(answer.status == 200, "somebody else: {answer:?}");
        // Pages say it as pages.
        let answer = ask("203.0.113.21", "/sign-in", "Accept: text/html")?;
        ensure!(answer.status == 429 && answer.body.contains("<h1>Too Many Requests</h1>"), "{answer:?}");

        for _ in 0..30 {
            ensure!(cli(world, &["health"])?.status.success(), "the control socket has a limit");
        }
        Ok(())
    });
}

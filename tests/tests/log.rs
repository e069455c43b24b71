//! The agent's own log as another program reads it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use filter_tests::agent::{Agent, ask};
use filter_tests::in_world;
use filter_tests::process::wait_until;
use serde_json::Value;

#[test]
fn every_line_of_the_log_is_one_json_object_with_its_fields() {
    in_world(|world, _| {
        let agent = Agent::start(world, "[log]\nformat = \"json\"\n")?;
        let comment = "a \"quoted\" one {\\}";
        ask(world, &["block", "add", "203.0.113.40", "--comment", comment])?;
        wait_until("the line", Duration::from_secs(5), || Ok(agent.log().contains("203.0.113.40")))?;
        let log = agent.log();
        agent.stop()?;
        let lines: Vec<Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}")))
            .collect::<Result<_>>()?;
        let blocked = lines.iter().find(|line| line["message"] == "blocked").context("no block")?;
        ensure!(blocked["network"] == "203.0.113.40/32" && blocked["reason"] == comment, "{blocked}");
        ensure!(blocked["level"] == "INFO" && blocked["timestamp"].is_string(), "{blocked}");
        let greeting =
            |line: &&Value| line["message"].as_str().is_some_and(|text| text.contains("relays to"));
        ensure!(lines.iter().any(|line| greeting(&line)), "no greeting: {log}");
        Ok(())
    });
}

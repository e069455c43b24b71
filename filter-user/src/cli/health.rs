//! `gatepost health` and `gatepost metrics`: for scripts, timers and containers.

use serde_json::Value;

use super::table;
use super::{Failure, Output};
use crate::control::Client;

/// Says whether the agent can do what it is for; the exit code says it, too.
pub(super) async fn health(client: &Client, output: Output) -> Result<(), Failure> {
    let answer: Value = client.get("/health/ready").await?;
    if output.json { table::json(&answer) } else { Ok(table::line("ready")?) }
}

/// Prints the metrics as Prometheus reads them.
pub(super) async fn metrics(client: &Client) -> Result<(), Failure> {
    Ok(table::line(client.text("/metrics").await?.trim_end())?)
}

//! `gatepost policy`: limits and multipliers as the running agent has them in force.

use std::time::Duration;

use super::table::{self, Table, duration};
use super::{Failure, Output};
use crate::control::{Client, PolicyView};

pub(super) async fn show(client: &Client, output: Output) -> Result<(), Failure> {
    let policy: PolicyView = client.get("/api/v1/policy").await?;
    if output.json {
        return table::json(&policy);
    }
    let span = |seconds| duration(Duration::from_secs(seconds));
    let mut facts = Table::new(&["mode", &policy.mode]);
    let threshold = format!("a score of {} within {}", policy.threshold, span(policy.monitor_period));
    facts.row(&["blocks", &format!("{threshold}, for {} ({})", span(policy.block_time), policy.evaluate)]);
    let logins = match policy.failed_login_threshold {
        0 => "do not block".to_owned(),
        count => format!(
            "{count} within {} block for {}",
            span(policy.login_monitor_period),
            span(policy.login_block_time)
        ),
    };
    facts.row(&["failed logins", &logins]);
    facts.print()?;
    let mut limits = Table::new(&["SERVICE", "SESSIONS", "INCOMING", "RESERVED", "PER ADDRESS"]);
    for book in policy.limits {
        limits.row(&[
            book.service.unwrap_or_else(|| "all others".to_owned()),
            book.maximum_sessions.to_string(),
            book.maximum_incoming_sessions.to_string(),
            book.sessions_to_reserve.to_string(),
            book.maximum_sessions_per_address.to_string(),
        ]);
    }
    limits.print()?;
    let mut weights = Table::new(&["NO.", "EVENT", "MULTIPLIER", "BLOCKS ALONE AFTER"]);
    for weight in policy.events {
        let alone = weight.blocks_alone_after;
        weights.row(&[
            weight.number.to_string(),
            weight.event.name().to_owned(),
            weight.multiplier.to_string(),
            alone.map_or_else(|| "never: it is only logged".to_owned(), |count| count.to_string()),
        ]);
    }
    Ok(weights.print()?)
}

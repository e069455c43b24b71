//! `gatepost statistics`: the events of the last day, and who is nearest to being blocked.

use super::table::{self, Table, network};
use super::{Failure, Output};
use crate::control::{Client, Statistics};

pub(super) async fn show(client: &Client, output: Output) -> Result<(), Failure> {
    let statistics: Statistics = client.get("/api/v1/statistics").await?;
    if output.json {
        return table::json(&statistics);
    }
    let Statistics { events, watched, threshold, nearest, .. } = statistics;
    if events.is_empty() {
        table::line("nothing worth an event has happened in the last 24 hours")?;
    } else {
        let mut kinds: Vec<_> =
            events.into_iter().map(|(name, hours)| (hours.iter().sum::<u64>(), name, hours)).collect();
        kinds.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let mut table = Table::new(&["EVENT", "24 HOURS", "LAST HOUR", "BUSIEST HOUR"]);
        for (total, name, hours) in kinds {
            let last = hours.last().copied().unwrap_or_default();
            let most = hours.iter().copied().max().unwrap_or_default();
            table.row(&[name, total.to_string(), last.to_string(), most.to_string()]);
        }
        table.print()?;
    }
    table::line(&format!("{watched} clients have a score; {threshold} blocks"))?;
    if nearest.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["NEAREST", "SCORE"]);
    for client in nearest {
        table.row(&[network(&client.scope), client.score.to_string()]);
    }
    Ok(table.print()?)
}

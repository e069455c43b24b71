//! `gatepost audit`: who did what, and from where.

use filter_core::access::Audit;

use super::table::{self, Table, time};
use super::{Failure, Output};
use crate::control::Client;

pub(super) async fn show(client: &Client, output: Output) -> Result<(), Failure> {
    let lines: Vec<Audit> = client.get("/api/v1/audit").await?;
    if output.json {
        return table::json(&lines);
    }
    if lines.is_empty() {
        return Ok(table::line("nobody has changed anything yet")?);
    }
    let mut table = Table::new(&["TIME", "WHO", "FROM", "WHAT"]);
    for Audit { time: at, author, origin, what } in lines {
        table.row(&[time(at), author, origin, what]);
    }
    Ok(table.print()?)
}

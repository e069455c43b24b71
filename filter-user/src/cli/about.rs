//! `gatepost about`: which agent runs, and what its API can do.

use super::table::{self, Table};
use super::{Failure, Output};
use crate::control::{About, Client};

pub(super) async fn show(client: &Client, output: Output) -> Result<(), Failure> {
    let about: About = client.get("/api/v1").await?;
    if output.json {
        return table::json(&about);
    }
    let mut table = Table::new(&["agent", &format!("{} {} as {}", about.program, about.version, about.name)]);
    table.row(&["API", &format!("{}, described at {}", about.api, about.openapi)]);
    table.row(&["can", &about.capabilities.join(", ")]);
    Ok(table.print()?)
}

//! `gatepost reload`.

use super::{Failure, Output, table};
use crate::control::Client;

pub(super) async fn reload(client: &Client, output: Output) -> Result<(), Failure> {
    let waiting: Vec<String> = client.post("/api/v1/reload", &()).await?;
    if output.json {
        return table::json(&waiting);
    }
    table::line("the configuration is in force; scores, lists and sessions stay")?;
    if !waiting.is_empty() {
        table::line(&format!("{} take effect when the agent starts again", waiting.join(", ")))?;
    }
    Ok(())
}

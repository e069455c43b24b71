//! `gatepost check-config`: what a file means, in the numbers that an administrator thinks in.

use std::path::Path;

use filter_core::offence::Kind;

use super::Failure;
use super::table::{self, Table, duration};
use crate::config::Config;

pub(super) fn check(file: Option<&Path>) -> Result<(), Failure> {
    let config = Config::load(file)?;
    let name = config
        .file
        .as_ref()
        .map_or_else(|| "built-in defaults".to_owned(), |file| file.display().to_string());
    let policy = &config.policy;
    table::line(&format!("{name}: good"))?;
    table::line(&format!(
        "a client is blocked for {} when its events of the last {} add up to {}:",
        duration(policy.block_time),
        duration(policy.monitor_period),
        policy.block_threshold
    ))?;
    let mut table = Table::new(&["NO.", "EVENT", "MULTIPLIER", "BLOCKS ALONE AFTER"]);
    for kind in Kind::ALL {
        let multiplier = policy.multipliers.get(kind);
        let alone = match multiplier {
            0 => "never: it is only logged".to_owned(),
            _ => policy.block_threshold.div_ceil(multiplier).to_string(),
        };
        table.row(&[kind.number().to_string(), kind.name().to_owned(), multiplier.to_string(), alone]);
    }
    Ok(table.print()?)
}

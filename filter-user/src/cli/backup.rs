//! `gatepost backup`.

use std::path::Path;

use super::table::{self, bytes};
use super::{Failure, Output};
use crate::config::Config;
use crate::store;

pub(super) fn show(config: &Config, file: &Path, force: bool, output: Output) -> Result<(), Failure> {
    let copied = store::backup(&config.state_directory, file, force)?;
    if output.json {
        return table::json(&copied);
    }
    let (size, file) = (bytes(copied.bytes), file.display());
    Ok(table::line(&format!(
        "{file}: {} blocks, {} never-block entries and {} events in {size}",
        copied.blocks, copied.never, copied.events
    ))?)
}

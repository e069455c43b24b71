//! `gatepost load` and `gatepost unload`: the kernel filter without an agent.

use super::{Failure, table};
use crate::config::Config;
use crate::{agent, kernel};

pub(super) async fn load(mut config: Config, interfaces: Vec<String>) -> Result<(), Failure> {
    config.kernel.enabled = true;
    if !interfaces.is_empty() {
        config.kernel.interfaces = interfaces;
    }
    for attachment in agent::load_alone(&config).await? {
        table::line(&format!("attached to {} ({})", attachment.interface, attachment.mode.name()))?;
    }
    Ok(())
}

pub(super) fn unload(config: &Config) -> Result<(), Failure> {
    let interfaces = kernel::unload(&config.kernel.pin_directory)?;
    let places = if interfaces.is_empty() { "no interface".to_owned() } else { interfaces.join(", ") };
    Ok(table::line(&format!("taken off {places}; its maps are removed"))?)
}

//! `gatepost run`.

use super::Failure;
use crate::agent;
use crate::config::Config;

pub(super) fn run(config: &Config, unload_on_exit: bool) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(agent::run(config, unload_on_exit))?)
}

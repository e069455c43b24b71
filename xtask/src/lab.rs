//! `cargo xtask lab`.

use anyhow::Result;

use crate::build::build;
use crate::setup::{Purpose, ready};
use crate::shell::{as_root, become_program, cargo, run, target};

/// Builds the world and keeps it until Ctrl-C.
pub(crate) fn lab() -> Result<()> {
    ready(Purpose::Test)?;
    build(false)?;
    run(&mut cargo(&["build", "--package", "filter-tests", "--bin", "lab"]))?;
    become_program(&mut as_root(target().join("debug/lab"))?)
}

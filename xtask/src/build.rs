//! `cargo xtask build`.

use std::path::PathBuf;

use anyhow::Result;

use crate::setup::{Purpose, ready};
use crate::shell::{cargo, run, target};

/// Builds the program; says where it is.
pub(crate) fn build(release: bool) -> Result<PathBuf> {
    ready(Purpose::Build)?;
    let mut command = cargo(&["build", "--package", "filter-user"]);
    let profile = if release {
        command.arg("--release");
        "release"
    } else {
        "debug"
    };
    run(&mut command)?;
    let program = target().join(profile).join("gatepost");
    println!("built {}", program.display());
    Ok(program)
}

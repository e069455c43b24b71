//! What tries the API against its own description: schemathesis, in a folder of its own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::packages;
use crate::shell::{self, output, quietly};

const VERSION: &str = "4.32.5";

/// Installs it if it is missing or of another version; says where it is.
pub(super) fn install() -> Result<PathBuf> {
    let folder = shell::target().join("schemathesis");
    let program = folder.join("bin/schemathesis");
    let installed = program.to_str().and_then(|program| output(program, &["--version"]));
    if installed.is_some_and(|text| text.trim().ends_with(VERSION)) {
        return Ok(program);
    }
    packages::install(&["python3-venv"], "trying the API against its description")?;
    println!("setup: installing schemathesis {VERSION} under {}", folder.display());
    let log = super::logs().join("schemathesis.log");
    // Not another Python that happens to be in front: the package above belongs to this one.
    quietly(Command::new("/usr/bin/python3").args(["-m", "venv", "--clear"]).arg(&folder), &log)?;
    let wanted = format!("schemathesis=={VERSION}");
    let mut pip = Command::new(folder.join("bin/pip"));
    quietly(pip.args(["install", "--quiet", "--disable-pip-version-check", &wanted]), &log)?;
    Ok(program)
}

//! `cargo xtask run`: the agent, and without arguments a first try that changes nothing for good.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::build::build;
use crate::setup::{Purpose, ready};
use crate::shell::{as_root, become_program, target};

/// Generic mode, because attaching in the driver can reset a network card; pins and state of its own, because a
/// gateway's own filter may be running beside it.
const FIRST_TRY: &str = "\
# Written by `cargo xtask run`; everything else is the built-in defaults.
[kernel]
attach = \"generic\"
pin_directory = \"/sys/fs/bpf/gatepost-first-try\"
";

/// Gone with the next start of the machine.
const STATE: &str = "/run/gatepost-first-try";

/// Builds and becomes the agent.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    ready(Purpose::Run)?;
    // A debug build: it is there in half the time, and a first try is not about speed.
    let program = build(false)?;
    let mut command = as_root(program)?;
    command.arg("run");
    if arguments.is_empty() {
        command.arg("--config").arg(first_try()?).arg("--unload-on-exit");
    } else {
        command.args(arguments);
    }
    become_program(&mut command)
}

fn first_try() -> Result<PathBuf> {
    let folder = target().join("first-try");
    fs::create_dir_all(&folder).context("cannot write to the target folder")?;
    let path = folder.join("gatepost.toml");
    // Not in the target folder: what root writes there, `cargo clean` cannot remove.
    let places = format!("state_directory = \"{STATE}\"\ncontrol_socket = \"{STATE}/control.sock\"\n");
    let text = FIRST_TRY.replacen("[kernel]", &format!("{places}[kernel]"), 1);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

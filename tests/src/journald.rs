//! A journal of its own: the real systemd-journald in a mount name space, without systemd.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

use anyhow::{Context, Result};

use crate::process::Process;
use crate::world::World;

/// Starts it over a /run that is empty but for the journal's folder $1, and logs what comes in under the name $2.
const START: &str = "\
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
mount --bind \"$1\" /run/log/journal
/lib/systemd/systemd-journald &
journald=$!
trap 'kill $journald' EXIT
trap : TERM
until [ -S /run/systemd/journal/stdout ]; do sleep 0.05; done
systemd-cat -t \"$2\" cat";

/// A running journal, and a program that logs to it.
#[derive(Debug)]
pub struct Journald {
    folder: PathBuf,
    input: ChildStdin,
    _process: Process,
}

impl Journald {
    /// Starts one for a program of this name.
    pub fn start(world: &World, program: &str) -> Result<Self> {
        let folder = world.scratch().join("journal");
        fs::create_dir_all(&folder)?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", START, "sh"]).arg(&folder).arg(program);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start systemd-journald")?;
        let input = child.stdin.take().context("no pipe")?;
        Ok(Self { folder, input, _process: Process::new(child) })
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Logs a message.
    pub fn log(&mut self, message: &str) -> Result<()> {
        Ok(writeln!(self.input, "{message}")?)
    }
}

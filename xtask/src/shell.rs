//! Running commands: as ourselves, as root, quietly.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::unistd::Uid;

/// The folder of the checkout.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

/// The folder that builds write to.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Cargo, in the checkout.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// A command as root: as it is if we are, else through sudo.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Result<Command> {
    if Uid::effective().is_root() {
        return Ok(Command::new(program));
    }
    ensure!(
        finds("sudo"),
        "this needs root for `{}`; run it as root, or install sudo",
        program.as_ref().to_string_lossy()
    );
    let mut command = Command::new("sudo");
    command.arg(program);
    Ok(command)
}

/// Whether a program is in the path.
pub(crate) fn finds(program: &str) -> bool {
    which(program).is_some()
}

/// Where in the path a program is.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Runs a command to its end, its output where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", words(command)))?;
    ensure!(status.success(), "{} failed", words(command));
    Ok(())
}

/// Runs a command to its end, its output in a file that is shown only if it fails.
pub(crate) fn quietly(command: &mut Command, log: &Path) -> Result<()> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    if let Err(error) = run(command) {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        let tail: Vec<_> = said.lines().rev().take(20).collect();
        bail!("{error}:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}

/// What a command prints; none if it cannot be run or fails.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    // What is read must not be translated.
    let mut command = Command::new(program);
    let output = command.args(arguments).env("LC_ALL", "C").stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Becomes another program, so that signals reach it and its exit code is ours.
pub(crate) fn become_program(command: &mut Command) -> Result<()> {
    Err(anyhow!(command.exec()).context(format!("cannot run {}", words(command))))
}

fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

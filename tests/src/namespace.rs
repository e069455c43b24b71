//! One network name space, and running things inside it.
//!
//! Not through `ip netns exec`: that mounts a new /sys and hides the BPF file system. A thread that has entered the name
//! space runs the closure, and whatever it opens or starts belongs there.

use std::fs::File;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, setns};

/// A name space under /run/netns, removed when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a name space whose loopback is up.
    pub fn new(name: String) -> Result<Self> {
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name, for `ip -n NAME`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` on it.
    pub fn ip(&self, arguments: &[&str]) -> Result<()> {
        ip(&[&["-n", &self.name], arguments].concat())
    }

    /// Runs a closure in it.
    pub fn enter<T: Send>(&self, job: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let file = File::open(format!("/run/netns/{}", self.name))?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&file, CloneFlags::CLONE_NEWNET)
                    .context("cannot enter a name space; the lab needs root")?;
                job()
            });
            inside.join().unwrap_or_else(|_| bail!("a job in the name space {} panicked", self.name))
        })
    }

    /// Runs a command in it to its end; its output is part of the error if it fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        self.enter(|| succeed(Command::new(program).args(arguments)))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A name space that cannot be removed now is swept by the next world.
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

/// Runs `ip`.
pub fn ip(arguments: &[&str]) -> Result<()> {
    succeed(Command::new("ip").args(arguments))
}

/// Runs a command to its end; its output is part of the error if it fails.
pub fn succeed(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        said
    );
    Ok(())
}

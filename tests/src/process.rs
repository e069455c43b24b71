//! A process that a world started, ended when dropped.

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a process may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(10);

/// A child with an owner.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Takes a child over.
    pub const fn new(child: Child) -> Self {
        Self { child }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("a process id that is none")?;
        Ok(kill(Pid::from_raw(pid), signal)?)
    }

    /// Sends a signal and waits for the end.
    pub fn end(&mut self, signal: Signal) -> Result<ExitStatus> {
        self.signal(signal)?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("process {} does not end at {signal}", self.child.id())
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Asked first, because a mail server's master ends its own children; then made to.
            if self.end(Signal::SIGTERM).is_err() {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
    }
}

/// Whether a process still runs. One that has ended, but whose parent has not yet asked how, is dead: it keeps its
/// folder in /proc, but has no program there any more (`proc_pid_exe(5)`). One that may not be looked at lives.
pub fn lives(pid: u32) -> bool {
    let program = std::fs::read_link(format!("/proc/{pid}/exe"));
    program.err().is_none_or(|error| error.kind() != std::io::ErrorKind::NotFound)
}

/// Waits until something is so, for at most `limit`.
pub fn wait_until(what: &str, limit: Duration, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if so()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("{what} did not happen within {limit:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_nobody_has_buried_is_dead() -> Result<()> {
        assert!(lives(std::process::id()));
        let mut child = std::process::Command::new("true").spawn()?;
        wait_until("the end of `true`", PATIENCE, || Ok(!lives(child.id())))?;
        let folder = format!("/proc/{}", child.id());
        assert!(std::path::Path::new(&folder).exists(), "it is buried only now");
        child.wait()?;
        assert!(!std::path::Path::new(&folder).exists());
        Ok(())
    }
}

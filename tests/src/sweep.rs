//! Removing what a crash left behind.
//!
//! Everything that a world makes bears the process id of its owner. What belongs to a process that is no more is
//! removed: the processes in its name spaces, the name spaces, the pins and the scratch folder.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Result;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::namespace::ip;
use crate::process::lives;
use crate::world::{PINS, PREFIX, SCRATCH};

/// Removes the worlds of dead owners.
pub fn sweep() -> Result<()> {
    for name in names(Path::new("/run/netns"))? {
        if is_orphan(&name, PREFIX) {
            end_inhabitants(&name)?;
            // Somebody else may be sweeping, too.
            let _ = ip(&["netns", "delete", &name]);
        }
    }
    for (directory, prefix) in [(Path::new("/sys/fs/bpf"), PINS), (&std::env::temp_dir(), SCRATCH)] {
        for name in names(directory)? {
            if is_orphan(&name, prefix) {
                let _ = fs::remove_dir_all(directory.join(name));
            }
        }
    }
    Ok(())
}

/// Whether a name is made of this prefix and the id of a process that is no more.
fn is_orphan(name: &str, prefix: &str) -> bool {
    let owner =
        name.strip_prefix(prefix).and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse().ok());
    owner.is_some_and(|pid| !lives(pid))
}

/// Ends whoever still lives in a name space that is about to go.
fn end_inhabitants(name: &str) -> Result<()> {
    let Ok(space) = fs::metadata(format!("/run/netns/{name}")) else { return Ok(()) };
    for pid in names(Path::new("/proc"))?.iter().filter_map(|name| name.parse::<i32>().ok()) {
        let lives_there =
            fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|net| net.ino() == space.ino());
        if lives_there {
            // It may have ended by itself meanwhile.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    Ok(())
}

/// The names in a directory; none if there is no such directory.
fn names(directory: &Path) -> Result<Vec<String>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(directory)?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_dead_are_swept() {
        let own = std::process::id();
        assert!(!is_orphan(&format!("gatepost-lab-{own}-0-mail"), "gatepost-lab-"));
        assert!(
            is_orphan("gatepost-lab-4194305-0-mail", "gatepost-lab-"),
            "beyond the largest process id of Linux"
        );
        assert!(!is_orphan("gatepost-lab-x-0-mail", "gatepost-lab-"));
        assert!(!is_orphan("other", "gatepost-lab-"));
    }
}

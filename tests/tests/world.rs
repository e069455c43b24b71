//! The lab itself: what is made is removed, even after a crash.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use filter_tests::process::{Process, lives, wait_until};
use filter_tests::world::{PREFIX, SCRATCH, World};
use nix::sys::signal::Signal;

const VICTIM: &str = "GATEPOST_LAB_VICTIM";

fn spaces_of(pid: u32) -> usize {
    let prefix = format!("{PREFIX}{pid}-");
    // The directory comes with the first name space.
    let names = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    names.filter(|name| name.file_name().to_string_lossy().starts_with(&prefix)).count()
}

#[test]
fn a_world_whose_owner_was_killed_is_swept_by_the_next() -> Result<()> {
    if std::env::var_os(VICTIM).is_some() {
        // The victim: it makes a world with an inhabitant and waits to be killed.
        let world = World::new()?;
        let inhabitant = world.mail.enter(|| Ok(Command::new("sleep").arg("60").spawn()?))?;
        std::fs::write(world.scratch().join("inhabitant"), inhabitant.id().to_string())?;
        std::thread::sleep(Duration::from_mins(1));
        return Ok(());
    }
    let own = std::env::current_exe()?;
    let arguments = ["--exact", "a_world_whose_owner_was_killed_is_swept_by_the_next"];
    let child = Command::new(own).args(arguments).env(VICTIM, "1").stdout(Stdio::null()).spawn()?;
    let pid = child.id();
    let mut victim = Process::new(child);
    wait_until("the victim's world", Duration::from_secs(20), || Ok(spaces_of(pid) == 3))?;
    let note = std::env::temp_dir().join(format!("{SCRATCH}{pid}-0/inhabitant"));
    // There, but still empty, is not yet a note.
    let read = || std::fs::read_to_string(&note).ok()?.parse::<u32>().ok();
    wait_until("the note about its inhabitant", Duration::from_secs(5), || Ok(read().is_some()))?;
    let inhabitant = read().context("the note about the inhabitant is gone")?;
    victim.end(Signal::SIGKILL)?;
    ensure!(lives(inhabitant), "the inhabitant did not outlive its world's owner");
    ensure!(spaces_of(pid) == 3, "nobody was there to remove it");
    let world = World::new()?;
    ensure!(spaces_of(pid) == 0, "the next world did not sweep it");
    wait_until("the inhabitant's end", Duration::from_secs(5), || Ok(!lives(inhabitant)))?;
    let (scratch, own) = (world.scratch().to_path_buf(), std::process::id());
    drop(world);
    ensure!(!scratch.exists() && spaces_of(own) == 0, "a world that is dropped leaves something");
    Ok(())
}

//! What the running kernel must offer.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::shell::{as_root, run};

/// The oldest kernel that the filter loads on: the first that lets an XDP program see frames in several buffers.
const OLDEST: (u32, u32) = (5, 18);
const BPFFS: &str = "/sys/fs/bpf";

/// Refuses kernels that are too old.
pub(super) fn check() -> Result<()> {
    let release =
        fs::read_to_string("/proc/sys/kernel/osrelease").context("cannot read the kernel's version")?;
    let release = release.trim();
    ensure!(
        version(release).is_none_or(|version| version >= OLDEST),
        "Linux {release} is too old for the kernel filter; it needs {}.{} or newer",
        OLDEST.0,
        OLDEST.1
    );
    Ok(())
}

/// Mounts the BPF file system if nobody has.
pub(super) fn mount_bpffs() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the list of mounts")?;
    if is_mounted(&mounts) {
        return Ok(());
    }
    println!("setup: mounting the BPF file system on {BPFFS}, where the filter's maps are pinned");
    run(as_root("mount")?.args(["-t", "bpf", "bpf", BPFFS])).context(
        "this container or kernel does not let a BPF file system be mounted; run it where BPF is allowed",
    )
}

fn is_mounted(mounts: &str) -> bool {
    mounts.lines().any(|line| line.split(' ').nth(1) == Some(BPFFS))
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("6.1.0-30-cloud-amd64"), Some((6, 1)));
        assert_eq!(version("5.9"), Some((5, 9)));
        assert!(version("5.9") < Some(OLDEST) && version("5.18.2") >= Some(OLDEST));
        assert_eq!(version("next"), None);
    }

    #[test]
    fn the_mount_is_found_by_its_place() {
        assert!(is_mounted("proc /proc proc rw 0 0\nbpf /sys/fs/bpf bpf rw 0 0\n"));
        assert!(!is_mounted("tmpfs /sys/fs/bpfx tmpfs rw 0 0\n"));
    }
}

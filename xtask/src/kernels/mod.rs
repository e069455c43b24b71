//! `cargo xtask test --kernels`: the release filter on the kernels of Debian's releases, and on the one that runs.
//!
//! On each of them `checks.sh` loads it, blocks, connects, and takes it off again: on the running kernel in name spaces
//! of its own, on the others in a guest that boots their image under emulation. Images and
//! emulator are unpacked and not installed, and nothing outlives a trial but its logs.

mod guest;
mod here;
mod image;
mod initramfs;
mod report;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::libc::SIGKILL;

use crate::build::build;
use crate::setup::{Purpose, ready};
use crate::shell::target;
use report::Report;

/// Series of Linux beside the running one: Debian 12's own, and Debian 13's, which Debian 12 has as well.
const SERIES: [&str; 2] = ["6.1", "6.12"];

/// Longest trial, in seconds: about five times what one takes under emulation. A guest that hangs is killed.
const PATIENCE: &str = "120";

/// What both kinds of trial run.
const CHECKS: &str = include_str!("checks.sh");

/// Tries all of them, the cheapest first, and tells of each before it complains about any.
pub(crate) fn kernels() -> Result<()> {
    ensure!(
        std::env::consts::ARCH == "x86_64",
        "the kernels to try are those of x86-64; run this on such a machine"
    );
    ready(Purpose::Kernels)?;
    let program = build(true)?;
    let mut failures = 0;
    failures += trial("the running kernel", || here::run(&program)?.check(""));
    for series in SERIES {
        failures += trial(&format!("Linux {series}"), || {
            guest::run(&image::of(series)?, &program)?.check(&format!("{series}."))
        });
    }
    ensure!(failures == 0, "the filter failed on {failures} of {} kernels", SERIES.len() + 1);
    println!("the filter works on every kernel");
    Ok(())
}

/// Runs one, and counts its failures.
fn trial(kernel: &str, run: impl FnOnce() -> Result<Report>) -> u32 {
    println!("kernels: trying {kernel}");
    let start = Instant::now();
    match run() {
        Ok(report) => {
            println!("kernels: {report} ({} s)", start.elapsed().as_secs());
            0
        }
        Err(error) => {
            println!("kernels: {kernel} failed: {error:#}");
            1
        }
    }
}

/// Whether `timeout` has killed; it then ends by the signal itself, or as shells tell of it.
fn is_timeout(status: ExitStatus) -> bool {
    status.code() == Some(128 + SIGKILL) || status.signal() == Some(SIGKILL)
}

/// A folder for images, guests and logs.
fn folder(name: &str) -> Result<PathBuf> {
    let path = target().join("kernels").join(name);
    std::fs::create_dir_all(&path).with_context(|| cannot_write(&path))?;
    Ok(path)
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

//! A trial on another kernel, in an emulated machine without disk or network.
//!
//! Emulated, not virtualised: where this runs, KVM is often missing or, in machines that are guests themselves, hangs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, ensure};

use super::image::Image;
use super::report::{Report, tail};
use super::{PATIENCE, folder, initramfs, is_timeout};
use crate::setup::beside::emulator;

/// The kernel talks on the first serial line; a panic ends the machine, since it may not restart.
const COMMAND_LINE: &str = "console=ttyS0 panic=-1";

/// Boots the image and runs the checks to their end.
pub(super) fn run(image: &Image, program: &Path) -> Result<Report> {
    let folder = folder(&image.package)?;
    let initramfs = initramfs::make(&folder, program, &image.veth)?;
    let (console, report) = (folder.join("console.log"), folder.join("report.log"));
    let mut command = Command::new("timeout");
    // In the foreground, so that Ctrl-C reaches it.
    command.args(["--foreground", "--signal=KILL", PATIENCE]);
    let mut command = emulator(command);
    command.args([
        "-accel",
        "tcg",
        "-cpu",
        "max",
        "-m",
        "1024",
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
    ]);
    command.args(["-append", COMMAND_LINE]);
    command.arg("-kernel").arg(&image.kernel).arg("-initrd").arg(initramfs);
    // Two lines, so that a word of the kernel cannot fall into the middle of the report's.
    for file in [&console, &report] {
        // Not the last trial's, if this one does not get as far.
        let _ = fs::remove_file(file);
        command.arg("-serial").arg(format!("file:{}", file.display()));
    }
    let status = command.stdin(Stdio::null()).status();
    let status = status.context("cannot run the emulator under timeout")?;
    let read = |path: &Path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let place = console.display();
    let (said, report) = (read(&console).unwrap_or_default(), read(&report).unwrap_or_default());
    let console = format!("{place} ends with\n{}", tail(&said));
    let both = || format!("the report ends with\n{}\n{console}", tail(&report));
    ensure!(!is_timeout(status), "it was not done after {PATIENCE} s; {}", both());
    ensure!(status.success(), "the emulator ended with {status}; {}", both());
    // After the error's own sentence, which is what to read first.
    Report::read(&report).map_err(|error| anyhow!("{error}\n{console}"))
}

//! What a packet costs in the kernel; run by `cargo xtask bench kernel`, as root.

use std::path::PathBuf;

use anyhow::{Context, Result};
use filter_tests::bench::packet;
use filter_tests::bench::report::Report;

fn main() -> Result<()> {
    // `cargo bench` adds a flag of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let folder = arguments.next().context("say where to write the figures, or use `cargo xtask bench kernel`")?;
    let mut report = Report::new("kernel", PathBuf::from(folder));
    packet::measure(&mut report)?;
    report.write()
}

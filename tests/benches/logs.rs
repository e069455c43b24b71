//! How many log lines are read in a second; run by `cargo xtask bench logs`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use filter_tests::bench::digest;
use filter_tests::bench::report::Report;

fn main() -> Result<()> {
    // `cargo bench` adds a flag of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let folder =
        arguments.next().context("say where to write the figures, or use `cargo xtask bench logs`")?;
    let mut report = Report::new("logs", PathBuf::from(folder));
    digest::measure(&mut report)?;
    report.write()
}

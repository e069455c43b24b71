//! Refusals and idle sessions; run by `cargo xtask bench reject`, as root.

use std::path::PathBuf;

use anyhow::{Context, Result};
use filter_tests::bench::refuse;
use filter_tests::bench::report::Report;

fn main() -> Result<()> {
    // `cargo bench` adds a flag of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let folder =
        arguments.next().context("say where to write the figures, or use `cargo xtask bench reject`")?;
    let mut report = Report::new("reject", PathBuf::from(folder));
    refuse::measure(&mut report)?;
    report.write()
}

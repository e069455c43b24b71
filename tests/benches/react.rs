//! From a refusal to the entry in the kernel; run by `cargo xtask bench react`, as root.

use std::path::PathBuf;

use anyhow::{Context, Result};
use filter_tests::bench::reaction;
use filter_tests::bench::report::Report;

fn main() -> Result<()> {
    // `cargo bench` adds a flag of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let folder =
        arguments.next().context("say where to write the figures, or use `cargo xtask bench react`")?;
    let mut report = Report::new("react", PathBuf::from(folder));
    reaction::measure(&mut report)?;
    report.write()
}

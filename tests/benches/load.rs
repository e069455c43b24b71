//! How long it takes to fill the kernel's lists; run by `cargo xtask bench load`, as root.

use std::path::PathBuf;

use anyhow::{Context, Result};
use filter_tests::bench::feed;
use filter_tests::bench::report::Report;

fn main() -> Result<()> {
    // `cargo bench` adds a flag of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let folder =
        arguments.next().context("say where to write the figures, or use `cargo xtask bench load`")?;
    let mut report = Report::new("load", PathBuf::from(folder));
    feed::measure(&mut report)?;
    report.write()
}

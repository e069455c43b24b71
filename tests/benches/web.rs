//! First bytes of pages and routes; run by `cargo xtask bench web`, as root.

use std::path::PathBuf;

use anyhow::{Context, Result};
use filter_tests::bench::page;
use filter_tests::bench::report::Report;

fn main() -> Result<()> {
    // `cargo bench` adds a flag of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let folder =
        arguments.next().context("say where to write the figures, or use `cargo xtask bench web`")?;
    let mut report = Report::new("web", PathBuf::from(folder));
    page::measure(&mut report)?;
    report.write()
}

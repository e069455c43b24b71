//! What a flood leaves of honest mail; run by `cargo xtask bench flood`, as root.

use std::path::PathBuf;

use anyhow::{Context, Result};
use filter_tests::bench::choice::Choice;
use filter_tests::bench::flood;
use filter_tests::bench::report::Report;

fn main() -> Result<()> {
    // `cargo bench` adds a flag of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let folder =
        arguments.next().context("say where to write the figures, or use `cargo xtask bench flood`")?;
    let mut report = Report::new("flood", PathBuf::from(folder));
    flood::measure(&mut report, &Choice::read(arguments, &flood::names())?)?;
    report.write()
}

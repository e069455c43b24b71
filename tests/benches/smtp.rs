//! Messages through the edge and through its peers; run by `cargo xtask bench smtp`, as root.

use std::path::PathBuf;

use anyhow::{Context, Result};
use filter_tests::bench::choice::Choice;
use filter_tests::bench::relay;
use filter_tests::bench::report::Report;

fn main() -> Result<()> {
    // `cargo bench` adds a flag of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let folder =
        arguments.next().context("say where to write the figures, or use `cargo xtask bench smtp`")?;
    let mut report = Report::new("smtp", PathBuf::from(folder));
    relay::measure(&mut report, &Choice::read(arguments, &relay::NAMES)?)?;
    report.write()
}

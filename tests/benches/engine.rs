//! What an offence costs the engine; run by `cargo xtask bench engine`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use filter_tests::bench::report::Report;
use filter_tests::bench::score;

fn main() -> Result<()> {
    // `cargo bench` adds a flag of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let folder =
        arguments.next().context("say where to write the figures, or use `cargo xtask bench engine`")?;
    if folder == score::MEMORY_OF {
        let mut next = || arguments.next().context("say of which family, and of how many offences");
        println!("{}", score::memory(&next()?, &next()?)?);
        return Ok(());
    }
    let mut report = Report::new("engine", PathBuf::from(folder));
    score::measure(&mut report)?;
    report.write()
}

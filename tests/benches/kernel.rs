//! What a packet costs in the kernel; run by `cargo xtask bench kernel`, as root.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use filter_tests::bench::choice::Choice;
use filter_tests::bench::crowd::Family;
use filter_tests::bench::report::Report;
use filter_tests::bench::rival::Rival;
use filter_tests::bench::{packet, wire};

fn main() -> Result<()> {
    // `cargo bench` adds a flag of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let folder =
        arguments.next().context("say where to write the figures, or use `cargo xtask bench kernel`")?;
    let mut report = Report::new("kernel", PathBuf::from(folder));
    match arguments.next().as_deref() {
        None => {
            packet::measure(&mut report, &Choice::default())?;
            wire::measure(&mut report, &Choice::default())?;
        }
        Some("packet") => {
            let families = [Family::V4, Family::V6].map(Family::name);
            packet::measure(&mut report, &Choice::read(arguments, &families)?)?;
        }
        Some("wire") => {
            wire::measure(&mut report, &Choice::read(arguments, &Rival::ALL.map(Rival::name))?)?;
        }
        Some(other) => bail!("there is no part {other}; the parts are packet and wire"),
    }
    report.write()
}

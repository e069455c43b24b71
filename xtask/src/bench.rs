//! `cargo xtask bench NAME`: builds one bench of the lab in release and runs it as root.
//!
//! Every bench prints a table, measures the other side in the same run, and writes its figures under `target/bench`.

use anyhow::{Context, Result};

use crate::build::build;
use crate::setup::{Purpose, ready};
use crate::shell::{as_root, run, target};
use crate::test::programs;

/// Runs one; the arguments are the bench's own, such as a part of it.
pub(crate) fn bench(name: &str, arguments: &[String]) -> Result<()> {
    ready(Purpose::Bench)?;
    // Some run the agent itself, and find it beside them.
    build(true)?;
    let programs = programs(&["bench", "--features", "bench", "--bench", name])
        .with_context(|| format!("there is no bench {name}, or it does not build"))?;
    let program = programs.first().context("cargo has built no bench")?;
    run(as_root(program)?.arg(target().join("bench")).args(arguments))
}

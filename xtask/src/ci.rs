//! `cargo xtask ci`: what must be green before a change lands, cheapest first.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::setup::{Purpose, ready};
use crate::shell::{cargo, root, run};
use crate::test::test;

/// Longest source file, in lines: beyond it a file has more than one noun.
const LONGEST_FILE: usize = 500;

const WORKSPACE: [&str; 3] = ["--workspace", "--exclude", "filter-ebpf"];

/// Runs all steps, and stops at the first that fails.
pub(crate) fn ci() -> Result<()> {
    let start = Instant::now();
    step("fmt", || run(&mut cargo(&["fmt", "--all", "--check"])))?;
    step("file lengths", short_files)?;
    step("setup", || ready(Purpose::Test))?;
    step("clippy", || {
        run(cargo(&["clippy"])
            .args(WORKSPACE)
            // The benches are built by nothing else here.
            .args(["--features", "filter-tests/bench", "--all-targets", "--", "--deny", "warnings"]))
    })?;
    step("rustdoc", || {
        run(cargo(&["doc"])
            .args(WORKSPACE)
            .args(["--no-deps", "--document-private-items"])
            .env("RUSTDOCFLAGS", "--deny warnings"))
    })?;
    step("test", || test(&[]))?;
    println!("ci: green after {} s", start.elapsed().as_secs());
    Ok(())
}

fn step(name: &str, job: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("ci: {name}");
    let start = Instant::now();
    job().with_context(|| format!("ci: {name}"))?;
    println!("ci: {name} took {} s", start.elapsed().as_secs());
    Ok(())
}

fn short_files() -> Result<()> {
    let mut folders: Vec<PathBuf> = ["filter-common", "filter-ebpf", "filter-user", "tests", "xtask"]
        .iter()
        .map(|name| root().join(name))
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                check_length(&path)?;
            }
        }
    }
    Ok(())
}

fn check_length(path: &Path) -> Result<()> {
    let lines = fs::read_to_string(path)?.lines().count();
    let name = path.display();
    ensure!(lines <= LONGEST_FILE, "{name} has {lines} lines; above {LONGEST_FILE} it wants to be two files");
    Ok(())
}

//! `cargo xtask test`: unit, property and documentation tests as whoever calls, end-to-end tests as root.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};

use crate::build::build;
use crate::setup::{Purpose, ready};
use crate::shell::{as_root, cargo, run};

/// Runs everything.
pub(crate) fn test(arguments: &[String]) -> Result<()> {
    ready(Purpose::Test)?;
    build(false)?;
    let mut units = cargo(&["test", "--workspace", "--exclude", "filter-ebpf", "--exclude", "filter-tests"]);
    run(units.arg("--").args(arguments))?;
    // Not the benches: cargo builds those for `cargo bench` only.
    let programs = programs(&["test"]).context("the end-to-end tests do not build")?;
    ensure!(!programs.is_empty(), "there are no end-to-end tests; that cannot be right");
    let (lab, others): (Vec<_>, Vec<_>) = programs.into_iter().partition(|path| name(path) == LAB);
    ensure!(!lab.is_empty(), "no program `{LAB}` tests the lab; it has another name now");
    // The lab's own test makes what all share, and looks at leftovers that any other's next world would sweep.
    end_to_end(lab, 1, arguments)?;
    end_to_end(others, AT_ONCE, arguments)?;
    println!("every test has passed");
    Ok(())
}

/// The program that tests the lab itself.
const LAB: &str = "world";

/// End-to-end programs at once. They wait more than they work; with one for each processor of a small machine none is slowed so much
/// that a deadline of its passes.
const AT_ONCE: usize = 2;

/// Runs programs of the lab, so many at once, and shows what each says when it has ended; none is begun after one has failed.
fn end_to_end(programs: Vec<PathBuf>, at_once: usize, arguments: &[String]) -> Result<()> {
    let waiting = Mutex::new(programs.into_iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || -> Result<()> {
        while let Some(program) = next() {
            let outcome = run_program(&program, arguments);
            if outcome.is_err() {
                while next().is_some() {}
            }
            outcome?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a worker panicked"))?)
    })
}

/// Runs one to its end, and shows what it has said.
fn run_program(program: &Path, arguments: &[String]) -> Result<()> {
    let start = Instant::now();
    // One test at a time: each has a Postfix of its own.
    let mut command = as_root(program)?;
    command.arg("--test-threads=1").args(arguments).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("cannot run {}", program.display()))?;
    let (name, took) = (name(program), start.elapsed().as_secs());
    let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    println!("test: {name} took {took} s\n{}{}", said.trim_start(), complained);
    ensure!(output.status.success(), "the end-to-end tests `{name}` failed");
    Ok(())
}

/// The name of a test program, without the hash that cargo puts behind it.
fn name(program: &Path) -> &str {
    let name = program.file_name().and_then(OsStr::to_str).unwrap_or_default();
    name.rsplit_once('-').map_or(name, |(name, _)| name)
}

/// Builds programs of the lab as whoever calls, so that root leaves nothing in the target folder.
pub(crate) fn programs(verb_and_choice: &[&str]) -> Result<Vec<PathBuf>> {
    let mut command = cargo(verb_and_choice);
    command.args(["--package", "filter-tests", "--no-run", "--message-format=json"]);
    let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo failed");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut programs: Vec<_> = text.lines().filter_map(executable).map(PathBuf::from).collect();
    programs.retain(|path| fs::metadata(path).is_ok());
    programs.sort();
    Ok(programs)
}

/// The program that a line of cargo's JSON reports, if it reports one.
fn executable(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("\"executable\":\"")?;
    let is_test = line.contains("\"test\":true") && line.contains("\"profile\"");
    rest.split_once('"').map(|(path, _)| path).filter(|_| is_test)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_programs_are_run() {
        let test = r#"{"profile":{"test":true},"executable":"/t/deps/limits-1","fresh":true}"#;
        assert_eq!(executable(test), Some("/t/deps/limits-1"));
        assert_eq!(executable(&test.replace("true},", "false},")), None);
        assert_eq!(executable(r#"{"profile":{"test":true},"executable":null}"#), None);
    }
}

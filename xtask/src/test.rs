//! `cargo xtask test`: unit, property and documentation tests as whoever calls, end-to-end tests as root.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

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
    for program in programs {
        // One at a time: each world has a Postfix of its own, and the tests are about behaviour under no load.
        run(as_root(program)?.arg("--test-threads=1").args(arguments))?;
    }
    println!("every test has passed");
    Ok(())
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

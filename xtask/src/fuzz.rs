//! `cargo xtask fuzz NAME`: libFuzzer on one target, with the compiler's own coverage instrumentation, which stable Rust has.
//!
//! What it finds worth keeping goes to `target/fuzz/corpus/NAME`, what breaks to `target/fuzz/artifacts/NAME`. An input that once broke
//! something belongs into `tests/fuzz/corpus/NAME`, through which every test run goes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::setup::{Purpose, ready};
use crate::shell::{cargo, output, root, run, target};

/// What makes code tell the fuzzer where it has been.
const INSTRUMENTED: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// Fuzzes one target for some seconds.
pub(crate) fn fuzz(name: &str, seconds: u32) -> Result<()> {
    let seeds = root().join("tests/fuzz/corpus").join(name);
    if !seeds.is_dir() {
        let names: Vec<_> = fs::read_dir(root().join("tests/fuzz/corpus"))?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        bail!("no fuzz target {name}; there are {}", names.join(", "));
    }
    ready(Purpose::Build)?;
    let triple = host()?;
    let home = target().join("fuzz");
    let mut build = cargo(&[
        "build",
        "--release",
        "--package",
        "filter-fuzz",
        "--features",
        "libfuzzer",
        "--bin",
        "fuzz",
    ]);
    // With a target named, build scripts and macros are not instrumented, which could not be linked.
    build.args(["--target", &triple, "--target-dir"]).arg(&home);
    build.env("RUSTFLAGS", INSTRUMENTED).env("CARGO_PROFILE_RELEASE_LTO", "off");
    build
        .env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true")
        .env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true");
    run(&mut build)?;
    let (corpus, artifacts) = (folder(&home, "corpus", name)?, folder(&home, "artifacts", name)?);
    let mut fuzzer = std::process::Command::new(home.join(&triple).join("release/fuzz"));
    fuzzer.env("GATEPOST_FUZZ", name).args([&corpus, &seeds]);
    fuzzer
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()));
    run(fuzzer.args(["-max_len=4096", "-timeout=10", "-print_final_stats=1"]))
        .with_context(|| format!("an input breaks {name}; it is in {}", artifacts.display()))
}

fn folder(home: &Path, kind: &str, name: &str) -> Result<std::path::PathBuf> {
    let folder = home.join(kind).join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// The triple that the compiler builds for by itself.
fn host() -> Result<String> {
    let version = output("rustc", &["-vV"]).context("cannot run rustc")?;
    let triple = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
    ensure!(!triple.is_empty(), "rustc does not say what it builds for");
    Ok(triple.to_owned())
}

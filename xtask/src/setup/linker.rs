//! bpf-linker, of the same LLVM as the compiler.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::packages;
use super::toolchain::Choice;
use crate::shell::{cargo, output, quietly};

const VERSION: &str = "0.13.0";

/// Installs it if it is missing or of another version; says where it is.
pub(super) fn install(compiler: &Choice) -> Result<PathBuf> {
    let installed = output("bpf-linker", &["--version"]);
    if !installed.is_some_and(|text| text.contains(VERSION)) {
        build(compiler)?;
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join("bpf-linker")).find(|path| path.is_file());
    found.context(
        "bpf-linker is installed, but not in PATH; add cargo's bin folder (usually ~/.cargo/bin) to PATH",
    )
}

fn build(compiler: &Choice) -> Result<()> {
    let feature = format!("llvm-{}", compiler.llvm);
    if packages::has_apt() {
        packages::install(&packages::LINKER, "building bpf-linker")?;
    }
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{}", compiler.llvm));
    if packages::has_apt() && !prefix.join("include").is_dir() {
        packages::install(&[&format!("llvm-{}-dev", compiler.llvm)], "building bpf-linker")?;
    }
    println!("setup: building bpf-linker {VERSION} for LLVM {} (about a minute)", compiler.llvm);
    let mut command = cargo(&["install", "bpf-linker", "--version", VERSION, "--locked", "--force"]);
    command.args(["--no-default-features", "--features", &feature]);
    if prefix.is_dir() {
        command.env("PATH", in_front(&prefix.join("bin"))?).env("LLVM_PREFIX", prefix);
    }
    quietly(&mut command, &super::logs().join("bpf-linker.log"))
}

fn in_front(folder: &Path) -> Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(std::iter::once(folder.to_path_buf()).chain(env::split_paths(&path)))?)
}

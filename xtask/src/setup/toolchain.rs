//! The compiler of the kernel program.
//!
//! First choice: Debian's rustc with a ready `core` for the kernel's target, linked into rustup under a name of our
//! own. Elsewhere: a nightly with its own sources, aya's usual way.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::packages;
use crate::shell::{finds, output, run};

/// The name under which rustup knows Debian's compiler; `filter-user/build.rs` asks for it.
const LINKED: &str = "gatepost-bpf";

/// The LLVM of Debian's compiler.
const LLVM: u32 = 22;

/// A compiler that was chosen.
#[derive(Debug)]
pub(super) struct Choice {
    /// The major version of its LLVM; bpf-linker must have the same.
    pub(super) llvm: u32,
    /// A file that is there as long as the compiler is.
    pub(super) witness: PathBuf,
}

/// Finds a compiler, or installs one.
pub(super) fn choose() -> Result<Choice> {
    if !finds("rustup") {
        bail!(
            "rustup is missing, and the kernel program is built by a second compiler beside the stable one; install rustup"
        );
    }
    if let Some(llvm) = llvm_of(LINKED) {
        return debian(llvm);
    }
    if packages::has_apt() && (packages::is_known(packages::TOOLCHAIN[0]) || refreshed()?) {
        packages::install(&packages::TOOLCHAIN, "the kernel program's compiler")?;
        println!("setup: linking that compiler into rustup as `{LINKED}`");
        run(Command::new("rustup").args(["toolchain", "link", LINKED, "/usr"]))?;
        return debian(llvm_of(LINKED).unwrap_or(LLVM));
    }
    nightly()
}

fn debian(llvm: u32) -> Result<Choice> {
    // By the way through the link, so that the stamp notices when either the link or the compiler goes.
    let path = output("rustup", &["which", "--toolchain", LINKED, "rustc"]);
    let path =
        path.context("rustup does not find the compiler that was linked; look at `rustup toolchain list`")?;
    Ok(Choice { llvm, witness: PathBuf::from(path.trim()) })
}

fn refreshed() -> Result<bool> {
    packages::refresh()?;
    Ok(packages::is_known(packages::TOOLCHAIN[0]))
}

fn nightly() -> Result<Choice> {
    let sysroot = || output("rustup", &["run", "nightly", "rustc", "--print", "sysroot"]);
    let sources =
        |sysroot: &str| Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/Cargo.toml");
    if !sysroot().is_some_and(|path| sources(&path).exists()) {
        println!(
            "setup: installing a nightly compiler with its sources for the kernel program (no package of this distribution has one)"
        );
        run(Command::new("rustup").args([
            "toolchain",
            "install",
            "nightly",
            "--profile",
            "minimal",
            "--component",
            "rust-src",
        ]))?;
    }
    match (llvm_of("nightly"), sysroot()) {
        (Some(llvm), Some(path)) => Ok(Choice { llvm, witness: sources(&path) }),
        _ => bail!("the nightly compiler does not run; look at `rustup run nightly rustc -vV`"),
    }
}

/// The major version of LLVM that a toolchain of rustup has; none: there is no such toolchain.
fn llvm_of(toolchain: &str) -> Option<u32> {
    llvm_version(&output("rustup", &["run", toolchain, "rustc", "-vV"])?)
}

fn llvm_version(text: &str) -> Option<u32> {
    let version = text.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_llvm_is_read() {
        assert_eq!(llvm_version("rustc 1.96.0\nrelease: 1.96.0\nLLVM version: 22.1.8\n"), Some(22));
        assert_eq!(llvm_version("rustc 1.96.0\n"), None);
    }
}

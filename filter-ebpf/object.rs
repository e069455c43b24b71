//! Compiles the objects of this crate and puts them where the caller's `include_bytes_aligned!` finds them.
//!
//! Part of the build scripts of those who load them: the agent, and the benches with programs of their own. Cargo gives a build
//! script another folder whenever anything that its crate depends on changes; the compiled dependencies of the kernel program
//! stay in a folder of their own, so that only what has changed is compiled again.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use aya_build::{Package, Toolchain, build_ebpf};

/// Debian's rustc with a `core` for the kernel target, linked into rustup by `cargo xtask setup`.
const LINKED: &str = "gatepost-bpf";
/// The LLVM of that compiler; bpf-linker must be of the same.
const LLVM: &str = "/usr/lib/llvm-22/bin";

/// The crate of the kernel program that a stable compiler refuses without asking: the kernel side of aya uses
/// `asm_experimental_arch`. Not `1`, which allows it to all: aya-build would then compile `core`, too, which that compiler brings.
const UNSTABLE: &str = "aya_ebpf";

/// What a build script's `main` returns.
pub(crate) fn build(features: &[&str]) -> ExitCode {
    match try_build(features) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One sentence, whatever RUST_BACKTRACE says.
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn try_build(features: &[&str]) -> Result<()> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../filter-ebpf");
    println!("cargo:rerun-if-changed={}", root.join("../filter-common/src").display());
    let toolchain = choose_toolchain()?;
    if !runs("bpf-linker", &["--version"]) {
        bail!("bpf-linker is missing; run `cargo xtask setup`, which installs it");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").context("only cargo runs this")?);
    let kept = kept(&out, features)?;
    // SAFETY: a build script has one thread here.
    unsafe {
        env::set_var("OUT_DIR", &kept);
        // aya-build turns every line of the inner cargo into a warning, and progress is none.
        env::set_var("CARGO_TERM_QUIET", "true");
        if toolchain == LINKED {
            env::set_var("RUSTC_BOOTSTRAP", UNSTABLE);
            env::set_var("PATH", path_with_llvm()?);
        }
    }
    let root_dir = root.to_str().context("the path of the checkout is not UTF-8")?;
    let package = Package { name: "filter-ebpf", root_dir, no_default_features: false, features };
    build_ebpf([package], Toolchain::Custom(toolchain))
        .context("the kernel program does not build; `cargo xtask setup` brings its tool chain up to date")?;
    for entry in fs::read_dir(&kept)?.flatten().filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), out.join(entry.file_name()))?;
    }
    Ok(())
}

/// A folder for these features that outlives `out`, which is `target/PROFILE/build/NAME-HASH/out`. Cargo runs one build of a
/// profile at a time, so nobody else writes there meanwhile.
fn kept(out: &Path, features: &[&str]) -> Result<PathBuf> {
    let profile = out.ancestors().nth(3).context("cargo's folders are not as they were")?;
    let kept = profile.join(["kernel", &features.join("-")].join("-"));
    fs::create_dir_all(&kept).with_context(|| format!("cannot make {}", kept.display()))?;
    Ok(kept)
}

fn choose_toolchain() -> Result<&'static str> {
    let runs_rustc = |name: &str| runs("rustup", &["run", name, "rustc", "--version"]);
    match () {
        () if runs_rustc(LINKED) => Ok(LINKED),
        () if runs_rustc("nightly") => Ok("nightly"),
        () => bail!("no compiler for the kernel program; run `cargo xtask setup`, which installs one"),
    }
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

fn path_with_llvm() -> Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let llvm = std::iter::once(PathBuf::from(LLVM)).filter(|directory| directory.is_dir());
    Ok(env::join_paths(llvm.chain(env::split_paths(&path)))?)
}

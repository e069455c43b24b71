//! Bringing a machine to where it can build, run and test Gatepost.
//!
//! Each part looks first, says in one line what it installs and why, and does nothing when it is there. What was
//! found is remembered in a stamp, so that the next call takes milliseconds.

pub(crate) mod beside;
mod kernel;
mod linker;
pub(crate) mod packages;
mod schemathesis;
mod stamp;
mod toolchain;

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::shell;

/// What the caller is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Build the program.
    Build,
    /// Load the filter, too.
    Run,
    /// Run the end-to-end tests, too.
    Test,
    /// Run the filter on other kernels; not part of `everything`, because an emulator is much for who never does.
    Kernels,
    /// Measure the filter beside others; not part of `everything`, because a gateway needs none of them.
    Bench,
}

/// `cargo xtask setup`: all of it, looked at anew, because whoever calls it has a reason.
pub(crate) fn everything() -> Result<()> {
    for purpose in [Purpose::Build, Purpose::Test] {
        stamp::Stamp::of(purpose).forget();
        ready(purpose)?;
    }
    println!("setup: this machine can build, run and test Gatepost");
    Ok(())
}

/// Makes the machine ready for a purpose.
pub(crate) fn ready(purpose: Purpose) -> Result<()> {
    if purpose != Purpose::Build {
        kernel::check()?;
        // Not remembered by the stamp: a mount is gone after a restart of the machine.
        kernel::mount_bpffs()?;
    }
    let stamp = stamp::Stamp::of(purpose);
    if stamp.holds() {
        return Ok(());
    }
    std::fs::create_dir_all(logs()).context("cannot write to the target folder")?;
    let choice = toolchain::choose()?;
    let mut witnesses = vec![choice.witness.clone(), linker::install(&choice)?];
    match purpose {
        Purpose::Build | Purpose::Run => {}
        Purpose::Test => {
            packages::install(&packages::LAB, "the end-to-end tests")?;
            witnesses.push(schemathesis::install()?);
            for server in &beside::SERVERS {
                witnesses.push(beside::unpack(server, "the end-to-end tests")?);
            }
        }
        Purpose::Bench => {
            packages::install(&packages::BENCH, "what the benches measure beside the filter")?;
            witnesses.extend(
                ["nft", "ipset", "iptables", "xdp-filter", "ethtool", "haproxy", "nginx", "smtp-sink"]
                    .into_iter()
                    .filter_map(shell::which),
            );
        }
        Purpose::Kernels => {
            let why = "running the filter on other kernels";
            packages::install(&packages::KERNELS, why)?;
            witnesses.extend(shell::which("busybox"));
            witnesses.push(beside::unpack(&beside::EMULATOR, why)?);
        }
    }
    stamp.write(&witnesses)
}

/// Where the output of installers goes.
fn logs() -> PathBuf {
    shell::target().join("setup")
}

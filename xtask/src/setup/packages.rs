//! Packages of the distribution.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::shell::{as_root, finds, output, quietly};

/// What compiles the kernel program: rustc 1.96 with LLVM 22 and a `core` for the kernel's target.
pub(super) const TOOLCHAIN: [&str; 5] =
    ["rustc-web", "cargo-web", "rust-web-src", "libstd-rust-web-dev-bpf", "llvm-22-dev"];
/// What bpf-linker is built with, beside LLVM.
pub(super) const LINKER: [&str; 4] = ["g++", "zlib1g-dev", "libzstd-dev", "libxml2-dev"];
/// What the lab is made of.
pub(super) const LAB: [&str; 23] = [
    "chromium",
    "chromium-driver",
    "curl",
    "dovecot-core",
    "dovecot-imapd",
    "dovecot-managesieved",
    "dovecot-pop3d",
    "dovecot-submissiond",
    "fail2ban",
    "fonts-dejavu-core",
    "iproute2",
    "libnet-ssleay-perl",
    "libsasl2-modules",
    "mandoc",
    "openssl",
    "perl-base",
    "postfix",
    "sasl2-bin",
    "ssl-cert",
    "swaks",
    "systemd",
    "tmux",
    "util-linux",
];
/// What a guest with another kernel is made of beside `gatepost`, and what the running one is tried with.
pub(super) const KERNELS: [&str; 3] = ["busybox-static", "iproute2", "util-linux"];
/// What the benches measure beside the filter: nft, ipset with iptables, xdp-filter; ethtool lets a veth poll. And beside the
/// edge: HAProxy and nginx, with Postfix's smtp-source and smtp-sink around them. And beside the log reader: fail2ban.
pub(super) const BENCH: [&str; 11] = [
    "nftables",
    "ipset",
    "iptables",
    "xdp-tools",
    "ethtool",
    "fail2ban",
    "iproute2",
    "haproxy",
    "nginx",
    "libnginx-mod-stream",
    "postfix",
];

/// Whether packages come from apt.
pub(crate) fn has_apt() -> bool {
    finds("apt-get") && finds("dpkg-query")
}

/// Whether apt knows a package.
pub(super) fn is_known(package: &str) -> bool {
    output("apt-cache", &["policy", package]).is_some_and(|text| {
        text.lines().any(|line| {
            line.trim().strip_prefix("Candidate:").is_some_and(|version| version.trim() != "(none)")
        })
    })
}

/// Brings apt's own lists up to date.
pub(crate) fn refresh() -> Result<()> {
    println!("setup: reading the package lists (apt-get update)");
    let log = super::logs().join("apt-update.log");
    let update = || quietly(as_root("apt-get")?.arg("update"), &log);
    let is_busy = |error: &anyhow::Error| error.to_string().contains("/lists/lock");
    for turn in 0..TURNS {
        let outcome = update();
        if !outcome.as_ref().is_err_and(is_busy) {
            return outcome;
        }
        if turn == 0 {
            println!("setup: another apt is reading them; waiting");
        }
        sleep(PAUSE);
    }
    update()
}

/// How often the package lists are asked for while somebody else has them, as a machine does that has just been started.
const TURNS: u32 = 30;
/// How long apart.
const PAUSE: Duration = Duration::from_secs(10);

/// Installs what is missing of these packages.
pub(super) fn install(packages: &[&str], why: &str) -> Result<()> {
    if !has_apt() {
        bail!(
            "{why} needs {}; install what this distribution calls so, there is no apt here",
            packages.join(", ")
        );
    }
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    println!("setup: installing {} for {why}", missing.join(", "));
    if missing.iter().all(|package| is_known(package)) && apt_install(&missing).is_ok() {
        return Ok(());
    }
    // Lists that are old name packages that the archive no longer has.
    refresh()?;
    apt_install(&missing)
}

/// Installs when no other apt does, without asking, without removing anything, and without starting what is installed: Postfix
/// would otherwise ask what kind of site this is, and become a mail server that nobody asked for.
const QUIET_INSTALL: &str = "
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\\nexit 101\\n' > $policy && chmod 755 $policy
fi
DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends --no-remove \"$@\"";

fn apt_install(packages: &[&str]) -> Result<()> {
    let mut command = as_root("sh")?;
    command.args(["-c", QUIET_INSTALL, "sh"]).args(packages);
    quietly(&mut command, &super::logs().join("apt-install.log"))
}

pub(super) fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let format = "-f=${Package} ${db:Status-Status}\n";
    // Fails if one is unknown, but still prints the others; so the status does not matter.
    let query = std::process::Command::new("dpkg-query").arg("-W").arg(format).args(packages).output();
    let text = query.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let installed = installed(&text);
    packages.iter().copied().filter(|package| !installed.contains(package)).collect()
}

fn installed(text: &str) -> BTreeSet<&str> {
    text.lines().filter_map(|line| line.strip_suffix(" installed")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wholly_installed_counts() {
        let text = "postfix installed\nswaks config-files\n";
        assert_eq!(installed(text).into_iter().collect::<Vec<_>>(), ["postfix"]);
    }
}

//! Programs of packages that are better not installed: mail servers, since all are the machine's one mail transport agent,
//! Prometheus, which would become a service, Roundcube and `SOGo`, which would bring web servers and databases, what a mail server
//! asks, of which each would become a service, and the emulator, which cannot be beside tools of its own of another version. Their packages are unpacked under `target/lab`, with the libraries that are
//! missing, and nothing of them is installed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::packages;
use crate::shell::{output, quietly, target};

/// One of them.
pub(super) struct Bundle {
    /// Its folder under `target/lab`.
    name: &'static str,
    packages: &'static [&'static str],
    /// A file that is there when all is unpacked.
    program: &'static str,
}

/// The mail servers that the edge is compared with straight talk to, beside Postfix; whom a Postfix asks that refuses what it can; who
/// reads and judges the metrics; and web mailers.
pub(super) const SERVERS: [Bundle; 6] = [
    Bundle { name: "exim", packages: &["exim4-daemon-light", "exim4-base"], program: "usr/sbin/exim4" },
    Bundle { name: "judges", packages: &JUDGES, program: "usr/sbin/dnsmasq" },
    Bundle { name: "opensmtpd", packages: &["opensmtpd"], program: "usr/sbin/smtpd" },
    Bundle { name: "prometheus", packages: &["prometheus"], program: "usr/bin/promtool" },
    Bundle { name: "roundcube", packages: &ROUNDCUBE, program: "usr/share/roundcube/index.php" },
    Bundle { name: "sogo", packages: &SOGO, program: "usr/sbin/sogod" },
];

/// A resolver for DNS lists and SPF, who judges SPF, and milters that know spam and viruses.
const JUDGES: [&str; 10] = [
    "clamav-base",
    "clamav-daemon",
    "clamav-milter",
    "dnsmasq-base",
    "postfix-policyd-spf-python",
    "python3-authres",
    "python3-dns",
    "python3-spf",
    "python3-spf-engine",
    "rspamd",
];

/// `SOGo`, and the web servers before it.
const SOGO: [&str; 8] = [
    "apache2-bin",
    "gnustep-base-common",
    "gnustep-base-runtime",
    "gnustep-common",
    "nginx",
    "nginx-common",
    "sogo",
    "sogo-common",
];

/// Roundcube with the PHP that it needs.
const ROUNDCUBE: [&str; 25] = [
    "roundcube-core",
    "php-auth-sasl",
    "php-common",
    "php-getallheaders",
    "php-guzzlehttp-guzzle",
    "php-guzzlehttp-promises",
    "php-guzzlehttp-psr7",
    "php-mail-mime",
    "php-masterminds-html5",
    "php-net-sieve",
    "php-net-smtp",
    "php-net-socket",
    "php-pear",
    "php-psr-http-client",
    "php-psr-http-factory",
    "php-psr-http-message",
    "php-symfony-deprecation-contracts",
    "php8.2-cli",
    "php8.2-common",
    "php8.2-intl",
    "php8.2-mbstring",
    "php8.2-opcache",
    "php8.2-readline",
    "php8.2-sqlite3",
    "php8.2-xml",
];

/// What boots other kernels, with what it loads into the machine that it emulates.
pub(super) const EMULATOR: Bundle = Bundle {
    name: "qemu",
    packages: &["qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"],
    program: "usr/bin/qemu-system-x86_64",
};

/// The emulator as a command, with the libraries and the images that were unpacked with it.
pub(crate) fn emulator(mut under: Command) -> Command {
    let folder = target().join("lab").join(EMULATOR.name);
    let shared = folder.join("usr/share");
    under.arg(folder.join(EMULATOR.program));
    for images in ["qemu", "seabios"] {
        under.arg("-L").arg(shared.join(images));
    }
    // Some packages still have theirs in the old place.
    let places = ["usr/lib", "lib"].map(|place| folder.join(place).join("x86_64-linux-gnu"));
    under.env("QEMU_MODULE_DIR", places[0].join("qemu"));
    under.env("LD_LIBRARY_PATH", places.map(|place| place.display().to_string()).join(":"));
    under
}

/// Unpacks one of them, unless it is there; says by which file to notice if it goes.
pub(super) fn unpack(bundle: &Bundle, why: &str) -> Result<PathBuf> {
    let folder = target().join("lab").join(bundle.name);
    let program = folder.join(bundle.program);
    if program.exists() {
        return Ok(program);
    }
    println!("setup: unpacking {} for {why}", bundle.packages.join(", "));
    let archives = super::logs().join(bundle.name);
    fs::create_dir_all(&archives)?;
    if download(&archives, bundle.packages).is_err() {
        // Lists that are old name packages that the archive no longer has.
        packages::refresh()?;
        download(&archives, bundle.packages)?;
    }
    let unpacking = folder.with_extension("new");
    let mut unpacked = BTreeSet::new();
    loop {
        let new: Vec<_> =
            archives_in(&archives)?.into_iter().filter(|file| !unpacked.contains(file)).collect();
        if new.is_empty() {
            break;
        }
        for archive in new {
            extract(&archive, &unpacking)?;
            let libraries = missing_libraries(&archive)?;
            let libraries: Vec<_> = libraries.iter().map(String::as_str).collect();
            if !libraries.is_empty() {
                download(&archives, &libraries)?;
            }
            unpacked.insert(archive);
        }
    }
    fs::rename(&unpacking, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    ensure!(program.exists(), "the packages {} have no {}", bundle.packages.join(", "), bundle.program);
    Ok(program)
}

fn download(folder: &Path, packages: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.arg("download").args(packages).current_dir(folder);
    quietly(&mut command, &super::logs().join("apt-download.log"))
}

fn extract(archive: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut command = Command::new("dpkg-deb");
    command.arg("--extract").arg(archive).arg(folder);
    quietly(&mut command, &super::logs().join("dpkg-deb.log"))
}

fn archives_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
    Ok(files
        .into_iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "deb"))
        .collect())
}

fn missing_libraries(archive: &Path) -> Result<Vec<String>> {
    let path = archive.to_str().context("an archive's path that is no text")?;
    let depends = output("dpkg-deb", &["--field", path, "Depends"]).context("cannot read a package")?;
    let libraries: Vec<_> = libraries(&depends).collect();
    let missing = packages::missing(&libraries);
    Ok(missing.into_iter().map(str::to_owned).collect())
}

/// The libraries among what a package depends on; of alternatives, the first. What a browser would load is none.
fn libraries(depends: &str) -> impl Iterator<Item = &str> {
    let names = depends.split(',').filter_map(|wish| wish.split_whitespace().next());
    names.filter(|name| name.starts_with("lib") && !name.starts_with("libjs-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_libraries_are_unpacked_with_a_mail_server() {
        let depends = "adduser, cron | anacron, libc6 (>= 2.34), libidn12 (>= 1.13), libjs-moment, netbase";
        assert_eq!(libraries(depends).collect::<Vec<_>>(), ["libc6", "libidn12"]);
    }
}

//! A kernel of Debian: its image and the module of the cable, taken out of its package, which is not installed.
//!
//! What was taken is kept under the name of the package; a newer package is fetched when apt's lists name one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{cannot_write, folder};
use crate::setup::packages;
use crate::shell::{output, quietly, run};

/// A kernel that can be booted.
#[derive(Debug)]
pub(super) struct Image {
    /// For logs of its own.
    pub(super) package: String,
    /// The compressed kernel.
    pub(super) kernel: PathBuf,
    /// The module of virtual cables; the kernels of clouds do not have it built in.
    pub(super) veth: PathBuf,
}

/// The newest of a series that apt knows.
pub(super) fn of(series: &str) -> Result<Image> {
    if !packages::has_apt() {
        bail!(
            "the package linux-image-{series}.*-cloud-amd64 is to be had through apt only; run this on Debian"
        );
    }
    let mut package = newest(series);
    if package.is_none() {
        packages::refresh()?;
        package = newest(series);
    }
    let Some(package) = package else {
        bail!(
            "apt knows no package linux-image-{series}.*-cloud-amd64; add a release of Debian that has it to apt's sources"
        );
    };
    let cache = folder(&package)?;
    let image = Image { kernel: cache.join("vmlinuz"), veth: cache.join("veth.ko"), package };
    if !(image.kernel.is_file() && image.veth.is_file()) {
        unpack(&image, &cache)?;
    }
    Ok(image)
}

/// The kernel itself comes last, so that what was interrupted is done again.
fn unpack(image: &Image, cache: &Path) -> Result<()> {
    let scratch = cache.join("unpacked");
    // Left by one that was interrupted, or nothing.
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch).with_context(|| cannot_write(&scratch))?;
    let archive = download(&image.package, &scratch)?;
    run(Command::new("dpkg-deb").arg("--extract").arg(archive).arg(&scratch))?;
    let modules = scratch.join("lib/modules");
    let veth = below(&modules, "veth.ko").or_else(|| below(&modules, "veth.ko.xz"));
    let veth = veth.with_context(|| format!("the package {} holds no module veth.ko", image.package))?;
    decompress(&veth, &image.veth)?;
    let boot = scratch.join("boot");
    let kernel = entries(&boot).into_iter().find(|path| name(path).starts_with("vmlinuz-"));
    let kernel = kernel.with_context(|| format!("the package {} holds no vmlinuz", image.package))?;
    fs::rename(kernel, &image.kernel).with_context(|| cannot_write(&image.kernel))?;
    fs::remove_dir_all(&scratch).with_context(|| cannot_write(&scratch))
}

fn download(package: &str, into: &Path) -> Result<PathBuf> {
    println!("kernels: fetching {package}; it is only unpacked, not installed");
    let mut fetch = Command::new("apt-get");
    let log = into.join("apt-download.log");
    let fetched = quietly(fetch.args(["download", package]).current_dir(into), &log);
    fetched.with_context(|| format!("cannot fetch the package {package}; `apt-get update` may help"))?;
    let archive = entries(into).into_iter().find(|path| path.extension().is_some_and(|end| end == "deb"));
    archive.with_context(|| format!("apt-get fetched no file for the package {package}"))
}

fn decompress(from: &Path, to: &Path) -> Result<()> {
    let is_plain = from.extension().is_some_and(|end| end == "ko");
    let file = File::create(to).with_context(|| cannot_write(to))?;
    let mut command = Command::new("busybox");
    command.arg(if is_plain { "cat" } else { "xzcat" }).arg(from);
    run(command.stdin(Stdio::null()).stdout(file))
}

/// A file of that name in a folder or below.
fn below(folder: &Path, wanted: &str) -> Option<PathBuf> {
    let (folders, files): (Vec<_>, Vec<_>) = entries(folder).into_iter().partition(|path| path.is_dir());
    let here = files.into_iter().find(|path| name(path) == wanted);
    here.or_else(|| folders.iter().find_map(|folder| below(folder, wanted)))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    found.map(|entry| entry.path()).collect()
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn newest(series: &str) -> Option<String> {
    let pattern = format!("^linux-image-{}\\.[^ ]*-cloud-amd64$", series.replace('.', "\\."));
    newest_of(&output("apt-cache", &["search", "--names-only", &pattern])?)
}

/// The package of the highest version among lines of `apt-cache search`.
fn newest_of(lines: &str) -> Option<String> {
    let packages = lines.lines().filter_map(|line| line.split(' ').next());
    packages.max_by_key(|package| numbers(package)).map(ToOwned::to_owned)
}

fn numbers(package: &str) -> Vec<u32> {
    package
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_so_by_number() {
        let lines = "linux-image-6.1.0-9-cloud-amd64 - Linux\nlinux-image-6.1.0-56-cloud-amd64 - Linux\n";
        assert_eq!(newest_of(lines).as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(newest_of(""), None);
    }
}

//! The root of a guest: busybox, `ip`, `gatepost`, the libraries of these, and the checks.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{CHECKS, cannot_write};
use crate::shell::{output, which};

/// Runs as the first process.
const INIT: &str = include_str!("init.sh");

/// Where iproute2 is, here and in the guest.
const IP: &str = "/sbin/ip";

/// Makes the archive that a kernel unpacks into its memory.
pub(super) fn make(folder: &Path, program: &Path, veth: &Path) -> Result<PathBuf> {
    let root = folder.join("root");
    // The last one's, or nothing.
    let _ = fs::remove_dir_all(&root);
    for mount in ["proc", "sys", "dev", "run"] {
        let place = root.join(mount);
        fs::create_dir_all(&place).with_context(|| cannot_write(&place))?;
    }
    let busybox = which("busybox").context("busybox is missing, of which guests are made")?;
    for (file, place) in
        [(busybox.as_path(), "/bin/busybox"), (Path::new(IP), IP), (program, "/gatepost"), (veth, "/veth.ko")]
    {
        put(&root, file, Path::new(place))?;
        for library in libraries(file) {
            put(&root, &library, &library)?;
        }
    }
    for (name, text) in [("init", INIT), ("checks.sh", CHECKS)] {
        let place = root.join(name);
        fs::write(&place, text).with_context(|| cannot_write(&place))?;
        fs::set_permissions(&place, PermissionsExt::from_mode(0o755))?;
    }
    pack(&root, &folder.join("initramfs"))
}

fn put(root: &Path, file: &Path, place: &Path) -> Result<()> {
    let place = root.join(place.strip_prefix("/").unwrap_or(place));
    let folder = place.parent().unwrap_or(root);
    fs::create_dir_all(folder).with_context(|| cannot_write(folder))?;
    fs::copy(file, &place).with_context(|| format!("cannot copy {} into a guest", file.display()))?;
    Ok(())
}

/// What a program is linked to; nothing if it is static, or no program.
fn libraries(program: &Path) -> Vec<PathBuf> {
    output("ldd", &[&program.to_string_lossy()]).map_or_else(Vec::new, |text| paths(&text))
}

/// The first absolute path of each line of `ldd`.
fn paths(text: &str) -> Vec<PathBuf> {
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    text.lines().filter_map(path).collect()
}

/// All files belong to root in the guest, whoever calls this.
fn pack(root: &Path, archive: &Path) -> Result<PathBuf> {
    let names = Command::new("find").arg(".").current_dir(root).stdout(Stdio::piped()).spawn();
    let mut names = names.context("cannot run find")?;
    let list = names.stdout.take().context("find prints nothing")?;
    let file = File::create(archive).with_context(|| cannot_write(archive))?;
    let mut cpio = Command::new("busybox");
    cpio.args(["cpio", "-o", "-H", "newc", "-R", "0:0"]).current_dir(root);
    let status = cpio.stdin(list).stdout(file).stderr(Stdio::null()).status();
    let status = status.context("cannot run busybox")?;
    ensure!(status.success() && names.wait()?.success(), "cannot pack {}", root.display());
    Ok(archive.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_with_a_path() {
        let text =
            "\tlinux-vdso.so.1 (0x7ffd)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7f)\n\t/lib64/ld.so.2 (0x7f)\n";
        assert_eq!(paths(text), [Path::new("/lib/x/libc.so.6"), Path::new("/lib64/ld.so.2")]);
        assert_eq!(paths("\tstatically linked\n"), Vec::<PathBuf>::new());
    }
}

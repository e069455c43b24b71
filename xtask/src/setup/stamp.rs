//! What was found the last time, so that it need not be looked for again.
//!
//! A stamp holds as long as the files that it names are there and this program's wishes are the same.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Purpose;

/// Changes when set-up wants something else.
const EDITION: &str = "7";

/// The stamp of one purpose.
#[derive(Debug)]
pub(super) struct Stamp {
    path: PathBuf,
}

impl Stamp {
    pub(super) fn of(purpose: Purpose) -> Self {
        let name = match purpose {
            // Running needs nothing that building does not, beside the kernel, which is looked at each time.
            Purpose::Build | Purpose::Run => "build.stamp",
            Purpose::Test => "test.stamp",
            Purpose::Kernels => "kernels.stamp",
            Purpose::Bench => "bench.stamp",
        };
        Self { path: super::logs().join(name) }
    }

    /// Whether everything is as it was when the stamp was written.
    pub(super) fn holds(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|text| is_current(&text, Path::exists))
    }

    /// Makes the next call look for itself.
    pub(super) fn forget(&self) {
        // Fails if nothing is remembered.
        let _ = fs::remove_file(&self.path);
    }

    /// Remembers that all is there, and by which files to notice if it goes.
    pub(super) fn write(&self, witnesses: &[PathBuf]) -> Result<()> {
        let lines: Vec<_> = witnesses.iter().map(|path| path.display().to_string()).collect();
        let text = format!("{EDITION}\n{}\n", lines.join("\n"));
        fs::write(&self.path, text).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

fn is_current(text: &str, exists: impl Fn(&Path) -> bool) -> bool {
    let mut lines = text.lines();
    lines.next() == Some(EDITION) && lines.all(|path| exists(Path::new(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_holds_while_its_files_are_there() {
        assert!(is_current("7\n/a\n/b\n", |_| true));
        assert!(!is_current("7\n/a\n/b\n", |path| path != Path::new("/b")));
        assert!(!is_current("0\n/a\n", |_| true));
        assert!(!is_current("", |_| true));
    }
}

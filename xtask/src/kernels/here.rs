//! A trial on the running kernel, in name spaces of its own: its interfaces, pins and processes are seen by nobody else.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::report::{Report, tail};
use super::{CHECKS, PATIENCE, cannot_write, folder, is_timeout};
use crate::shell::as_root;

/// Runs the checks to their end.
pub(super) fn run(program: &Path) -> Result<Report> {
    let script = folder("here")?.join("checks.sh");
    fs::write(&script, CHECKS).with_context(|| cannot_write(&script))?;
    // As root itself, so that it may end what root runs; then the first process of the name space dies, and with it all.
    let mut command = as_root("timeout")?;
    // In the foreground, so that Ctrl-C reaches it.
    command.args(["--foreground", "--signal=KILL", PATIENCE, "unshare", "--net", "--mount", "--mount-proc"]);
    command.args(["--pid", "--fork", "--kill-child", "busybox", "sh", "-c", "exec 2>&1; . \"$0\""]);
    command.arg(script).arg(program);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output =
        output.context("cannot run `timeout` and `unshare`, which are of coreutils and util-linux")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(!is_timeout(output.status), "it was not done after {PATIENCE} s; it said:\n{}", tail(&said));
    Report::read(&said)
}

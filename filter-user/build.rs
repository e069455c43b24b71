//! Builds the kernel program and puts its object where `kernel::filter` includes it.

#[path = "../filter-ebpf/object.rs"]
mod object;

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Diagnostics cost a ring buffer and a helper call per drop: debug builds only.
    let is_debug = env::var("PROFILE").is_ok_and(|profile| profile == "debug");
    object::build(if is_debug { &["diagnostics"] } else { &[] })
}

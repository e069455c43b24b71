//! Builds the programs that the benches load beside the filter; nothing unless they are built.

#[cfg(feature = "bench")]
#[path = "../filter-ebpf/object.rs"]
mod object;

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "bench")]
    return object::build(&["bench"]);
    #[cfg(not(feature = "bench"))]
    ExitCode::SUCCESS
}

//! Tells the linker, which makes the machine code, that a word may be loaded from wherever it lies: the kernel's machine does
//! so on every architecture that packets are filtered on. Without that, LLVM puts four bytes together by ten instructions.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "bpf") {
        println!("cargo::rustc-link-arg-bins=--cpu-features=+allows-misaligned-mem-access");
    }
}

//! How long it takes to fill the kernel's lists; run by `cargo xtask bench load`, as root.

fn main() {}

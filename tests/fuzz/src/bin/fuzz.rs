//! The fuzzer's door to the targets; the environment variable `GATEPOST_FUZZ` names one.
#![no_main]

use std::sync::OnceLock;

use filter_fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("GATEPOST_FUZZ").unwrap_or_default();
        let found = TARGETS.into_iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("GATEPOST_FUZZ names no target: `{name}`")).1
    });
    target(data);
});

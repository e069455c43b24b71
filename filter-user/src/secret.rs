//! Numbers that nobody outside can guess.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// A number from the system's own randomness, with which the standard library keys its hash maps; never 0.
pub fn number() -> u64 {
    RandomState::new().build_hasher().finish() | 1
}

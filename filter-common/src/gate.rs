//! The gate in front of the lists: two bits that say whether any entry is near a source.
//!
//! An innocent packet costs one load and no lookup, however long the lists are. A bit that is set too much costs a
//! lookup and decides nothing; a bit that is missing would let a blocked source through, so bits are set by whoever
//! writes the lists, and cleared only when the last entry behind them has gone.
//!
//! IPv4 has a pair of bits per /24, all of them. IPv6 has too many networks for that: its pairs lie at a keyed hash of
//! the network, so that nobody outside can choose networks that share a pair. The network is the /64; for prefixes
//! shorter than that it is the prefix cut to one of [`CLASSES`], and only classes that are in use are asked.

use crate::packet::Source;

/// Words of an IPv4 gate: 4 MiB, 32 pairs in each word.
pub const WORDS_V4: u32 = 1 << 19;
/// Words of the IPv6 gate of the block list: 8 MiB. With a million entries, 3 % of innocents are looked up in vain.
pub const WORDS_V6: u32 = 1 << 20;
/// Words of the IPv6 gate of the never-block list, which is asked about blocked sources only: 1 MiB.
pub const NEVER_WORDS_V6: u32 = 1 << 17;

/// The lengths that shorter IPv6 prefixes are cut to; bit `n` of a mask of classes stands for `CLASSES[n]`.
pub const CLASSES: [u32; 4] = [48, 32, 16, 0];
/// The class of a /64 and of everything longer, which is always asked.
pub const WHOLE: u32 = 64;

/// What is near a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Near {
    /// An entry for exactly one host (IPv4) or one /64 (IPv6).
    pub hosts: bool,
    /// A prefix.
    pub prefixes: bool,
}

impl Near {
    /// Nothing is.
    pub const NOTHING: Self = Self { hosts: false, prefixes: false };

    /// The two bits as they stand in a word, at its low end.
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        self.hosts as u64 | (self.prefixes as u64) << 1
    }

    #[inline(always)]
    const fn from_bits(bits: u64) -> Self {
        Self { hosts: bits & 1 != 0, prefixes: bits & 2 != 0 }
    }
}

/// What an IPv6 gate is read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The secret of the hash.
    pub seed: u64,
    /// The classes in use, as bits.
    pub classes: u32,
    /// How many words the gate has; a power of two.
    pub words: u32,
}

/// The place of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The word.
    pub word: u32,
    /// How far up in the word.
    pub shift: u32,
}

impl Slot {
    /// The pair of the `index`-th network.
    #[inline(always)]
    pub const fn of(index: u32) -> Self {
        Self { word: index >> 5, shift: (index & 31) * 2 }
    }

    /// What a word says about this pair.
    #[inline(always)]
    pub const fn near(self, word: u64) -> Near {
        Near::from_bits(word >> self.shift)
    }
}

/// The pair of an address's /24.
#[inline(always)]
pub const fn slot_v4(address: [u8; 4]) -> Slot {
    Slot::of(u32::from_be_bytes(address) >> 8)
}

/// The pair of a network of a class ([`WHOLE`] or one of [`CLASSES`]), by the upper half of an address in it.
#[inline(always)]
pub const fn slot_v6(key: Key, upper: u64, class: u32) -> Slot {
    // Two rounds of multiply and fold: each bit of the seed and of the network reaches each bit of the place.
    let network = upper & upper_mask(class);
    let mut hash = (network ^ key.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^= (hash >> 32) ^ class as u64;
    hash = hash.wrapping_mul(key.seed | 1);
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    Slot::of((hash >> 32) as u32 & (key.words * 32 - 1))
}

/// The class that a prefix length is cut to.
#[inline(always)]
pub const fn class_of(prefix_len: u32) -> u32 {
    match prefix_len {
        0..=15 => 0,
        16..=31 => 16,
        32..=47 => 32,
        48..=63 => 48,
        _ => WHOLE,
    }
}

/// The upper half of an IPv6 address, as a number.
#[inline(always)]
pub const fn upper(address: [u8; 16]) -> u64 {
    (u128::from_be_bytes(address) >> 64) as u64
}

/// What is near a source, by a gate whose words `word` reads.
#[inline(always)]
pub fn near(
    source: Source,
    v4: impl Fn(u32) -> u64,
    v6_key: impl FnOnce() -> Key,
    v6: impl Fn(u32) -> u64,
) -> Near {
    match source {
        Source::V4(address) => {
            let slot = slot_v4(address);
            slot.near(v4(slot.word))
        }
        Source::V6(address) => {
            let (key, upper) = (v6_key(), upper(address));
            let slot = slot_v6(key, upper, WHOLE);
            let mut near = slot.near(v6(slot.word));
            if key.classes != 0 {
                for (bit, class) in CLASSES.into_iter().enumerate() {
                    if key.classes & (1 << bit) != 0 {
                        let slot = slot_v6(key, upper, class);
                        near.prefixes |= slot.near(v6(slot.word)).prefixes;
                    }
                }
            }
            near
        }
    }
}

#[inline(always)]
const fn upper_mask(class: u32) -> u64 {
    match class {
        0 => 0,
        class => u64::MAX << (64 - class),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::BTreeSet;

    use super::*;

    const KEY: Key = Key { seed: 0x0123_4567_89ab_cdef, classes: 0, words: WORDS_V6 };

    #[test]
    fn each_v4_network_has_its_own_pair() {
        assert_eq!(slot_v4([0, 0, 0, 255]), Slot { word: 0, shift: 0 });
        assert_eq!(slot_v4([0, 0, 1, 0]), Slot { word: 0, shift: 2 });
        assert_eq!(slot_v4([255, 255, 255, 0]), Slot { word: WORDS_V4 - 1, shift: 62 });
    }

    #[test]
    fn a_class_sees_its_own_bits_of_an_address_only() {
        let upper = 0x2001_0db8_1234_5678;
        for (class, other) in [(64, upper ^ 1), (48, upper ^ 0x1_0000), (32, upper ^ 0x1_0000_0000)] {
            assert_ne!(slot_v6(KEY, upper, class), slot_v6(KEY, other, class), "/{class}");
        }
        for (class, other) in [(48, upper ^ 0xffff), (32, upper ^ 0xffff_ffff), (0, !upper)] {
            assert_eq!(slot_v6(KEY, upper, class), slot_v6(KEY, other, class), "/{class}");
        }
    }

    #[test]
    fn neighbouring_networks_spread_over_the_gate_and_differently_for_each_seed() {
        let slots = |seed| {
            let key = Key { seed, ..KEY };
            (0..10_000)
                .map(|low| slot_v6(key, 0x2001_0db8_0000_0000 | low, WHOLE))
                .collect::<std::vec::Vec<_>>()
        };
        let (one, other) = (slots(1), slots(2));
        let distinct: BTreeSet<_> = one.iter().map(|slot| (slot.word, slot.shift)).collect();
        // Of 10,000 at random in 33 million, one or two share a place.
        assert!(distinct.len() > 9_990, "{}", distinct.len());
        assert!(one.iter().zip(&other).filter(|(one, other)| one == other).count() < 10);
        assert!(one.iter().all(|slot| slot.word < WORDS_V6));
    }

    #[test]
    fn a_short_prefix_is_seen_only_while_its_class_is_in_use() {
        let address = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
        let key = Key { classes: 0b10, ..KEY };
        let slot = slot_v6(key, upper(address), class_of(40));
        let word = |index| if index == slot.word { 2 << slot.shift } else { 0 };
        let ask = |key| near(Source::V6(address), |_| 0, || key, word);
        assert_eq!(ask(key), Near { hosts: false, prefixes: true });
        assert_eq!(ask(KEY), Near::NOTHING);
    }
}

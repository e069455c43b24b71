//! The gate in front of the lists: two bits that say whether any entry is near a source.
//!
//! An innocent packet costs one load and no lookup, however long the lists are. A bit that is set too much costs a
//! lookup and decides nothing; a bit that is missing would let a blocked source through, so bits are set by whoever
//! writes the lists, and cleared only when the last entry behind them has gone.
//!
//! IPv4 has two bits per /24 (of the never-block list, per /20), all of them. IPv6 has too many networks for that: its
//! bits lie at a keyed hash of the network, so that nobody outside can choose networks that share them. The network is the
//! /64; for prefixes shorter than that it is the prefix cut to one of [`CLASSES`], and only classes that are in use are
//! asked.
//!
//! The first bits, "anything is near", and the second ones, "a prefix is", each lie in a half of their own. An innocent meets
//! the first half only: 2 MiB, which a second cache and its TLB nearly hold, cost a third of what 4 MiB do.
//!
//! Behind a first bit stands the wicket of the block list: two bits at a keyed hash of each host. Of a list of a million,
//! every fifteenth innocent has a blocked neighbour in its /24; the wicket tells nearly all of them apart from that
//! neighbour by one more load, where the lookup costs ten times that.

use crate::packet::Source;

/// The networks that the IPv4 gate of the block list tells apart, by prefix length: two halves of 2 MiB.
pub const LENGTH_V4: u32 = 24;
/// The same for the never-block list, which is short and asked about blocked sources only: two of 128 KiB.
pub const NEVER_LENGTH_V4: u32 = 20;
/// Words of the IPv6 gate of the block list: two halves of 2 MiB. With a million entries, 6 % of innocents come to the
/// wicket.
pub const WORDS_V6: u32 = 1 << 19;
/// Words of the IPv6 gate of the never-block list: two halves of 128 KiB.
pub const NEVER_WORDS_V6: u32 = 1 << 15;
/// Words of a wicket at most: 16 MiB.
pub const WORDS_WICKET: u32 = 1 << 21;

/// Words of a wicket for so many hosts of both families, a power of two; 2 MiB by default. With at least eight bits for
/// each host, a full list lets it take at most one stranger in twenty for a host; by default it is one in sixty.
#[inline(always)]
pub const fn words_wicket(hosts: u32) -> u32 {
    let words = (hosts / 8).next_power_of_two();
    if words > WORDS_WICKET { WORDS_WICKET } else { words }
}

/// The lengths that shorter IPv6 prefixes are cut to; bit `n` of a mask of classes stands for `CLASSES[n]`.
pub const CLASSES: [u32; 4] = [48, 32, 16, 0];
/// The class of a /64 and of everything longer, which is always asked.
pub const WHOLE: u32 = 64;

/// What is near a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Near {
    /// An entry for exactly this host (IPv4) or its /64 (IPv6), as it seems.
    pub hosts: bool,
    /// A prefix.
    pub prefixes: bool,
}

impl Near {
    /// Nothing is.
    pub const NOTHING: Self = Self { hosts: false, prefixes: false };
}

/// What an IPv6 gate is read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The secret of the hash.
    pub seed: u64,
    /// The classes in use, as bits.
    pub classes: u32,
    /// How many words both halves of the IPv6 gate have; a power of two.
    pub words: u32,
    /// The prefix length of the IPv4 networks that are told apart.
    pub length: u32,
    /// How many words the wicket has, a power of two; 0: there is none.
    pub wicket: u32,
}

impl Key {
    /// How many words both halves of the IPv4 gate have.
    #[inline(always)]
    pub const fn words_v4(self) -> u32 {
        words_v4(self.length)
    }
}

/// Words of both halves of an IPv4 gate that tells networks of this length apart.
#[inline(always)]
pub const fn words_v4(length: u32) -> u32 {
    (1 << length) / 32
}

/// What a host leaves in the wicket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The word.
    pub word: u32,
    /// One or two bits there.
    pub bits: u64,
}

impl Mark {
    /// Whether a word has all of it.
    #[inline(always)]
    pub const fn is_in(self, word: u64) -> bool {
        word & self.bits == self.bits
    }
}

/// The place of a network's two bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The word of the first half, where the bit says that anything is near.
    pub word: u32,
    /// That of the second half, where it says that a prefix is.
    pub prefix_word: u32,
    /// How far up in either.
    pub shift: u32,
}

impl Slot {
    /// The place of the `index`-th network in a gate of so many words.
    #[inline(always)]
    pub const fn of(index: u32, words: u32) -> Self {
        Self { word: index >> 6, prefix_word: words / 2 + (index >> 6), shift: index & 63 }
    }

    /// Whether a word has the bit.
    #[inline(always)]
    pub const fn is_in(self, word: u64) -> bool {
        word >> self.shift & 1 != 0
    }
}

/// The place of an address's network of this length.
#[inline(always)]
pub const fn slot_v4(address: [u8; 4], length: u32) -> Slot {
    Slot::of(u32::from_be_bytes(address) >> (32 - length), words_v4(length))
}

/// The place of a network of a class ([`WHOLE`] or one of [`CLASSES`]), by the upper half of an address in it.
#[inline(always)]
pub const fn slot_v6(key: Key, upper: u64, class: u32) -> Slot {
    let hash = hash(key.seed, upper & upper_mask(class), class);
    Slot::of((hash >> 32) as u32 & (key.words * 32 - 1), key.words)
}

/// The mark of a host: of an IPv4 address, or of the /64 that an IPv6 address lies in.
#[inline(always)]
pub const fn mark(key: Key, source: Source) -> Mark {
    let number = match source {
        Source::V4(address) => u32::from_be_bytes(address) as u64,
        Source::V6(address) => upper(address),
    };
    // No class: networks that share a place in the gate must not share a mark as well.
    let hash = hash(key.seed, number, HOSTS);
    let word = (hash >> 32) as u32 & key.wicket.wrapping_sub(1);
    Mark { word, bits: 1 << (hash >> 58) | 1 << (hash >> 26 & 63) }
}

/// Stands for the wicket where a class of the gate would.
const HOSTS: u32 = 255;

/// Two rounds of multiply and fold: each bit of the seed and of the network reaches each bit of the place.
#[inline(always)]
const fn hash(seed: u64, network: u64, class: u32) -> u64 {
    let mut hash = (network ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^= (hash >> 32) ^ class as u64;
    hash = hash.wrapping_mul(seed | 1);
    hash ^= hash >> 29;
    hash.wrapping_mul(0xbf58_476d_1ce4_e5b9)
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

/// What is near a source, by a gate whose words `v4` and `v6` read and that tells IPv4 networks of `length` apart. `is_host`
/// asks the wicket, or says yes.
#[inline(always)]
pub fn near(
    source: Source,
    length: u32,
    v4: impl Fn(u32) -> u64,
    v6_key: impl FnOnce() -> Key,
    v6: impl Fn(u32) -> u64,
    is_host: impl FnOnce() -> bool,
) -> Near {
    match source {
        Source::V4(address) => {
            let slot = slot_v4(address, length);
            if !slot.is_in(v4(slot.word)) {
                return Near::NOTHING;
            }
            Near { hosts: is_host(), prefixes: slot.is_in(v4(slot.prefix_word)) }
        }
        Source::V6(address) => {
            let (key, upper) = (v6_key(), upper(address));
            let slot = slot_v6(key, upper, WHOLE);
            let mut near = Near::NOTHING;
            if slot.is_in(v6(slot.word)) {
                near = Near { hosts: is_host(), prefixes: slot.is_in(v6(slot.prefix_word)) };
            }
            if key.classes != 0 {
                for (bit, class) in CLASSES.into_iter().enumerate() {
                    if key.classes & (1 << bit) != 0 {
                        let slot = slot_v6(key, upper, class);
                        near.prefixes |= slot.is_in(v6(slot.prefix_word));
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

    const KEY: Key = Key {
        seed: 0x0123_4567_89ab_cdef,
        classes: 0,
        words: WORDS_V6,
        length: LENGTH_V4,
        wicket: words_wicket((1 << 20) + (1 << 18)),
    };

    #[test]
    fn each_v4_network_has_its_own_place() {
        let half = words_v4(24) / 2;
        assert_eq!(slot_v4([0, 0, 0, 255], 24), Slot { word: 0, prefix_word: half, shift: 0 });
        assert_eq!(slot_v4([0, 0, 1, 0], 24), Slot { word: 0, prefix_word: half, shift: 1 });
        for length in [LENGTH_V4, NEVER_LENGTH_V4] {
            let last = words_v4(length) - 1;
            let slot = Slot { word: last / 2, prefix_word: last, shift: 63 };
            assert_eq!(slot_v4([255, 255, 255, 0], length), slot);
        }
    }

    #[test]
    fn a_wicket_is_as_large_as_its_list() {
        assert_eq!([0, 8, 9, 1 << 20, u32::MAX].map(words_wicket), [1, 1, 1, 1 << 17, WORDS_WICKET]);
        assert_eq!(words_wicket((1 << 20) + (1 << 18)), 1 << 18);
    }

    #[test]
    fn few_strangers_are_taken_for_one_of_a_million_hosts() {
        let mut words = std::vec![0_u64; KEY.wicket as usize];
        let host = |number: u32| Source::V4(number.wrapping_mul(0x9e37_79b9).to_be_bytes());
        let marks = |range: core::ops::Range<u32>| range.map(|number| mark(KEY, host(number)));
        for Mark { word, bits } in marks(0..1_000_000) {
            words[word as usize] |= bits;
        }
        let known =
            |Mark { word, bits }: &Mark| Mark { word: *word, bits: *bits }.is_in(words[*word as usize]);
        assert!(marks(0..1_000_000).all(|mark| known(&mark)));
        let strangers = marks(1_000_000..2_000_000).filter(known).count();
        assert!((10_000..25_000).contains(&strangers), "{strangers} of a million");
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
        // Of 10,000 at random in 17 million, three share a place.
        assert!(distinct.len() > 9_990, "{}", distinct.len());
        assert!(one.iter().zip(&other).filter(|(one, other)| one == other).count() < 10);
        assert!(one.iter().all(|slot| slot.word < WORDS_V6 / 2 && slot.prefix_word < WORDS_V6));
    }

    #[test]
    fn a_short_prefix_is_seen_only_while_its_class_is_in_use() {
        let address = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
        let key = Key { classes: 0b10, ..KEY };
        let slot = slot_v6(key, upper(address), class_of(40));
        let word = |index| if index == slot.prefix_word { 1 << slot.shift } else { 0 };
        let ask = |key| near(Source::V6(address), LENGTH_V4, |_| 0, || key, word, || true);
        assert_eq!(ask(key), Near { hosts: false, prefixes: true });
        assert_eq!(ask(KEY), Near::NOTHING);
    }
}

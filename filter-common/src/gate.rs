//! The gate in front of the lists: one word that says whether any entry is near a source.
//!
//! An innocent packet costs one load and no lookup, however long the lists are. A bit that is set too much costs a
//! lookup and decides nothing; a bit that is missing would let a blocked source through, so bits are set by whoever
//! writes the lists, and cleared only when the last entry behind them has gone.
//!
//! A word belongs to many networks, IPv4 /24s and IPv6 /64s. Three of its lanes of 16 bits are for hosts: each blocked one
//! has a bit in each. The fourth is for prefixes: whatever touches a network has one bit there, of sixteen for IPv4 and of
//! eight for IPv6. So one load answers for hosts and prefixes, and tells a source from its blocked neighbours. With 16 bits
//! for each host, one innocent in sixty is taken for somebody near. That is what matters: the processor goes on with the
//! packets behind a load that has not come back yet, and each branch that then goes the other way costs it all of them.
//!
//! An IPv4 /24 finds its word by its own bits. Those that share one lie far apart, and whoever wants to slow a stranger down
//! would have to be blocked in such places. IPv6 has more networks than anybody can count, so their words lie at a keyed
//! hash. A prefix marks all /24s in it; IPv6 prefixes shorter than a /64 are cut to one of [`CLASSES`], which have words of
//! their own. Only classes that are in use are asked, and whether any is says the last bit of every word, [`SHORTER`].

use crate::packet::Source;

/// The IPv4 networks that are told apart, by prefix length.
pub const LENGTH_V4: u32 = 24;
/// The lengths that shorter IPv6 prefixes are cut to; bit `n` of a mask of classes stands for `CLASSES[n]`.
pub const CLASSES: [u32; 4] = [48, 32, 16, 0];
/// The class of a /64 and of everything longer, which is always asked.
pub const WHOLE: u32 = 64;

/// Words of the gate of the never-block list, which is short and asked about blocked sources only: 256 KiB.
pub const NEVER_WORDS: u32 = 1 << 15;
/// Words of a gate at most: 8 MiB. A larger one would cost more than the lookups that it spares.
pub const WORDS_LIMIT: u32 = 1 << 20;

/// Words of a gate for so many hosts of both families, a power of two; 2 MiB by default. With at least eight bits for
/// each host, as up to eight million of them have, a full list takes one innocent in sixteen for somebody near; by default
/// it is one in forty.
#[inline(always)]
pub const fn words(hosts: u32) -> u32 {
    let words = (hosts / 8).next_power_of_two();
    if words > WORDS_LIMIT { WORDS_LIMIT } else { words }
}

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

/// A gate that can be read.
pub trait Gate {
    /// How many words it has; a power of two.
    fn words(&self) -> u32;
    /// The secret of its hash; odd.
    fn seed(&self) -> u64;
    /// The classes in use, as bits.
    fn classes(&self) -> u32;
    /// One of its words.
    fn word(&self, index: u32) -> u64;

    /// Whether a prefix shorter than a /64 is near an IPv6 network, by the upper half of its addresses. Asked only where there
    /// are such prefixes, which is why the kernel program has it somewhere else.
    #[inline(always)]
    fn shorter(&self, upper: u64) -> bool {
        shorter(self, upper)
    }
}

/// What a gate is written by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The secret of the hash, odd, so that nobody outside can choose IPv6 networks that share a word.
    pub seed: u64,
    /// How many words the gate has; a power of two.
    pub words: u32,
}

/// What an entry leaves in the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The word.
    pub word: u32,
    /// Of a host three bits there, of a prefix one.
    pub bits: u64,
}

/// A gate outside the kernel, whose words are read by a function.
#[derive(Debug, Clone, Copy)]
pub struct View<W> {
    /// What it is written by.
    pub key: Key,
    /// The classes in use, as bits.
    pub classes: u32,
    /// Reads a word.
    pub word: W,
}

impl<W: Fn(u32) -> u64> Gate for View<W> {
    fn words(&self) -> u32 {
        self.key.words
    }

    fn seed(&self) -> u64 {
        self.key.seed
    }

    fn classes(&self) -> u32 {
        self.classes
    }

    fn word(&self, index: u32) -> u64 {
        (self.word)(index)
    }
}

/// The mark of a host: of an IPv4 address, or of the /64 that an IPv6 address lies in.
#[inline(always)]
pub const fn host(key: Key, source: Source) -> Mark {
    match source {
        Source::V4(address) => {
            let number = u32::from_be_bytes(address);
            Mark { word: word_v4(key.words, number), bits: lanes(spread(number) >> 52) }
        }
        Source::V6(address) => {
            let hash = hash(key.seed, upper(address), WHOLE);
            Mark { word: word_v6(key.words, hash), bits: lanes(hash >> 52) }
        }
    }
}

/// The mark of a prefix in the word of an IPv4 /24, by an address in it.
#[inline(always)]
pub const fn prefix_v4(key: Key, address: u32) -> Mark {
    Mark { word: word_v4(key.words, address), bits: PREFIXES << (address >> 28) }
}

/// The mark of a prefix that is cut to a class ([`WHOLE`] or one of [`CLASSES`]), by the upper half of an address in it.
#[inline(always)]
pub const fn prefix_v6(key: Key, upper: u64, class: u32) -> Mark {
    let hash = hash(key.seed, upper & upper_mask(class), class);
    Mark { word: word_v6(key.words, hash), bits: PREFIXES << prefix_bit_v6(hash) }
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

/// What is near a source.
#[inline(always)]
pub fn near<G: Gate>(gate: &G, source: Source) -> Near {
    match source {
        Source::V4(address) => {
            let number = u32::from_be_bytes(address);
            let found = gate.word(word_v4(gate.words(), number));
            let hosts = has_lanes(found, spread(number) >> 52);
            Near { hosts, prefixes: found >> 48 >> (number >> 28) & 1 != 0 }
        }
        Source::V6(address) => {
            let upper = upper(address);
            let hash = hash(gate.seed(), upper, WHOLE);
            let found = gate.word(word_v6(gate.words(), hash));
            let hosts = has_lanes(found, hash >> 52);
            let mut prefixes = found >> 48 >> prefix_bit_v6(hash) & 1 != 0;
            if found & SHORTER != 0 {
                prefixes |= gate.shorter(upper);
            }
            Near { hosts, prefixes }
        }
    }
}

/// What [`Gate::shorter`] says.
#[inline(always)]
pub fn shorter<G: Gate + ?Sized>(gate: &G, upper: u64) -> bool {
    let (seed, words, classes) = (gate.seed(), gate.words(), gate.classes());
    let mut near = false;
    for (bit, class) in CLASSES.into_iter().enumerate() {
        if classes & (1 << bit) != 0 {
            let hash = hash(seed, upper & upper_mask(class), class);
            near |= gate.word(word_v6(words, hash)) >> 48 >> prefix_bit_v6(hash) & 1 != 0;
        }
    }
    near
}

/// Set in every word as long as there are IPv6 prefixes shorter than a /64. It is also the bit of IPv4 prefixes that touch
/// 240.0.0.0/4, which sends nothing (RFC 1112 section 4), and then set in every word, too: nobody has to count it by the word.
pub const SHORTER: u64 = 1 << 63;

/// The first bit of the lane of prefixes; the 16 parts of the IPv4 space have one each.
const PREFIXES: u64 = 1 << 48;

/// An odd number without a pattern.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Whether a word has all of [`lanes`]; shifting the word is less work than making the bits.
#[inline(always)]
const fn has_lanes(word: u64, number: u64) -> bool {
    word >> (number & 15) & word >> 16 >> (number >> 4 & 15) & word >> 32 >> (number >> 8 & 15) & 1 != 0
}

/// A bit in each lane of hosts, by the lowest twelve bits of a number.
#[inline(always)]
const fn lanes(number: u64) -> u64 {
    1 << (number & 15) | 1 << (16 + (number >> 4 & 15)) | 1 << (32 + (number >> 8 & 15))
}

#[inline(always)]
const fn word_v4(words: u32, address: u32) -> u32 {
    address >> (32 - LENGTH_V4) & words.wrapping_sub(1)
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "of a hash, any bits will do")]
const fn word_v6(words: u32, hash: u64) -> u32 {
    (hash >> 29) as u32 & words.wrapping_sub(1)
}

/// Which of the eight bits a network has in the lane of prefixes.
#[inline(always)]
const fn prefix_bit_v6(hash: u64) -> u32 {
    (hash >> 49) as u32 & 7
}

/// Neighbours become strangers, in the upper bits.
#[inline(always)]
const fn spread(address: u32) -> u64 {
    (address as u64).wrapping_mul(GOLDEN)
}

/// Multiply, fold, multiply by the secret: the upper half depends on all of the network and of the secret.
#[inline(always)]
const fn hash(seed: u64, network: u64, class: u32) -> u64 {
    let mixed = (network ^ seed).wrapping_mul(GOLDEN);
    (mixed ^ (mixed >> 32) ^ (WHOLE - class) as u64).wrapping_mul(seed)
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
    use std::vec::Vec;

    use super::*;

    const KEY: Key = Key { seed: 0x0123_4567_89ab_cdef, words: words((1 << 20) + (1 << 18)) };

    fn gate(words: &[u64], classes: u32) -> View<impl Fn(u32) -> u64> {
        View { key: KEY, classes, word: |index| words[index as usize] }
    }

    fn v4(number: u32) -> Source {
        Source::V4(number.to_be_bytes())
    }

    fn v6(upper: u64) -> Source {
        Source::V6((u128::from(upper) << 64 | 1).to_be_bytes())
    }

    #[test]
    fn a_gate_is_as_large_as_its_list() {
        assert_eq!([0, 8, 9, 1 << 20, u32::MAX].map(words), [1, 1, 1, 1 << 17, WORDS_LIMIT]);
        assert_eq!(KEY.words, 1 << 18);
    }

    #[test]
    fn few_strangers_are_taken_for_somebody_near_a_million_hosts() {
        let spread = |number: u32| {
            let number = (number ^ number >> 16).wrapping_mul(0x85eb_ca6b);
            (number ^ number >> 13).wrapping_mul(0xc2b2_ae35)
        };
        let families: [&dyn Fn(u32) -> Source; 2] =
            [&|number| v4(spread(number)), &|number| v6(0x2001_0db8 << 32 | u64::from(spread(number)))];
        for source in families {
            let mut words = std::vec![0; KEY.words as usize];
            for number in 0..1_000_000 {
                let Mark { word, bits } = host(KEY, source(number));
                words[word as usize] |= bits;
            }
            let near = |number| near(&gate(&words, 0), source(number));
            assert!((0..1_000_000).all(|number| near(number).hosts));
            let strangers = (1_000_000..2_000_000).filter(|number| near(*number) != Near::NOTHING).count();
            assert!((10_000..20_000).contains(&strangers), "{strangers} of a million, {:?}", source(1));
        }
    }

    #[test]
    fn a_class_sees_its_own_bits_of_an_address_only() {
        let upper = 0x2001_0db8_1234_5678;
        for (class, other) in [(64, upper ^ 1), (48, upper ^ 0x1_0000), (32, upper ^ 0x1_0000_0000)] {
            assert_ne!(prefix_v6(KEY, upper, class), prefix_v6(KEY, other, class), "/{class}");
        }
        for (class, other) in [(48, upper ^ 0xffff), (32, upper ^ 0xffff_ffff), (0, !upper)] {
            assert_eq!(prefix_v6(KEY, upper, class), prefix_v6(KEY, other, class), "/{class}");
        }
    }

    #[test]
    fn an_ipv4_network_shares_its_prefix_bit_with_three_others() {
        let first = prefix_v4(KEY, 0x0a01_0200);
        assert_eq!(prefix_v4(KEY, 0x0a01_02ff), first, "one address of it is like another");
        let others = (0..1 << 24).filter(|network| prefix_v4(KEY, network << 8) == first);
        assert_eq!(others.collect::<Vec<_>>(), [0x2_0102, 0x6_0102, 0xa_0102, 0xe_0102]);
    }

    #[test]
    fn neighbouring_networks_spread_over_the_gate_and_differently_for_each_seed() {
        let words = |seed| {
            let source = |low: u64| v6(0x2001_0db8_0000_0000 | low);
            (0..10_000).map(|low| host(Key { seed, ..KEY }, source(low)).word).collect::<Vec<_>>()
        };
        let (one, other) = (words(0x0123_4567_89ab_cdef), words(0x0123_4567_89ab_cdf1));
        let distinct: BTreeSet<_> = one.iter().collect();
        // Of 10,000 at random in 262,144 words, 190 meet another one.
        assert!(distinct.len() > 9_700, "{}", distinct.len());
        assert!(one.iter().zip(&other).filter(|(one, other)| one == other).count() < 10);
    }

    #[test]
    fn a_short_prefix_is_seen_only_while_its_class_is_in_use() {
        let upper = 0x2001_0db8_0000_0001;
        let mark = prefix_v6(KEY, upper, class_of(40));
        let mut words = std::vec![0; KEY.words as usize];
        words[mark.word as usize] |= mark.bits;
        let silent = near(&gate(&words, 0b10), v6(upper));
        assert_eq!(silent, Near::NOTHING, "nothing says that there are shorter prefixes");
        for word in &mut words {
            *word |= SHORTER;
        }
        assert_eq!(near(&gate(&words, 0b10), v6(upper)), Near { hosts: false, prefixes: true });
        assert_eq!(near(&gate(&words, 0b101), v6(upper)), Near::NOTHING, "another class");
    }
}

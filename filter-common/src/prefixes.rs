//! IPv4 prefixes in a [`table`](crate::table): one question for each length that is in use around a source.
//!
//! A trie of the kernel's is a call, and a node behind the other. Most networks of 65,536 addresses, however, have prefixes
//! of one or two lengths in or around them, and a word says of which: a bit for each length from 31 down to 0. So a source is
//! asked about by the prefixes that may be around it, the longest first, each as its own entry of a table.
//!
//! A length is handled as its bit: the lowest is 31. All that is asked of a length, its mask and whether it is the longest of
//! some, is one operation on that bit, while the kernel's machine cannot count zeros.

use crate::judge::Around;

/// Words of lengths: one for each two networks of [`BLOCK_LENGTH`].
pub const WORDS: u32 = 1 << 15;

/// The networks that lengths are remembered for, by prefix length.
pub const BLOCK_LENGTH: u32 = 16;

/// Lengths that there can be around an address, and so steps of a [`Search`].
pub const LENGTHS: u32 = 32;

/// Where the lengths around an address are: the word, and how far they are shifted there.
#[inline(always)]
pub const fn lengths_at(address: u32) -> (u32, u32) {
    (address >> (33 - BLOCK_LENGTH), address >> (32 - BLOCK_LENGTH) << 5 & 32)
}

/// The lengths around an address, which `word` reads.
#[inline(always)]
pub fn lengths(address: u32, word: impl FnOnce(u32) -> u64) -> u32 {
    let (index, shift) = lengths_at(address);
    (word(index) >> shift & 0xffff_ffff) as u32
}

/// The bit of a prefix length of at most 31.
#[inline(always)]
pub const fn bit(prefix_len: u32) -> u32 {
    1 << (31 - prefix_len)
}

/// What the prefix of a length, given by its bit, around an address is called in its table.
#[inline(always)]
pub const fn key(address: u32, bit: u32) -> u64 {
    (bit as u64) << 32 | (address & (bit << 1).wrapping_neg()) as u64
}

/// A search for the longest prefix around an address that has not ended. It is made of steps, because a loop in the kernel is a
/// function that is called for each of them.
#[derive(Debug)]
pub struct Search {
    address: u32,
    lengths: u32,
    /// What it has found: a prefix, by its key, if `is_live`.
    key: u64,
    is_live: bool,
    is_near: bool,
}

impl Search {
    /// A search among prefixes of these lengths.
    #[inline(always)]
    pub const fn new(address: u32, lengths: u32) -> Self {
        Self { address, lengths, key: 0, is_live: false, is_near: false }
    }

    /// Looks for the prefix of one more length; says whether to go on. `has_ended` says it of the prefix with a key, if there
    /// is one.
    #[inline(always)]
    pub fn step(&mut self, has_ended: impl FnOnce(u64) -> Option<bool>) -> bool {
        if self.lengths == 0 {
            return false;
        }
        self.key = key(self.address, self.lengths & self.lengths.wrapping_neg());
        self.lengths &= self.lengths - 1;
        if let Some(has_ended) = has_ended(self.key) {
            self.is_near = true;
            self.is_live = !has_ended;
        }
        !self.is_live
    }

    /// What has been found; a live prefix by its key.
    #[inline(always)]
    pub const fn end(self) -> Around<u64> {
        match self {
            Self { is_live: true, key, .. } => Around::Live(key),
            Self { is_near: true, .. } => Around::Ended,
            Self { .. } => Around::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::table::tests::Toy;

    #[test]
    fn a_bit_stands_for_a_length() {
        assert_eq!(key(0xffff_ffff, bit(31)), 1 << 32 | 0xffff_fffe);
        assert_eq!(key(0xc000_02ff, bit(24)), 1 << 39 | 0xc000_0200);
        assert_eq!(key(0xffff_ffff, bit(0)), 1 << 63);
    }

    #[test]
    fn each_block_has_half_a_word() {
        assert_eq!(lengths_at(0x0001_ffff), (0, 32));
        assert_eq!(lengths_at(0x0002_0000), (1, 0));
        assert_eq!(lengths_at(0xffff_0000), (WORDS - 1, 32));
    }

    proptest! {
        #[test]
        fn the_longest_that_has_not_ended_is_found(
            entries in prop::collection::vec((0_u32..32, 0_u32..8, any::<bool>()), 0..60), low in 0_u32..8, high in 0_u32..2,
        ) {
            let address = 0x0a00_0000 | high << 16 | low;
            // Of one network, the first counts.
            let mut list: Vec<(u64, u32, bool)> = vec![];
            for (length, low, ended) in entries {
                let key = key(0x0a00_0000 | low, bit(length));
                if list.iter().all(|(known, ..)| *known != key) {
                    list.push((key, length, ended));
                }
            }
            let mut toy = Toy::new(200);
            prop_assert!(list.iter().all(|(key, ..)| toy.insert(*key)));
            let ended = |key| list.iter().find(|(known, ..)| *known == key).is_some_and(|(.., ended)| *ended);
            let lengths = list.iter().fold(0, |lengths, (_, length, _)| lengths | bit(*length));
            let mut search = Search::new(address, lengths);
            for step in 0.. {
                let find = |key| toy.find(key).map(|_| ended(key));
                if !search.step(find) {
                    prop_assert!(step <= LENGTHS);
                    break;
                }
            }
            let found = search.end();
            let around = list.iter().filter(|(known, length, _)| key(address, bit(*length)) == *known);
            let (live, gone): (Vec<_>, Vec<_>) = around.partition(|(.., ended)| !ended);
            let expected = match live.iter().max_by_key(|(_, length, _)| *length) {
                Some((key, ..)) => Around::Live(*key),
                None if gone.is_empty() => Around::Nothing,
                None => Around::Ended,
            };
            prop_assert_eq!(found, expected);
        }
    }
}

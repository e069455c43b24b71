//! Which lengths of IPv4 prefixes are in use around each source, as [`filter_common::prefixes`] reads them.
//!
//! Like the book of a gate, this one counts what stands behind each bit, and tells whoever owns the map of the bits that
//! change.

use core::ops::RangeInclusive;

use filter_common::prefixes::{BLOCK_LENGTH, bit, lengths_at};
use hashbrown::HashMap;
use ipnet::Ipv4Net;

use crate::gate::Bits;

/// The lengths of the prefixes of one list.
#[derive(Debug, Default)]
pub struct Lengths {
    /// Prefixes by the block that they lie in and their length, if they are longer than a block. Of each other length there can
    /// be only one around a block.
    needs: HashMap<(u32, u8), u16>,
}

impl Lengths {
    /// A prefix is in its table now, and was not before.
    pub fn add(&mut self, network: Ipv4Net, bits: &mut dyn Bits) {
        let length = network.prefix_len();
        for block in blocks(network) {
            if u32::from(length) > BLOCK_LENGTH {
                let needs = self.needs.entry((block, length)).or_default();
                *needs += 1;
                if *needs > 1 {
                    continue;
                }
            }
            let (word, bit) = place(block, length);
            bits.set(word, bit);
        }
    }

    /// A prefix is about to leave its table.
    pub fn remove(&mut self, network: Ipv4Net, bits: &mut dyn Bits) {
        let length = network.prefix_len();
        for block in blocks(network) {
            if let Some(needs) = self.needs.get_mut(&(block, length)) {
                *needs -= 1;
                if *needs > 0 {
                    continue;
                }
                self.needs.remove(&(block, length));
            }
            let (word, bit) = place(block, length);
            bits.clear(word, bit);
        }
    }
}

/// The blocks in or around a prefix.
fn blocks(network: Ipv4Net) -> RangeInclusive<u32> {
    let block = |address| u32::from(address) >> (32 - BLOCK_LENGTH);
    block(network.network())..=block(network.broadcast())
}

fn place(block: u32, length: u8) -> (u32, u64) {
    let (word, shift) = lengths_at(block << (32 - BLOCK_LENGTH));
    (word, u64::from(bit(length.into())) << shift)
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use filter_common::prefixes::lengths;
    use proptest::prelude::*;

    use super::*;
    use crate::gate::tests::Memory;

    fn prefix() -> impl Strategy<Value = Ipv4Net> {
        let parts = (0_u32..4, 0_u32..3, prop_oneof![0_u8..=31, 14_u8..19]);
        parts.prop_map(|(high, low, length)| {
            Ipv4Net::new((0x0a00_0000 | high << 16 | low << 8).into(), length).unwrap().trunc()
        })
    }

    proptest! {
        #[test]
        fn a_length_is_there_while_a_prefix_of_it_is(
            steps in proptest::collection::vec((prefix(), any::<bool>()), 1..40),
        ) {
            let (mut book, mut bits, mut held) = (Lengths::default(), Memory::default(), BTreeSet::new());
            for (prefix, comes) in steps {
                match comes {
                    true if held.insert(prefix) => book.add(prefix, &mut bits),
                    false if held.remove(&prefix) => book.remove(prefix, &mut bits),
                    _ => {}
                }
            }
            for block in 0x09fe_u32..0x0a06 {
                let own = Ipv4Net::new((block << 16).into(), 16).unwrap();
                let around = held.iter().filter(|prefix| prefix.contains(&own) || own.contains(*prefix));
                let expected = around.fold(0, |lengths, prefix| lengths | bit(prefix.prefix_len().into()));
                prop_assert_eq!(lengths(block << 16, |word| bits.word(word)), expected, "{}", own);
            }
        }
    }
}

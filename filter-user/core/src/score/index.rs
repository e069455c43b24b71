//! Where the record of each scope is: a hash table that can be asked in two steps.
//!
//! A general one looks at its own memory and at the record in one go, and whoever asks for many waits for each by itself.
//! Here the two are apart: [`Index::guess`] for all of them, then the records. A slot keeps the whole hash beside the place,
//! so that neither growing nor removing looks at a record. Half of the slots stay free: a look ends in the line of the cache
//! where it began.

use alloc::vec;
use alloc::vec::Vec;
use core::hash::BuildHasher as _;

use hashbrown::DefaultHashBuilder;

use super::NONE;
use crate::client::Scope;

/// The fewest slots of a table that is not empty.
const SMALLEST: usize = 16;

/// A hash of a scope, with a key that nobody outside knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Hash(u32);

#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: Hash,
    place: u32,
}

const FREE: Slot = Slot { hash: Hash(0), place: NONE };

/// The places of all records; see the head of this module.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// A power of two, or none yet.
    slots: Vec<Slot>,
    len: usize,
    hasher: DefaultHashBuilder,
}

impl Index {
    /// The hash of a scope.
    pub(super) fn hash(&self, scope: Scope) -> Hash {
        let network = scope.network();
        let bits = match network.addr() {
            core::net::IpAddr::V4(address) => u128::from(address.to_bits()) | 1 << 64,
            core::net::IpAddr::V6(address) => address.to_bits(),
        };
        let hash = self.hasher.hash_one((bits, network.prefix_len()));
        Hash(u32::try_from(hash >> 32).unwrap_or(0))
    }

    /// Brings the home of a hash into the cache; says what stands there, which means nothing by itself.
    pub(super) fn glance(&self, hash: Hash) -> u32 {
        self.slots.get(self.home(hash)).map_or(NONE, |slot| slot.place)
    }

    /// The first place that may be the one; [`NONE`] if there is none. No record is looked at.
    pub(super) fn guess(&self, hash: Hash) -> u32 {
        self.candidates(hash).next().map_or(NONE, |(_, place)| place)
    }

    /// The place that is the right one.
    pub(super) fn find(&self, hash: Hash, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.candidates(hash).map(|(_, place)| place).find(|place| is_it(*place))
    }

    /// Enters a place that is not in it.
    pub(super) fn insert(&mut self, hash: Hash, place: u32) {
        if self.len * 2 >= self.slots.len() {
            let slots = vec![FREE; (self.slots.len() * 2).max(SMALLEST)];
            for slot in core::mem::replace(&mut self.slots, slots) {
                if slot.place != NONE {
                    self.put(slot);
                }
            }
        }
        self.put(Slot { hash, place });
        self.len += 1;
    }

    /// What was in one place is in another one now.
    pub(super) fn rename(&mut self, hash: Hash, from: u32, to: u32) {
        if let Some(number) = self.number(hash, from) {
            self.slots[number].place = to;
        }
    }

    /// Takes a place out.
    pub(super) fn remove(&mut self, hash: Hash, place: u32) {
        let Some(mut hole) = self.number(hash, place) else { return };
        self.len -= 1;
        // Whoever stands behind the hole only because it was taken moves into it, so that no look ends early.
        let mask = self.slots.len() - 1;
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let slot = self.slots[next];
            if slot.place == NONE {
                break;
            }
            let (from_home, from_hole) = (next.wrapping_sub(self.home(slot.hash)), next.wrapping_sub(hole));
            if from_home & mask >= from_hole & mask {
                self.slots[hole] = slot;
                hole = next;
            }
        }
        self.slots[hole] = FREE;
    }

    /// How many places there are.
    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    fn number(&self, hash: Hash, place: u32) -> Option<usize> {
        self.candidates(hash).find(|(_, other)| *other == place).map(|(number, _)| number)
    }

    /// The slots with this hash.
    fn candidates(&self, hash: Hash) -> impl Iterator<Item = (usize, u32)> {
        self.run(hash).filter(move |(_, slot)| slot.hash == hash).map(|(number, slot)| (number, slot.place))
    }

    /// The taken slots from the home of a hash on.
    fn run(&self, hash: Hash) -> impl Iterator<Item = (usize, Slot)> {
        let (mask, home) = (self.slots.len().wrapping_sub(1), self.home(hash));
        let numbers = (0..self.slots.len()).map(move |step| (home + step) & mask);
        numbers.map(|number| (number, self.slots[number])).take_while(|(_, slot)| slot.place != NONE)
    }

    fn home(&self, hash: Hash) -> usize {
        hash.0 as usize & self.slots.len().wrapping_sub(1)
    }

    fn put(&mut self, slot: Slot) {
        let number = self.home(slot.hash) + self.run(slot.hash).count();
        let mask = self.slots.len() - 1;
        self.slots[number & mask] = slot;
    }
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::client::{ClientAddr, ScopeWidth};

    fn scope(address: impl Into<IpAddr>) -> Scope {
        ScopeWidth::default().scope_of(ClientAddr::new(address.into()))
    }

    proptest! {
        /// With so few hashes that most of them meet.
        #[test]
        fn it_is_a_map(steps in proptest::collection::vec((0_u32..24, 0_u32..40, any::<bool>()), 0..300)) {
            let (mut index, mut map) = (Index::default(), alloc::collections::BTreeMap::new());
            for (hash, place, comes) in steps {
                // The last homes as well, from which a look goes on at the first slot.
                let known = Hash(hash.wrapping_sub(4));
                match map.get(&place).copied() {
                    None if comes => {
                        index.insert(known, place);
                        map.insert(place, known);
                    }
                    Some(old) if comes => {
                        index.rename(old, place, place + 1000);
                        prop_assert_eq!(index.find(old, |other| other == place + 1000), Some(place + 1000));
                        index.rename(old, place + 1000, place);
                    }
                    Some(old) => {
                        index.remove(old, place);
                        map.remove(&place);
                    }
                    None => index.remove(known, place),
                }
                prop_assert_eq!(index.len(), map.len());
                for place in 0..40 {
                    let hash = map.get(&place).copied().unwrap_or(known);
                    let found = index.find(hash, |other| other == place);
                    prop_assert_eq!(found, map.contains_key(&place).then_some(place));
                }
            }
        }
    }

    /// Addresses that somebody has chosen: in steps of a power of two, all in one corner, or mirrored.
    #[test]
    fn no_choice_of_addresses_makes_a_look_long() {
        const CLIENTS: u32 = 1 << 17;
        let v4 = |bits: u32| scope(Ipv4Addr::from_bits(bits));
        let v6 = |bits: u64| scope(Ipv6Addr::from_bits(u128::from(bits) << 64));
        let choices: [&dyn Fn(u32) -> Scope; 6] = [
            &|number| v4(number),
            &|number| v4(number << 15),
            &|number| v4(number.reverse_bits()),
            &|number| v6(0x2001_0db8 << 32 | u64::from(number)),
            &|number| v6(0x2001_0db8 << 32 | u64::from(number) << 15),
            &|number| v6(u64::from(number).reverse_bits() | u64::from(number)),
        ];
        for (which, choice) in choices.iter().enumerate() {
            let mut index = Index::default();
            for number in 0..CLIENTS {
                index.insert(index.hash(choice(number)), number);
            }
            let run = |number| index.run(index.hash(choice(number))).count();
            let longest = (0..CLIENTS).map(run).max();
            // At half load and by chance: about 40.
            assert!(longest < Some(150), "{which}: {longest:?}");
        }
    }
}

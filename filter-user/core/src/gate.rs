//! What stands behind each bit of a gate of the kernel filter.
//!
//! The [`Book`] knows every entry of one list and counts, for each pair of bits, the entries that need them. So it can
//! say exactly when a bit must be set and when nobody needs it any more. It touches no map: whoever owns one is told
//! of single bits through [`Bits`].

use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use filter_common::gate::{self, CLASSES, Key, Near, Slot, WHOLE};
use hashbrown::{HashMap, HashSet};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Which of the two gates of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Pairs by /24.
    V4,
    /// Pairs by hash.
    V6,
}

/// A gate that can be written.
pub trait Bits {
    /// Sets these bits of a word.
    fn set(&mut self, family: Family, word: u32, bits: u64);
    /// Clears these bits of a word.
    fn clear(&mut self, family: Family, word: u32, bits: u64);
}

/// How many entries need the two bits of a pair.
#[derive(Debug, Clone, Copy, Default)]
struct Needs {
    hosts: u32,
    prefixes: u32,
}

/// The entries of one list; see the head of this module.
#[derive(Debug)]
pub struct Book {
    key: Key,
    hosts_v4: HashSet<u32>,
    scopes_v6: HashSet<u64>,
    prefixes: HashSet<IpNet>,
    /// One for each /24; a list that is short touches few of these pages. At most 256 hosts, and at most 24 prefixes
    /// around and 254 within, lie in a /24.
    near_v4: Vec<[u16; 2]>,
    near_v6: HashMap<u32, Needs>,
    classes: [u32; CLASSES.len()],
}

impl Book {
    /// An empty book for gates that are read by this key.
    pub fn new(key: Key) -> Self {
        Self {
            key: Key { classes: 0, ..key },
            hosts_v4: HashSet::new(),
            scopes_v6: HashSet::new(),
            prefixes: HashSet::new(),
            near_v4: vec![[0; 2]; 1 << 24],
            near_v6: HashMap::new(),
            classes: [0; CLASSES.len()],
        }
    }

    /// Whether there is an entry for exactly this network.
    pub fn contains(&self, network: &IpNet) -> bool {
        match Place::of(network) {
            Place::HostV4(host) => self.hosts_v4.contains(&host),
            Place::ScopeV6(scope) => self.scopes_v6.contains(&scope),
            Place::PrefixV4(_) | Place::PrefixV6(_) => self.prefixes.contains(network),
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.hosts_v4.len() + self.scopes_v6.len() + self.prefixes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The classes in use; the kernel must know them before a prefix of a new class counts.
    pub fn classes(&self) -> u32 {
        (0..).zip(self.classes).filter(|(_, count)| *count > 0).fold(0, |mask, (bit, _)| mask | 1 << bit)
    }

    /// An entry is in its map now; one that was there already changes nothing.
    pub fn add(&mut self, network: &IpNet, bits: &mut dyn Bits) {
        let place = Place::of(network);
        let is_new = match place {
            Place::HostV4(host) => self.hosts_v4.insert(host),
            Place::ScopeV6(scope) => self.scopes_v6.insert(scope),
            Place::PrefixV4(_) | Place::PrefixV6(_) => self.prefixes.insert(*network),
        };
        if is_new {
            self.count(place, true, bits);
        }
    }

    /// An entry is about to leave its map; one that was not there changes nothing.
    pub fn remove(&mut self, network: &IpNet, bits: &mut dyn Bits) {
        let place = Place::of(network);
        let was_there = match place {
            Place::HostV4(host) => self.hosts_v4.remove(&host),
            Place::ScopeV6(scope) => self.scopes_v6.remove(&scope),
            Place::PrefixV4(_) | Place::PrefixV6(_) => self.prefixes.remove(network),
        };
        if was_there {
            self.count(place, false, bits);
        }
    }

    fn count(&mut self, place: Place, up: bool, bits: &mut dyn Bits) {
        match place {
            Place::HostV4(host) => self.count_v4(host >> 8, 1, 0, up, bits),
            Place::PrefixV4(network) => {
                let networks = 1 << 24_u8.saturating_sub(network.prefix_len());
                self.count_v4(u32::from(network.network()) >> 8, networks, 1, up, bits);
            }
            Place::ScopeV6(scope) => self.count_v6(scope, WHOLE, true, up, bits),
            Place::PrefixV6(network) => {
                let class = gate::class_of(network.prefix_len().into());
                if let Some(place) = CLASSES.iter().position(|other| *other == class) {
                    step(&mut self.classes[place], up);
                }
                self.count_v6(gate::upper(network.network().octets()), class, false, up, bits);
            }
        }
    }

    /// Counts one entry in `networks` /24s in a row, and writes each word of the gate at most once.
    fn count_v4(&mut self, first: u32, networks: u32, which: usize, up: bool, bits: &mut dyn Bits) {
        let mut pending = (Slot::of(first).word, 0);
        for index in first..first + networks {
            let needs = &mut self.near_v4[index as usize][which];
            *needs = if up { *needs + 1 } else { *needs - 1 };
            if *needs != u16::from(up) {
                continue;
            }
            let slot = Slot::of(index);
            if slot.word != pending.0 {
                flip(bits, Family::V4, pending, up);
                pending = (slot.word, 0);
            }
            pending.1 |= 1 << (slot.shift as usize + which);
        }
        flip(bits, Family::V4, pending, up);
    }

    fn count_v6(&mut self, upper: u64, class: u32, is_host: bool, up: bool, bits: &mut dyn Bits) {
        let slot = gate::slot_v6(self.key, upper, class);
        let index = slot.word * 32 + slot.shift / 2;
        let needs = self.near_v6.entry(index).or_default();
        let (count, near) = if is_host {
            (&mut needs.hosts, Near { hosts: true, ..Near::NOTHING })
        } else {
            (&mut needs.prefixes, Near { prefixes: true, ..Near::NOTHING })
        };
        step(count, up);
        let flips = *count == u32::from(up);
        if needs.hosts == 0 && needs.prefixes == 0 {
            self.near_v6.remove(&index);
        }
        if flips {
            flip(bits, Family::V6, (slot.word, near.bits() << slot.shift), up);
        }
    }
}

/// Where an entry is kept, and so what it needs of the gate.
#[derive(Debug, Clone, Copy)]
enum Place {
    HostV4(u32),
    ScopeV6(u64),
    PrefixV4(Ipv4Net),
    PrefixV6(Ipv6Net),
}

impl Place {
    fn of(network: &IpNet) -> Self {
        match (network, network.addr()) {
            (IpNet::V4(_), IpAddr::V4(address)) if network.prefix_len() == 32 => Self::HostV4(address.into()),
            (IpNet::V6(_), IpAddr::V6(address)) if network.prefix_len() == 64 => {
                Self::ScopeV6(gate::upper(address.octets()))
            }
            (IpNet::V4(network), _) => Self::PrefixV4(*network),
            (IpNet::V6(network), _) => Self::PrefixV6(*network),
        }
    }
}

const fn step(count: &mut u32, up: bool) {
    *count = if up { *count + 1 } else { *count - 1 };
}

fn flip(bits: &mut dyn Bits, family: Family, (word, mask): (u32, u64), up: bool) {
    match mask {
        0 => {}
        mask if up => bits.set(family, word, mask),
        mask => bits.clear(family, word, mask),
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::{BTreeMap, BTreeSet};

    use filter_common::packet::Source;
    use proptest::prelude::*;

    use super::*;

    const KEY: Key = Key { seed: 7, classes: 0, words: gate::NEVER_WORDS_V6 };

    /// A gate that also notices bits that are set twice or cleared in vain.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Memory(BTreeMap<(bool, u32), u64>);

    impl Bits for Memory {
        fn set(&mut self, family: Family, word: u32, bits: u64) {
            let word = self.0.entry((family == Family::V4, word)).or_default();
            assert_eq!(*word & bits, 0, "set twice");
            *word |= bits;
        }

        fn clear(&mut self, family: Family, word: u32, bits: u64) {
            let key = (family == Family::V4, word);
            let word = self.0.get_mut(&key).expect("cleared in vain");
            assert_eq!(*word & bits, bits, "cleared in vain");
            *word &= !bits;
            if *word == 0 {
                self.0.remove(&key);
            }
        }
    }

    impl Memory {
        fn near(&self, address: IpAddr, classes: u32) -> Near {
            let source = match address {
                IpAddr::V4(address) => Source::V4(address.octets()),
                IpAddr::V6(address) => Source::V6(address.octets()),
            };
            let word = |is_v4| move |word| self.0.get(&(is_v4, word)).copied().unwrap_or(0);
            gate::near(source, word(true), || Key { classes, ..KEY }, word(false))
        }
    }

    fn network() -> impl Strategy<Value = IpNet> {
        let v4 = (0_u32..2048, 12_u8..=32).prop_map(|(low, length)| {
            let address = IpAddr::from((0x0a00_0000_u32 | low << 5).to_be_bytes());
            IpNet::new(address, length).unwrap().trunc()
        });
        let v6 = (
            0_u128..8,
            prop_oneof![
                Just(0_u8),
                Just(10),
                Just(20),
                Just(33),
                Just(48),
                Just(60),
                Just(64),
                Just(65),
                Just(128)
            ],
        )
            .prop_map(|(low, length)| {
                let address = (0x2001_0db8_u128 << 96 | low << 62 | low).to_be_bytes();
                IpNet::new(IpAddr::from(address), length).unwrap().trunc()
            });
        prop_oneof![v4, v6]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn bits_are_set_while_an_entry_needs_them_and_no_longer(
            steps in proptest::collection::vec((network(), any::<bool>()), 1..60),
        ) {
            let (mut book, mut bits, mut wanted) = (Book::new(KEY), Memory::default(), BTreeSet::new());
            for (network, add) in steps {
                if add {
                    book.add(&network, &mut bits);
                    wanted.insert(network);
                } else {
                    book.remove(&network, &mut bits);
                    wanted.remove(&network);
                }
                prop_assert_eq!(book.contains(&network), add);
            }
            for network in &wanted {
                let near = bits.near(network.addr(), book.classes());
                let is_host = matches!(Place::of(network), Place::HostV4(_) | Place::ScopeV6(_));
                prop_assert!(if is_host { near.hosts } else { near.prefixes }, "{network} is not seen");
            }
            // Built in one go from what is left, the gate is the same: nothing stale, nothing missing.
            let (mut fresh, mut again) = (Book::new(KEY), Memory::default());
            for network in &wanted {
                fresh.add(network, &mut again);
            }
            prop_assert_eq!(bits, again);
            prop_assert_eq!(book.classes(), fresh.classes());
            prop_assert_eq!(book.len(), wanted.len());
        }
    }

    #[test]
    fn a_wide_prefix_is_near_every_network_in_it() {
        let (mut book, mut bits) = (Book::new(KEY), Memory::default());
        book.add(&"10.0.0.0/8".parse().unwrap(), &mut bits);
        assert_eq!(bits.0.len(), (1 << 16) / 32);
        assert_eq!(bits.near([10, 255, 255, 1].into(), 0), Near { hosts: false, prefixes: true });
        assert_eq!(bits.near([11, 0, 0, 1].into(), 0), Near::NOTHING);
        book.remove(&"10.0.0.0/8".parse().unwrap(), &mut bits);
        assert!(bits.0.is_empty() && book.is_empty());
    }
}

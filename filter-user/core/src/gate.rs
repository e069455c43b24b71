//! What stands behind each bit of a gate of the kernel filter.
//!
//! The [`Book`] knows every entry of one list and counts, for each bit, the entries that need it. So it can say exactly when
//! a bit must be set and when nobody needs it any more. It touches no map: whoever owns one is told of bits through
//! [`Bits`].

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use filter_common::gate::{self, CLASSES, Key, LENGTH_V4, Mark, SHORTER};
use filter_common::packet::Source;
use hashbrown::HashSet;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A gate that can be written.
pub trait Bits {
    /// Sets these bits of a word.
    fn set(&mut self, word: u32, bits: u64);
    /// Clears these bits of a word.
    fn clear(&mut self, word: u32, bits: u64);
}

/// The entries of one list; see the head of this module.
#[derive(Debug)]
pub struct Book {
    key: Key,
    hosts_v4: HashSet<u32>,
    scopes_v6: HashSet<u64>,
    prefixes: HashSet<IpNet>,
    /// Entries behind each bit; a list that is short touches few of these pages. A count that has reached its end stays
    /// there, and its bit is set for good: with bits that a secret chooses, nobody will see that.
    needs: Vec<u16>,
    classes: [u32; CLASSES.len()],
    /// Entries behind [`SHORTER`].
    shorter: u32,
}

impl Book {
    /// An empty book for a gate with this key.
    pub fn new(key: Key) -> Self {
        Self {
            key,
            hosts_v4: HashSet::new(),
            scopes_v6: HashSet::new(),
            prefixes: HashSet::new(),
            needs: vec![0; key.words as usize * 64],
            classes: [0; CLASSES.len()],
            shorter: 0,
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
            Place::HostV4(host) => {
                self.mark(gate::host(self.key, Source::V4(host.to_be_bytes())), up, bits);
            }
            Place::ScopeV6(scope) => {
                let host = Source::V6((u128::from(scope) << 64).to_be_bytes());
                self.mark(gate::host(self.key, host), up, bits);
            }
            Place::PrefixV4(network) => {
                let first = u32::from(network.network());
                let networks = 1_u32 << LENGTH_V4.saturating_sub(network.prefix_len().into());
                for number in 0..networks {
                    let address = first | number << (32 - LENGTH_V4);
                    let mark = gate::prefix_v4(self.key, address);
                    if mark.bits != SHORTER {
                        self.mark(mark, up, bits);
                    }
                }
                if network.broadcast() >= RESERVED {
                    self.mark_all(up, bits);
                }
            }
            Place::PrefixV6(network) => {
                let class = gate::class_of(network.prefix_len().into());
                if let Some(place) = CLASSES.iter().position(|other| *other == class) {
                    step(&mut self.classes[place], up);
                    self.mark_all(up, bits);
                }
                let upper = gate::upper(network.network().octets());
                self.mark(gate::prefix_v6(self.key, upper, class), up, bits);
            }
        }
    }

    /// Counts an entry behind [`SHORTER`], and writes it into all words when the first comes and the last goes.
    fn mark_all(&mut self, up: bool, bits: &mut dyn Bits) {
        step(&mut self.shorter, up);
        if self.shorter == u32::from(up) {
            for word in 0..self.key.words {
                if up { bits.set(word, SHORTER) } else { bits.clear(word, SHORTER) }
            }
        }
    }

    /// Counts an entry behind each bit of a mark, and writes the bits that change.
    fn mark(&mut self, mark: Mark, up: bool, bits: &mut dyn Bits) {
        let (mut left, mut flips) = (mark.bits, 0);
        while left != 0 {
            let bit = left.trailing_zeros();
            left &= left - 1;
            let count = &mut self.needs[mark.word as usize * 64 + bit as usize];
            match *count {
                u16::MAX => continue,
                _ if up => *count += 1,
                _ => *count -= 1,
            }
            if *count == u16::from(up) {
                flips |= 1 << bit;
            }
        }
        match flips {
            0 => {}
            flips if up => bits.set(mark.word, flips),
            flips => bits.clear(mark.word, flips),
        }
    }
}

/// One entry more or less.
const fn step(count: &mut u32, up: bool) {
    *count = if up { *count + 1 } else { *count - 1 };
}

/// The part of the IPv4 space whose prefix bit is [`SHORTER`].
const RESERVED: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 0);

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

#[cfg(test)]
pub(crate) mod tests {
    use alloc::collections::{BTreeMap, BTreeSet};

    use filter_common::gate::Near;
    use proptest::prelude::*;

    use super::*;

    const KEY: Key = Key { seed: 0x0123_4567_89ab_cdef, words: 1 << 12 };

    /// A gate that also notices bits that are set twice or cleared in vain.
    #[derive(Debug, Default, PartialEq, Eq)]
    pub(crate) struct Memory(BTreeMap<u32, u64>);

    impl Bits for Memory {
        fn set(&mut self, word: u32, bits: u64) {
            let word = self.0.entry(word).or_default();
            assert_eq!(*word & bits, 0, "set twice");
            *word |= bits;
        }

        fn clear(&mut self, index: u32, bits: u64) {
            let word = self.0.get_mut(&index).expect("cleared in vain");
            assert_eq!(*word & bits, bits, "cleared in vain");
            *word &= !bits;
            if *word == 0 {
                self.0.remove(&index);
            }
        }
    }

    impl Memory {
        fn near(&self, address: IpAddr, classes: u32) -> Near {
            gate::near(&gate::View { key: KEY, classes, word: |index| self.word(index) }, source(address))
        }

        pub(crate) fn word(&self, word: u32) -> u64 {
            self.0.get(&word).copied().unwrap_or(0)
        }
    }

    fn source(address: IpAddr) -> Source {
        match address {
            IpAddr::V4(address) => Source::V4(address.octets()),
            IpAddr::V6(address) => Source::V6(address.octets()),
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
    fn a_prefix_is_near_every_network_in_it() {
        let networks = ["10.64.0.0/12", "10.1.64.0/18", "10.0.0.0/8", "10.1.2.128/25", "2001:db8::/29"];
        for network in networks.map(|network| network.parse::<IpNet>().unwrap()) {
            let (mut book, mut bits) = (Book::new(KEY), Memory::default());
            book.add(&network, &mut bits);
            for address in [network.network(), network.broadcast()] {
                assert!(bits.near(address, book.classes()).prefixes, "{address} in {network}");
            }
            for stranger in ["192.0.2.1", "2a00::1"] {
                assert_eq!(bits.near(stranger.parse().unwrap(), book.classes()), Near::NOTHING, "{network}");
            }
            book.remove(&network, &mut bits);
            assert!(bits.0.is_empty() && book.is_empty() && book.classes() == 0);
        }
    }

    #[test]
    fn the_bit_that_all_words_share_goes_with_the_last_entry_behind_it() {
        let (mut book, mut bits) = (Book::new(KEY), Memory::default());
        let [short, reserved] = ["2001:db8::/32", "240.1.2.0/23"].map(|text| text.parse().unwrap());
        let near = |book: &Book, bits: &Memory, address: &str| {
            bits.near(address.parse().unwrap(), book.classes()).prefixes
        };
        book.add(&short, &mut bits);
        book.add(&reserved, &mut bits);
        assert!(near(&book, &bits, "2001:db8:5::1") && near(&book, &bits, "240.1.3.1"));
        book.remove(&short, &mut bits);
        assert!(near(&book, &bits, "240.1.3.1"));
        book.add(&short, &mut bits);
        book.remove(&reserved, &mut bits);
        assert!(near(&book, &bits, "2001:db8:5::1"));
        book.remove(&short, &mut bits);
        assert_eq!(bits, Memory::default());
    }

    #[test]
    fn a_bit_that_too_many_entries_share_stays_set() {
        let (mut book, mut bits) = (Book::new(KEY), Memory::default());
        let mark = gate::host(KEY, Source::V4([192, 0, 2, 7]));
        let first = mark.word as usize * 64;
        book.needs[first..first + 64].fill(u16::MAX - 1);
        book.add(&"192.0.2.7/32".parse().unwrap(), &mut bits);
        book.remove(&"192.0.2.7/32".parse().unwrap(), &mut bits);
        assert_eq!(book.needs[first + mark.bits.trailing_zeros() as usize], u16::MAX);
    }
}

//! What stands behind each bit of a gate of the kernel filter.
//!
//! The [`Book`] knows every entry of one list and counts, for each pair of bits, the entries that need them. So it can
//! say exactly when a bit must be set and when nobody needs it any more. It touches no map: whoever owns one is told
//! of single bits through [`Bits`].

use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use filter_common::gate::{self, CLASSES, Key, Slot, WHOLE};
use filter_common::packet::Source;
use hashbrown::{HashMap, HashSet};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Which of the gates of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Pairs by /24.
    V4,
    /// Pairs by hash.
    V6,
    /// The wicket behind both, with the marks of single hosts.
    Wicket,
}

/// A gate that can be written.
pub trait Bits {
    /// Sets these bits of a word.
    fn set(&mut self, family: Family, word: u32, bits: u64);
    /// Clears these bits of a word.
    fn clear(&mut self, family: Family, word: u32, bits: u64);
}

/// How many entries need the first and the second bit of a network.
#[derive(Debug, Clone, Copy, Default)]
struct Needs {
    near: u32,
    prefixes: u32,
}

/// The entries of one list; see the head of this module.
#[derive(Debug)]
pub struct Book {
    key: Key,
    hosts_v4: HashSet<u32>,
    scopes_v6: HashSet<u64>,
    prefixes: HashSet<IpNet>,
    /// Entries that need the first and the second bit of each network; a list that is short touches few of these pages. The
    /// networks are /20s or longer: at most 4,096 hosts, and at most 20 prefixes around and 4,095 within, lie in one.
    near_v4: Vec<[u16; 2]>,
    /// Hosts behind each bit of the wicket, if the list has one. A count that has reached its end stays there, and its
    /// bit is set for good: with bits that a secret chooses, nobody will see that.
    marked: Vec<u8>,
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
            near_v4: vec![[0; 2]; key.words_v4() as usize * 32],
            marked: vec![0; key.wicket as usize * 64],
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
            Place::HostV4(host) => {
                self.count_mark(Source::V4(host.to_be_bytes()), up, bits);
                self.count_v4(host, 1, false, up, bits);
            }
            Place::PrefixV4(network) => {
                let networks = 1 << self.key.length.saturating_sub(network.prefix_len().into());
                self.count_v4(network.network().into(), networks, false, up, bits);
                self.count_v4(network.network().into(), networks, true, up, bits);
            }
            Place::ScopeV6(scope) => {
                self.count_mark(Source::V6((u128::from(scope) << 64).to_be_bytes()), up, bits);
                self.count_v6(scope, WHOLE, true, up, bits);
            }
            Place::PrefixV6(network) => {
                let class = gate::class_of(network.prefix_len().into());
                if let Some(place) = CLASSES.iter().position(|other| *other == class) {
                    step(&mut self.classes[place], up);
                }
                self.count_v6(gate::upper(network.network().octets()), class, false, up, bits);
            }
        }
    }

    /// Counts one host behind its bits of the wicket.
    fn count_mark(&mut self, host: Source, up: bool, bits: &mut dyn Bits) {
        let mark = gate::mark(self.key, host);
        let (mut left, mut flips) = (mark.bits, 0);
        while left != 0 {
            let bit = left.trailing_zeros();
            left &= left - 1;
            // A list without a wicket has no counts.
            let Some(count) = self.marked.get_mut(mark.word as usize * 64 + bit as usize) else { return };
            match *count {
                u8::MAX => continue,
                _ if up => *count += 1,
                _ => *count -= 1,
            }
            if *count == u8::from(up) {
                flips |= 1 << bit;
            }
        }
        flip(bits, Family::Wicket, (mark.word, flips), up);
    }

    /// Counts one entry in `networks` in a row from that of an address, and writes each word of the gate at most once.
    /// The second bit of a network is for prefixes, the first one for whatever is near.
    fn count_v4(&mut self, address: u32, networks: u32, second: bool, up: bool, bits: &mut dyn Bits) {
        let first = address >> (32 - self.key.length);
        let words = self.key.words_v4();
        let place = |index| {
            let slot = Slot::of(index, words);
            (if second { slot.prefix_word } else { slot.word }, 1 << slot.shift)
        };
        let mut pending = (place(first).0, 0);
        for index in first..first + networks {
            let needs = &mut self.near_v4[index as usize][usize::from(second)];
            *needs = if up { *needs + 1 } else { *needs - 1 };
            if *needs != u16::from(up) {
                continue;
            }
            let (word, bit) = place(index);
            if word != pending.0 {
                flip(bits, Family::V4, pending, up);
                pending = (word, 0);
            }
            pending.1 |= bit;
        }
        flip(bits, Family::V4, pending, up);
    }

    fn count_v6(&mut self, upper: u64, class: u32, is_host: bool, up: bool, bits: &mut dyn Bits) {
        let slot = gate::slot_v6(self.key, upper, class);
        let index = slot.word * 64 + slot.shift;
        let needs = self.near_v6.entry(index).or_default();
        // A shorter prefix is looked for in the second half alone.
        let counts = [
            (class == WHOLE).then_some((&mut needs.near, slot.word)),
            (!is_host).then_some((&mut needs.prefixes, slot.prefix_word)),
        ];
        for (count, word) in counts.into_iter().flatten() {
            step(count, up);
            if *count == u32::from(up) {
                flip(bits, Family::V6, (word, 1 << slot.shift), up);
            }
        }
        if needs.near == 0 && needs.prefixes == 0 {
            self.near_v6.remove(&index);
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

    use filter_common::gate::Near;
    use proptest::prelude::*;

    use super::*;

    const KEY: Key = Key {
        seed: 7,
        classes: 0,
        words: gate::NEVER_WORDS_V6,
        length: gate::NEVER_LENGTH_V4,
        wicket: 1 << 10,
    };

    /// A gate that also notices bits that are set twice or cleared in vain.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Memory(BTreeMap<(Family, u32), u64>);

    impl Bits for Memory {
        fn set(&mut self, family: Family, word: u32, bits: u64) {
            let word = self.0.entry((family, word)).or_default();
            assert_eq!(*word & bits, 0, "set twice");
            *word |= bits;
        }

        fn clear(&mut self, family: Family, word: u32, bits: u64) {
            let key = (family, word);
            let word = self.0.get_mut(&key).expect("cleared in vain");
            assert_eq!(*word & bits, bits, "cleared in vain");
            *word &= !bits;
            if *word == 0 {
                self.0.remove(&key);
            }
        }
    }

    impl Memory {
        fn word(&self, family: Family, word: u32) -> u64 {
            self.0.get(&(family, word)).copied().unwrap_or(0)
        }

        fn near(&self, address: IpAddr, classes: u32) -> Near {
            let word = |family| move |word| self.word(family, word);
            let key = || Key { classes, ..KEY };
            let is_host = || self.is_marked(address);
            gate::near(source(address), KEY.length, word(Family::V4), key, word(Family::V6), is_host)
        }

        fn is_marked(&self, address: IpAddr) -> bool {
            let mark = gate::mark(KEY, source(address));
            mark.is_in(self.word(Family::Wicket, mark.word))
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
    fn a_wide_prefix_is_near_every_network_in_it() {
        let (mut book, mut bits) = (Book::new(KEY), Memory::default());
        book.add(&"10.0.0.0/8".parse().unwrap(), &mut bits);
        assert_eq!(bits.0.len(), (1 << (KEY.length - 8)) / 32);
        assert_eq!(bits.near([10, 255, 255, 1].into(), 0), Near { hosts: false, prefixes: true });
        assert_eq!(bits.near([11, 0, 0, 1].into(), 0), Near::NOTHING);
        book.remove(&"10.0.0.0/8".parse().unwrap(), &mut bits);
        assert!(bits.0.is_empty() && book.is_empty());
    }

    #[test]
    fn a_list_without_a_wicket_marks_nobody() {
        let (mut book, mut bits) = (Book::new(Key { wicket: 0, ..KEY }), Memory::default());
        book.add(&"192.0.2.7/32".parse().unwrap(), &mut bits);
        assert_eq!(bits.0.keys().map(|(family, _)| *family).collect::<Vec<_>>(), [Family::V4]);
    }

    #[test]
    fn a_bit_that_too_many_hosts_share_stays_set() {
        let (mut book, mut bits) = (Book::new(KEY), Memory::default());
        let mark = gate::mark(KEY, Source::V4([192, 0, 2, 7]));
        let first = mark.word as usize * 64;
        book.marked[first..first + 64].fill(u8::MAX - 1);
        book.add(&"192.0.2.7/32".parse().unwrap(), &mut bits);
        book.remove(&"192.0.2.7/32".parse().unwrap(), &mut bits);
        assert_eq!(book.marked[first + mark.bits.trailing_zeros() as usize], u8::MAX);
    }
}

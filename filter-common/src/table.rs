//! A table that the kernel reads and user space writes, both as plain memory: where an entry lies, and how it is found.
//!
//! The kernel's own hash costs a call, and two lines of memory of which the second is known only when the first has come.
//! Here, slots lie in buckets of eight, and each bucket has a word of tags in an array of its own: a byte for each slot, zero
//! if that is free, else [`TAKEN`] and seven bits of the hash of what is in it. A key has two buckets. It lies at its home, a slot of
//! the first, if that was free when it came and the bucket not crowded; else somewhere in the emptier of both. A lookup reads one or
//! two words of tags, which are small enough to stay in a cache, and then nearly always exactly one slot, which is one line.
//!
//! Two of three keys are at home. The processor guesses so, and fetches the slot there while the tags are still on their way; a slot
//! that only the tags can name is fetched after them.
//!
//! A table has its memory from the beginning, but uses only the first buckets of it as long as few entries are there: spread over
//! a hundred megabytes, ten thousand would each lie on a page of its own. When it uses more, entries are copied to where they will
//! be looked for, then the number of buckets in use changes, and only when no reader can have the old one any more the old copies
//! go. So a reader needs no lock: what stands is found.
//!
//! The hash is keyed: nobody outside can choose addresses that share buckets. There is a bucket for each five entries: filled to
//! that, each key still finds a free slot. Should one find none, it is refused as by a full table.

/// Slots of a bucket.
pub const BUCKET: u32 = 8;

/// Slots of a bucket that may have the same tag: a bound for a reader's search. Of millions of buckets one or none would have
/// had more.
pub const ALIKE: u32 = 4;

/// Entries for each bucket of a table that is full. A bucket which has as many is crowded: were homes taken there all the same, some
/// of a million keys would find no place at all.
const FILL: u32 = 5;

/// The tag of each slot that is not free has this bit.
pub const TAKEN: u8 = 0x80;

/// An entry, and whose it is.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Slot<V> {
    /// The entry.
    pub value: V,
    /// Whose it is.
    pub key: u64,
    /// Makes the slot of a block one line of memory.
    pub spare: u64,
}

/// What a table is read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The secret of the hash; odd.
    pub seed: u64,
    /// How many buckets are in use.
    pub buckets: u32,
}

/// Buckets of a table for so many entries.
#[inline(always)]
pub const fn buckets(entries: u32) -> u32 {
    // Few buckets are filled unevenly, and cost little.
    entries / FILL + 4
}

/// Words behind the tags, in their array.
pub const COUNTS: u32 = 2;

/// Of these, how many buckets are in use.
pub const USED: u32 = 0;

/// Of these, how many will be, while entries are copied for that; else 0.
pub const GROWING: u32 = 1;

/// Buckets that a new table uses, of so many: of the sizes that it may have the smallest of [`FEW`] at least.
pub const fn first(buckets: u32) -> u32 {
    if buckets / GROWTH < FEW { buckets } else { first(buckets / GROWTH) }
}

/// Buckets that a table uses which has outgrown `used` of them.
pub const fn next(used: u32, buckets: u32) -> u32 {
    if buckets / GROWTH <= used { buckets } else { next(used, buckets / GROWTH) }
}

/// How many times as many a table uses when it uses more. While it grows, this fraction of its entries is copied into the part that
/// holds all of them, and must find room there.
const GROWTH: u32 = 8;

/// Enough for ten thousand entries, whose slots are a megabyte then: what a second cache holds.
const FEW: u32 = 1 << 11;

/// Where a key may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its buckets; now and then both are the same.
    pub buckets: [u32; 2],
    /// Its tag.
    pub tag: u8,
    /// The slot where it is looked for first, and mostly lies.
    pub home: u32,
}

impl Place {
    /// The place of a key.
    #[inline(always)]
    pub const fn of(key: u64, shape: Shape) -> Self {
        let Shape { seed, buckets } = shape;
        let first = mix(key ^ seed, GOLDEN);
        let second = mix(first, seed);
        let bucket = scale(first, buckets);
        Self {
            buckets: [bucket, scale(second, buckets)],
            tag: TAKEN | (second >> 24 & 0xff) as u8,
            // By the lower half of the hash, of which the bucket says nothing.
            home: bucket * BUCKET + scale(first << 32, BUCKET),
        }
    }

    /// What `entry` says of the first slot that it says anything of; it is asked for those whose tag fits. Both buckets always
    /// have tags; where one seems to have none, the kernel's verifier need not go through the rest once more.
    #[inline(always)]
    pub fn find<E>(self, tags: impl Fn(u32) -> Option<u64>, entry: impl Fn(u32) -> Option<E>) -> Option<E> {
        let [first, second] = self.buckets;
        let nearer = tags(first)?;
        // Mostly so, and then foreseen: the slot is on its way before the tags have come.
        if nearer >> tag_of(self.home).1 & 0xff == u64::from(self.tag) {
            let found = entry(self.home);
            if found.is_some() {
                return found;
            }
        }
        let mut fits = Fits::of(fitting(nearer, self.tag), fitting(tags(second)?, self.tag));
        for _ in 0..2 * ALIKE {
            if fits.0 == 0 {
                break;
            }
            let found = entry(fits.lowest(self.buckets));
            if found.is_some() {
                return found;
            }
            fits.0 &= fits.0 - 1;
        }
        None
    }

    /// A free slot for a key that is not there yet: its home, or one in the emptier of its buckets that may have one more of its tag.
    pub fn free(self, tags: impl Fn(u32) -> u64) -> Option<u32> {
        // The free slots of a bucket, each the high bit of its byte; none where one more would be too many of this tag.
        let room = |bucket| {
            let tags = tags(bucket);
            if fitting(tags, self.tag).count_ones() < ALIKE { !tags & HIGHS } else { 0 }
        };
        let [first, second] = self.buckets;
        let [held, held_second] = self.buckets.map(|bucket| taken(tags(bucket)));
        if held < FILL && room(first) >> tag_of(self.home).1 & u64::from(TAKEN) != 0 {
            return Some(self.home);
        }
        let emptier = if held_second < held { [second, first] } else { [first, second] };
        emptier.into_iter().find_map(|bucket| {
            let room = room(bucket);
            (room != 0).then(|| bucket * BUCKET + lowest(room))
        })
    }
}

/// The slots of two buckets whose tags fit: bit `8 * n` is slot `n` of the first, bit `8 * n + 1` slot `n` of the second.
///
/// No branch depends on which bucket it is: for a key that is not at home it would be foreseen wrongly every other time, and the
/// processor would find that out only when the tags have come from memory.
#[derive(Clone, Copy)]
struct Fits(u64);

impl Fits {
    #[inline(always)]
    const fn of(first: u64, second: u64) -> Self {
        Self(first >> 7 | second >> 6)
    }

    /// The slot of the lowest bit.
    #[inline(always)]
    const fn lowest(self, [first, second]: [u32; 2]) -> u32 {
        let lone = self.0 & self.0.wrapping_neg();
        // A comparison would become a branch; a product adds up the bytes just as well.
        let is_second = ((lone >> 1 & ONES).wrapping_mul(ONES) >> 56) as u32;
        let bucket = first.wrapping_add(is_second.wrapping_mul(second.wrapping_sub(first)));
        bucket * BUCKET + number(lone >> is_second)
    }
}

/// How many slots of a bucket are taken.
#[inline(always)]
pub const fn taken(tags: u64) -> u32 {
    (tags & HIGHS).count_ones()
}

/// Where the tag of a slot lies: the word, and how far its byte is shifted.
#[inline(always)]
pub const fn tag_of(slot: u32) -> (u32, u32) {
    (slot / BUCKET, slot % BUCKET * 8)
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES << 7;
/// An odd number without a pattern.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The slots of a bucket whose tag this is, each as the high bit of its byte: where that bit does not differ, nor does the sum of
/// the other seven and seven ones reach it, as it does unless they are all zero.
#[inline(always)]
const fn fitting(tags: u64, tag: u8) -> u64 {
    let differences = tags ^ (ONES * tag as u64);
    !(((differences & !HIGHS) + !HIGHS) | differences) & HIGHS
}

/// The first of some slots, each the high bit of its byte.
#[inline(always)]
const fn lowest(highs: u64) -> u32 {
    number((highs & highs.wrapping_neg()) >> 7)
}

/// The number of the byte whose lowest bit is set, alone. The kernel's machine cannot count zeros; a product moves the byte of this
/// number that is the answer to the top.
#[inline(always)]
const fn number(lone: u64) -> u32 {
    (lone.wrapping_mul(0x0001_0203_0405_0607) >> 56) as u32
}

/// A number below `buckets`, by the upper half of a hash, which is the better one.
#[inline(always)]
const fn scale(hash: u64, buckets: u32) -> u32 {
    (((hash >> 32) * buckets as u64) >> 32) as u32
}

/// All of the result depends on all of the number, the upper half most.
#[inline(always)]
const fn mix(number: u64, by: u64) -> u64 {
    let product = number.wrapping_mul(by);
    (product ^ (product >> 32)).wrapping_mul(GOLDEN)
}

#[cfg(test)]
pub(crate) mod tests {
    extern crate std;

    use std::collections::BTreeSet;
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// A table in memory of its own.
    pub(crate) struct Toy {
        shape: Shape,
        tags: Vec<u64>,
        keys: Vec<u64>,
    }

    impl Toy {
        pub(crate) fn new(entries: u32) -> Self {
            let shape = Shape { seed: 0x0123_4567_89ab_cdef, buckets: buckets(entries) };
            let buckets = shape.buckets as usize;
            Self { shape, tags: vec![0; buckets], keys: vec![0; buckets * BUCKET as usize] }
        }

        pub(crate) fn find(&self, key: u64) -> Option<u32> {
            let is_it = |slot: u32| (self.keys[slot as usize] == key).then_some(slot);
            Place::of(key, self.shape).find(|bucket| Some(self.tags[bucket as usize]), is_it)
        }

        pub(crate) fn insert(&mut self, key: u64) -> bool {
            if self.find(key).is_some() {
                return true;
            }
            let place = Place::of(key, self.shape);
            let Some(slot) = place.free(|bucket| self.tags[bucket as usize]) else { return false };
            let (word, shift) = tag_of(slot);
            assert_eq!(self.tags[word as usize] >> shift & 0xff, 0, "the slot was taken");
            self.tags[word as usize] |= u64::from(place.tag) << shift;
            self.keys[slot as usize] = key;
            true
        }

        fn remove(&mut self, key: u64) -> bool {
            let Some(slot) = self.find(key) else { return false };
            let (word, shift) = tag_of(slot);
            self.tags[word as usize] &= !(0xff << shift);
            true
        }
    }

    #[test]
    fn exactly_the_slots_with_a_tag_fit_it_and_the_lowest_comes_first() {
        for (at, tag) in (0..BUCKET).flat_map(|at| [0x80, 0x81, 0xfe, 0xff].map(|tag| (at, tag))) {
            let (byte, others) = (0xff << (at * 8), ONES * u64::from(tag ^ 1));
            let tags = others & !byte | u64::from(tag) << (at * 8);
            assert_eq!(fitting(tags, tag), 0x80 << (at * 8), "{tags:#x}");
            assert_eq!(lowest(fitting(tags, tag)), at);
            for (fits, slot) in
                [(Fits::of(byte & HIGHS, 0), 7 * 8 + at), (Fits::of(0, byte & HIGHS), 5 * 8 + at)]
            {
                assert_eq!(fits.lowest([7, 5]), slot);
            }
            assert_eq!(fitting(0, tag) | fitting(ONES * 0x7f, tag), 0, "free slots fit nobody");
        }
    }

    #[test]
    fn a_key_goes_home_unless_that_is_taken_or_its_bucket_crowded() {
        let place = Place { buckets: [1, 2], tag: 0x85, home: 8 + 3 };
        let [four, five] = [0x9191_9191_0000_0000, 0x9191_9191_0000_0091];
        let free = |first, second| place.free(|bucket| [0, first, second][bucket as usize]);
        assert_eq!(free(four, 0), Some(8 + 3));
        assert_eq!(free(0x9100_0000, 0), Some(16));
        assert_eq!(free(0x9100_0000, 0x9191), Some(8));
        assert_eq!(free(five, 0), Some(16));
        assert_eq!(free(five, u64::MAX), Some(8 + 1));
        assert_eq!(free(u64::MAX, u64::MAX), None);
    }

    #[test]
    fn a_key_keeps_away_from_a_bucket_that_has_too_many_of_its_tag() {
        let alike = |count: u32| (0..count).fold(0, |tags, slot| tags | 0x85 << (slot * 8));
        let fuller = alike(1) | 0x9181_8281_0000_0000;
        for (home, with_room) in [(8, 8 + 3), (8 + 7, 8 + 7)] {
            let place = Place { buckets: [1, 2], tag: 0x85, home };
            let free = |first| place.free(|bucket| [0, first, fuller][bucket as usize]);
            assert_eq!(free(alike(ALIKE - 1)), Some(with_room));
            assert_eq!(free(alike(ALIKE)), Some(16 + 1));
            assert_eq!(place.free(|_| alike(ALIKE)), None);
        }
    }

    #[test]
    fn two_of_three_keys_are_at_home() {
        let mut toy = Toy::new(100_000);
        assert!((0..100_000).all(|number| toy.insert(number)));
        let at_home = |key: &u64| toy.find(*key) == Some(Place::of(*key, toy.shape).home);
        let count = (0..100_000).filter(at_home).count();
        assert!((63_000..68_000).contains(&count), "{count}");
    }

    #[test]
    fn neighbours_and_strangers_fill_a_table_to_its_capacity() {
        let spread = |number: u64| number.wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(31);
        for entries in [1, 2, 16, 1000, 1_000_000] {
            for key in [|number| number, |number| number << 8, |number| number << 32, spread] {
                let mut toy = Toy::new(entries);
                let refused = (0..u64::from(entries)).filter(|number| !toy.insert(key(*number))).count();
                assert_eq!(refused, 0, "of {entries}");
                assert!((0..u64::from(entries)).all(|number| toy.find(key(number)).is_some()));
                assert_eq!(toy.tags.iter().map(|tags| taken(*tags)).sum::<u32>(), entries);
            }
        }
    }

    #[test]
    fn a_table_grows_through_few_sizes_up_to_all_its_buckets() {
        let sizes = |buckets| {
            let sizes = core::iter::successors(Some(first(buckets)), |used| Some(next(*used, buckets)));
            let mut sizes: Vec<_> = sizes.take(5).collect();
            sizes.dedup();
            sizes
        };
        assert_eq!(sizes(buckets(1)), [4]);
        assert_eq!(sizes(8 * FEW - 1), [8 * FEW - 1]);
        assert_eq!(sizes(8 * FEW), [FEW, 8 * FEW]);
        assert_eq!(sizes(buckets(1 << 20)), [3276, 26_214, 209_719]);
    }

    #[test]
    fn few_strangers_have_a_slot_looked_at_in_vain() {
        let mut toy = Toy::new(100_000);
        assert!((0..100_000).all(|number| toy.insert(number)));
        let looked = core::cell::Cell::new(0);
        for stranger in 1 << 40..(1 << 40) + 100_000 {
            let place = Place::of(stranger, toy.shape);
            let nobody = place.find(
                |bucket| Some(toy.tags[bucket as usize]),
                |_| {
                    looked.set(looked.get() + 1);
                    None::<u32>
                },
            );
            assert_eq!(nobody, None);
        }
        assert!((5_000..12_000).contains(&looked.get()), "{}", looked.get());
    }

    proptest! {
        #[test]
        fn it_holds_what_was_put_in_and_not_taken_out(
            steps in prop::collection::vec((0_u64..40, any::<bool>()), 0..400),
        ) {
            let (mut toy, mut model) = (Toy::new(40), BTreeSet::new());
            for (key, comes) in steps {
                if comes {
                    prop_assert!(toy.insert(key));
                    model.insert(key);
                } else {
                    prop_assert_eq!(toy.remove(key), model.remove(&key));
                }
                for key in 0..40 {
                    prop_assert_eq!(toy.find(key).is_some(), model.contains(&key));
                }
            }
        }
    }
}

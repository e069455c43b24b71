//! The judge's tables, in the maps of the kernel.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use aya_ebpf::maps::Array;
use aya_ebpf::maps::lpm_trie::Key;
use filter_common::abi::{BlockEntry, NeverEntry, PrefixV6, Settings, host, mode, port_bit};
use filter_common::gate::{self, Gate, Near};
use filter_common::judge::{Around, Found, Tables, walk};
use filter_common::limits::{NEVER, REPORT_AGAIN};
use filter_common::packet::Source;
use filter_common::prefixes::{self, Search};
use filter_common::table::{self, Place, Shape};

use crate::clock;
use crate::maps::{
    BLOCK_GATE, BLOCK_HOSTS_V4, BLOCK_HOSTS_V4_TAGS, BLOCK_PREFIXES_V4, BLOCK_PREFIXES_V4_LENGTHS,
    BLOCK_PREFIXES_V4_TAGS, BLOCK_PREFIXES_V6, BLOCK_SCOPES_V6, BLOCK_SCOPES_V6_TAGS, Lengths, NEVER_GATE,
    NEVER_HOSTS_V4, NEVER_HOSTS_V4_TAGS, NEVER_PREFIXES_V4, NEVER_PREFIXES_V4_LENGTHS,
    NEVER_PREFIXES_V4_TAGS, NEVER_PREFIXES_V6, NEVER_SCOPES_V6, NEVER_SCOPES_V6_TAGS, PROTECTED_PORTS,
    SETTINGS, Slots, Tags,
};

/// Buckets of each table of the never-block list.
const NEVER_BUCKETS: u32 = table::buckets(NEVER);

/// The maps of this program.
pub(crate) struct Maps;

impl Tables for Maps {
    type Entry = *mut BlockEntry;

    #[inline(always)]
    fn near_block(&self, source: Source) -> Near {
        gate::near(&Blocks, source)
    }

    #[inline(always)]
    fn near_never(&self, source: Source) -> Near {
        gate::near(&Nevers, source)
    }

    #[inline(always)]
    fn settings(&self) -> (u32, bool) {
        let settings = present_settings();
        (settings.mode, settings.drop_all != 0)
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        clock::now()
    }

    #[inline(always)]
    fn host(&self, source: Source) -> Option<Found<Self::Entry>> {
        let (slots, tags, buckets) = match source {
            Source::V4(_) => (&BLOCK_HOSTS_V4, &BLOCK_HOSTS_V4_TAGS, loaded(&BLOCK_HOSTS_V4_BUCKETS)),
            Source::V6(_) => (&BLOCK_SCOPES_V6, &BLOCK_SCOPES_V6_TAGS, loaded(&BLOCK_SCOPES_V6_BUCKETS)),
        };
        slot(slots, tags, buckets, host(source)).map(found)
    }

    #[inline(always)]
    fn prefix(&self, source: Source, now: u64) -> Around<Found<Self::Entry>> {
        match source {
            Source::V4(address) => match search::<Blocks>(address, now) {
                Around::Live(key) => match Blocks::prefix_v4(key) {
                    Some(entry) => Around::Live(found(entry)),
                    // It has gone this moment.
                    None => Around::Ended,
                },
                Around::Ended => Around::Ended,
                Around::Nothing => Around::Nothing,
            },
            Source::V6(address) => walk(128, now, |longest| {
                let entry = BLOCK_PREFIXES_V6.get(&KeyV6::new(longest, address).key)?.get();
                let found = found(entry);
                // SAFETY: as in `found`.
                Some((found, found.until, unsafe { (*entry).prefix_len }.into()))
            }),
        }
    }

    #[inline(always)]
    fn never_host(&self, source: Source) -> Option<u64> {
        let entry = match source {
            Source::V4(_) => slot(&NEVER_HOSTS_V4, &NEVER_HOSTS_V4_TAGS, NEVER_BUCKETS, host(source)),
            Source::V6(_) => slot(&NEVER_SCOPES_V6, &NEVER_SCOPES_V6_TAGS, NEVER_BUCKETS, host(source)),
        }?;
        Some(Nevers::until(entry))
    }

    #[inline(always)]
    fn never(&self, source: Source, now: u64) -> bool {
        match source {
            Source::V4(address) => matches!(search::<Nevers>(address, now), Around::Live(_)),
            Source::V6(address) => {
                let at = |longest| {
                    let entry = NEVER_PREFIXES_V6.get(&KeyV6::new(longest, address).key)?;
                    Some(((), entry.until, entry.prefix_len))
                };
                matches!(walk(128, now, at), Around::Live(()))
            }
        }
    }

    #[inline(always)]
    fn is_protected(&self, port: u16) -> bool {
        let (index, shift) = port_bit(port);
        word(&PROTECTED_PORTS, index) >> shift & 1 != 0
    }

    #[inline(always)]
    fn spend_courtesy(&self, entry: Self::Entry, until: u64) -> bool {
        // SAFETY: as in `count_drop`; two CPUs that spend at once may let one connection more through.
        unsafe {
            if (*entry).courtesy == 0 {
                return false;
            }
            (*entry).courtesy -= 1;
            (*entry).grace_until = until;
        }
        true
    }
}

/// A key whose address lies where two words can be stored at once; the verifier takes no other place of the stack for them.
#[repr(C, align(8))]
struct KeyV6 {
    _gap: u32,
    key: Key<PrefixV6>,
}

impl KeyV6 {
    #[inline(always)]
    const fn new(longest: u32, address: PrefixV6) -> Self {
        Self { _gap: 0, key: Key::new(longest, address) }
    }
}

#[inline(always)]
fn word(words: &Array<u64>, index: u32) -> u64 {
    words.get(index).copied().unwrap_or(0)
}

/// The entry of a key in a table of so many buckets, in use or not.
#[inline(always)]
fn slot<V>(slots: &Slots<V>, tags: &Tags, buckets: u32, key: u64) -> Option<*mut V> {
    let used = *tags.get(buckets + table::USED)? as u32;
    let place = Place::of(key, Shape { seed: loaded(&SEED), buckets: used });
    place.find(
        |bucket| tags.get(bucket).copied(),
        |index| {
            let slot = slots.get_ptr_mut(index)?;
            // SAFETY: the map handed the pointer out, and its memory stays as long as the program.
            unsafe { ((*slot).key == key).then_some(&raw mut (*slot).value) }
        },
    )
}

/// A list, as a loop over its IPv4 prefixes must know it.
trait List {
    type Entry;

    /// The lengths of its IPv4 prefixes.
    const LENGTHS: &'static Lengths;

    /// The entry of a prefix.
    fn prefix_v4(key: u64) -> Option<*mut Self::Entry>;

    /// When an entry ends.
    fn until(entry: *mut Self::Entry) -> u64;
}

struct Blocks;

impl List for Blocks {
    type Entry = BlockEntry;

    const LENGTHS: &'static Lengths = &BLOCK_PREFIXES_V4_LENGTHS;

    #[inline(always)]
    fn prefix_v4(key: u64) -> Option<*mut BlockEntry> {
        slot(&BLOCK_PREFIXES_V4, &BLOCK_PREFIXES_V4_TAGS, loaded(&BLOCK_PREFIXES_V4_BUCKETS), key)
    }

    #[inline(always)]
    fn until(entry: *mut BlockEntry) -> u64 {
        // SAFETY: as in `found`.
        unsafe { (*entry).until }
    }
}

impl Gate for Blocks {
    #[inline(always)]
    fn words(&self) -> u32 {
        loaded(&BLOCK_GATE_WORDS)
    }

    #[inline(always)]
    fn seed(&self) -> u64 {
        loaded(&SEED)
    }

    #[inline(always)]
    fn classes(&self) -> u32 {
        present_settings().block_classes
    }

    #[inline(always)]
    fn word(&self, index: u32) -> u64 {
        word(&BLOCK_GATE, index)
    }

    /// Not where innocents of other families and lists would have to make room for it.
    #[inline(never)]
    fn shorter(&self, upper: u64) -> bool {
        gate::shorter(self, upper)
    }
}

struct Nevers;

impl List for Nevers {
    type Entry = NeverEntry;

    const LENGTHS: &'static Lengths = &NEVER_PREFIXES_V4_LENGTHS;

    #[inline(always)]
    fn prefix_v4(key: u64) -> Option<*mut NeverEntry> {
        slot(&NEVER_PREFIXES_V4, &NEVER_PREFIXES_V4_TAGS, NEVER_BUCKETS, key)
    }

    #[inline(always)]
    fn until(entry: *mut NeverEntry) -> u64 {
        // SAFETY: as in `found`.
        unsafe { (*entry).until }
    }
}

impl Gate for Nevers {
    #[inline(always)]
    fn words(&self) -> u32 {
        gate::NEVER_WORDS
    }

    #[inline(always)]
    fn seed(&self) -> u64 {
        loaded(&SEED)
    }

    #[inline(always)]
    fn classes(&self) -> u32 {
        present_settings().never_classes
    }

    #[inline(always)]
    fn word(&self, index: u32) -> u64 {
        word(&NEVER_GATE, index)
    }
}

/// The IPv4 prefixes of a list around an address.
#[inline(always)]
fn search<L: List>(address: [u8; 4], now: u64) -> Around<u64> {
    let address = u32::from_be_bytes(address);
    let lengths = prefixes::lengths(address, |index| word(L::LENGTHS, index));
    let mut context = (Search::new(address, lengths), now);
    // SAFETY: the function is one that can be called so, and the context outlives the call.
    unsafe {
        bpf_loop(prefixes::LENGTHS, step::<L> as *mut c_void, (&raw mut context).cast(), 0);
    }
    context.0.end()
}

/// One step of a search: not 0 ends it.
unsafe extern "C" fn step<L: List>(_turn: u32, context: *mut c_void) -> i64 {
    // SAFETY: `search` passes this, and nobody else has it meanwhile.
    let (search, now) = unsafe { &mut *context.cast::<(Search, u64)>() };
    let goes_on = search.step(|key| Some(L::until(L::prefix_v4(key)?) <= *now));
    (!goes_on).into()
}

// How large the maps are, and the secret of gates and tables, odd: written into the program when it is loaded, for the
// settings would be one look more.

#[unsafe(no_mangle)]
static SEED: u64 = 0;
#[unsafe(no_mangle)]
static BLOCK_GATE_WORDS: u32 = 0;
#[unsafe(no_mangle)]
static BLOCK_HOSTS_V4_BUCKETS: u32 = 0;
#[unsafe(no_mangle)]
static BLOCK_SCOPES_V6_BUCKETS: u32 = 0;
#[unsafe(no_mangle)]
static BLOCK_PREFIXES_V4_BUCKETS: u32 = 0;

#[inline(always)]
fn loaded<N: Copy>(number: &'static N) -> N {
    // SAFETY: a static of its own type; read as memory, because the loader has written it since it was compiled.
    unsafe { core::ptr::read_volatile(&raw const *number) }
}

#[inline(always)]
fn present_settings() -> Settings {
    // The entry of an array is always there; the verifier wants the question all the same.
    SETTINGS.get(0).copied().unwrap_or(Settings {
        layout_version: 0,
        mode: mode::OBSERVE,
        drop_all: 0,
        block_classes: 0,
        never_classes: 0,
        words: 1,
        seed: 0,
        hosts_v4: 0,
        scopes_v6: 0,
        prefixes: 0,
        reserved: 0,
    })
}

#[inline(always)]
fn found(entry: *mut BlockEntry) -> Found<*mut BlockEntry> {
    // SAFETY: the map handed the pointer out, and its memory stays at least until the run ends. An entry that goes meanwhile
    // may have become another entry by then; at worst one packet is judged by that.
    let BlockEntry { until, grace_until, .. } = unsafe { *entry };
    Found { until, grace_until, entry }
}

/// Counts a packet that an entry drops; says whether this drop is one to report.
#[inline(always)]
pub(crate) fn count_drop(entry: *mut BlockEntry, length: u64, now: u64) -> Option<Dropped> {
    // SAFETY: as in `found`. Several CPUs may write at once and lose each other's count, which `BlockEntry` says;
    // an atomic addition would cost every drop a locked cache line.
    let (packets, prefix_len) = unsafe {
        (*entry).packets += 1;
        (*entry).bytes += length;
        (*entry).last_drop = now;
        ((*entry).packets, (*entry).prefix_len)
    };
    let is_due = packets == 1 || (packets >= REPORT_AGAIN && packets & (packets - 1) == 0);
    is_due.then_some(Dropped { packets, prefix_len })
}

/// An entry at the moment of a drop that is reported.
pub(crate) struct Dropped {
    pub(crate) packets: u64,
    pub(crate) prefix_len: u16,
}

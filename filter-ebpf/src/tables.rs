//! The judge's tables, in the maps of the kernel.

use aya_ebpf::maps::Array;
use aya_ebpf::maps::lpm_trie::Key;
use filter_common::abi::{BlockEntry, Settings, host, mode, port_bit, prefix_v4};
use filter_common::gate::{self, Near};
use filter_common::judge::{Exempt, Found, Tables};
use filter_common::limits::{NEVER, REPORT_AGAIN};
use filter_common::packet::Source;
use filter_common::table::{self, Place};

use crate::clock;
use crate::maps::{
    BLOCK_GATE, BLOCK_HOSTS_V4, BLOCK_HOSTS_V4_TAGS, BLOCK_PREFIXES_V4, BLOCK_PREFIXES_V6, BLOCK_SCOPES_V6,
    BLOCK_SCOPES_V6_TAGS, NEVER_GATE, NEVER_HOSTS_V4, NEVER_HOSTS_V4_TAGS, NEVER_PREFIXES_V4,
    NEVER_PREFIXES_V6, NEVER_SCOPES_V6, NEVER_SCOPES_V6_TAGS, PROTECTED_PORTS, SETTINGS, SharedEntry, Slots,
    Tags,
};

/// The maps of this program.
pub(crate) struct Maps;

impl Tables for Maps {
    type Entry = *mut BlockEntry;

    #[inline(always)]
    fn near_block(&self, source: Source) -> Near {
        let words = loaded(&BLOCK_GATE_WORDS);
        gate::near(source, words, || present_settings().block_gate(), |index| word(&BLOCK_GATE, index))
    }

    #[inline(always)]
    fn near_never(&self, source: Source) -> Near {
        gate::near(
            source,
            gate::NEVER_WORDS,
            || present_settings().never_gate(),
            |index| word(&NEVER_GATE, index),
        )
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
        found(match source {
            Source::V4(_) => {
                let buckets = loaded(&BLOCK_HOSTS_V4_BUCKETS);
                slot(&BLOCK_HOSTS_V4, &BLOCK_HOSTS_V4_TAGS, buckets, host(source))
            }
            Source::V6(_) => {
                let buckets = loaded(&BLOCK_SCOPES_V6_BUCKETS);
                slot(&BLOCK_SCOPES_V6, &BLOCK_SCOPES_V6_TAGS, buckets, host(source))
            }
        })
    }

    #[inline(always)]
    fn prefix(&self, source: Source, longest: u32) -> Option<Found<Self::Entry>> {
        found(match source {
            Source::V4(address) => {
                BLOCK_PREFIXES_V4.get(Key::new(longest, prefix_v4(address))).map(SharedEntry::get)
            }
            Source::V6(address) => BLOCK_PREFIXES_V6.get(Key::new(longest, address)).map(SharedEntry::get),
        })
    }

    #[inline(always)]
    fn never_host(&self, source: Source) -> Option<u64> {
        const BUCKETS: u32 = table::buckets(NEVER);
        let entry = match source {
            Source::V4(_) => slot(&NEVER_HOSTS_V4, &NEVER_HOSTS_V4_TAGS, BUCKETS, host(source)),
            Source::V6(_) => slot(&NEVER_SCOPES_V6, &NEVER_SCOPES_V6_TAGS, BUCKETS, host(source)),
        }?;
        // SAFETY: as in `found`.
        Some(unsafe { (*entry).until })
    }

    #[inline(always)]
    fn never(&self, source: Source, longest: u32) -> Option<Exempt> {
        let entry = match source {
            Source::V4(address) => NEVER_PREFIXES_V4.get(Key::new(longest, prefix_v4(address))),
            Source::V6(address) => NEVER_PREFIXES_V6.get(Key::new(longest, address)),
        }?;
        Some(Exempt { until: entry.until, prefix_len: entry.prefix_len })
    }

    #[inline(always)]
    fn is_protected(&self, port: u16) -> bool {
        let (index, bit) = port_bit(port);
        word(&PROTECTED_PORTS, index) & bit != 0
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

#[inline(always)]
fn word(words: &Array<u64>, index: u32) -> u64 {
    words.get(index).copied().unwrap_or(0)
}

/// The entry of a host in a table.
#[inline(always)]
fn slot<V>(slots: &Slots<V>, tags: &Tags, buckets: u32, host: u64) -> Option<*mut V> {
    let place = Place::of(host, present_settings().table(buckets));
    place.find(
        |bucket| word(tags, bucket),
        |index| {
            let slot = slots.get_ptr_mut(index)?;
            // SAFETY: the map handed the pointer out, and its memory stays as long as the program.
            unsafe { ((*slot).key == host).then_some(&raw mut (*slot).value) }
        },
    )
}

// How large the maps are: written into the program when it is loaded, for the settings would be one look more.

#[unsafe(no_mangle)]
static BLOCK_GATE_WORDS: u32 = 0;
#[unsafe(no_mangle)]
static BLOCK_HOSTS_V4_BUCKETS: u32 = 0;
#[unsafe(no_mangle)]
static BLOCK_SCOPES_V6_BUCKETS: u32 = 0;

#[inline(always)]
fn loaded(number: &'static u32) -> u32 {
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
    })
}

#[inline(always)]
fn found(entry: Option<*mut BlockEntry>) -> Option<Found<*mut BlockEntry>> {
    let entry = entry?;
    // SAFETY: the map handed the pointer out, and its memory stays at least until the run ends. An entry that goes meanwhile
    // may have become another entry by then; at worst one packet is judged by that.
    let BlockEntry { until, grace_until, prefix_len, .. } = unsafe { *entry };
    Some(Found { until, grace_until, prefix_len: prefix_len.into(), entry })
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

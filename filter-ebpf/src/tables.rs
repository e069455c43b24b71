//! The judge's tables, in the maps of the kernel.

use aya_ebpf::maps::Array;
use aya_ebpf::maps::lpm_trie::Key;
use filter_common::abi::{BlockEntry, NeverEntry, Settings, mode, port_bit, prefix_v4, scope_v6};
use filter_common::gate::{self, Near};
use filter_common::judge::{Exempt, Found, Tables};
use filter_common::limits::REPORT_AGAIN;
use filter_common::packet::Source;

use crate::clock;
use crate::maps::{
    BLOCK_GATE, BLOCK_HOSTS_V4, BLOCK_PREFIXES_V4, BLOCK_PREFIXES_V6, BLOCK_SCOPES_V6, NEVER_GATE,
    NEVER_HOSTS_V4, NEVER_PREFIXES_V4, NEVER_PREFIXES_V6, NEVER_SCOPES_V6, PROTECTED_PORTS, SETTINGS,
    SharedEntry,
};

/// The maps of this program.
pub(crate) struct Maps;

impl Tables for Maps {
    type Entry = *mut BlockEntry;

    #[inline(always)]
    fn near_block(&self, source: Source) -> Near {
        gate::near(source, words(), || present_settings().block_gate(), |index| word(&BLOCK_GATE, index))
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
            Source::V4(address) => BLOCK_HOSTS_V4.get_ptr_mut(&address),
            Source::V6(address) => BLOCK_SCOPES_V6.get_ptr_mut(&scope_v6(address)),
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
        let entry: *const NeverEntry = match source {
            Source::V4(address) => NEVER_HOSTS_V4.get_ptr(&address),
            Source::V6(address) => NEVER_SCOPES_V6.get_ptr(&scope_v6(address)),
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

/// Words of the block list's gate: written into the program when it is loaded, for the settings would be one look more.
#[unsafe(no_mangle)]
static BLOCK_GATE_WORDS: u32 = 0;

#[inline(always)]
fn words() -> u32 {
    // SAFETY: a static of its own type; read as memory, because the loader has written it since it was compiled.
    unsafe { core::ptr::read_volatile(&raw const BLOCK_GATE_WORDS) }
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
    })
}

#[inline(always)]
fn found(entry: Option<*mut BlockEntry>) -> Option<Found<*mut BlockEntry>> {
    let entry = entry?;
    // SAFETY: the map handed the pointer out in this run. An entry that is deleted meanwhile stays memory of the map
    // until the run ends; at worst it has become another entry by then, and one packet is judged by that.
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

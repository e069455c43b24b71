//! The judge's tables, in the maps of the kernel.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use aya_ebpf::maps::lpm_trie::Key;
use filter_common::abi::{BlockEntry, mode, port_bit, prefix_v4, scope_v6};
use filter_common::judge::{Exempt, Found, Tables};
use filter_common::packet::Source;

use crate::maps::{
    BLOCK_HOSTS_V4, BLOCK_PREFIXES_V4, BLOCK_PREFIXES_V6, BLOCK_SCOPES_V6, NEVER_V4, NEVER_V6,
    PROTECTED_PORTS, SETTINGS, SharedEntry,
};

/// The maps of this program.
pub(crate) struct Maps;

impl Tables for Maps {
    type Entry = *mut BlockEntry;

    #[inline(always)]
    fn settings(&self) -> (u32, bool) {
        match SETTINGS.get(0) {
            Some(settings) => (settings.mode, settings.drop_all != 0),
            None => (mode::OBSERVE, false),
        }
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: reads a clock and has no obligation (Linux 5.8).
        unsafe { bpf_ktime_get_boot_ns() }
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
    fn never(&self, source: Source, longest: u32) -> Option<Exempt> {
        let entry = match source {
            Source::V4(address) => NEVER_V4.get(&Key::new(longest, prefix_v4(address))),
            Source::V6(address) => NEVER_V6.get(&Key::new(longest, address)),
        }?;
        Some(Exempt { until: entry.until, prefix_len: entry.prefix_len })
    }

    #[inline(always)]
    fn is_protected(&self, port: u16) -> bool {
        let (word, bit) = port_bit(port);
        PROTECTED_PORTS.get(word).is_some_and(|ports| ports & bit != 0)
    }
}

#[inline(always)]
fn found(entry: Option<*mut BlockEntry>) -> Option<Found<*mut BlockEntry>> {
    let entry = entry?;
    // SAFETY: the map handed the pointer out in this run. The maps are not preallocated, so an entry that is deleted
    // meanwhile stays readable until the run ends (RCU).
    let BlockEntry { until, grace_until, prefix_len, .. } = unsafe { *entry };
    Some(Found { until, grace_until, prefix_len, entry })
}

/// Counts a packet that an entry drops.
#[inline(always)]
pub(crate) fn count_drop(entry: *mut BlockEntry, length: u64, now: u64) {
    // SAFETY: as in `found`. Several CPUs may write at once and lose each other's count, which `BlockEntry` says;
    // an atomic addition would cost every drop a locked cache line.
    unsafe {
        (*entry).packets += 1;
        (*entry).bytes += length;
        (*entry).last_drop = now;
    }
}

//! The maps. User space writes all but the counters; the capacities here are overridden when the object is loaded.

use core::cell::UnsafeCell;

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, LpmTrie, PerCpuArray, RingBuf};
use filter_common::abi::{BlockEntry, COUNTERS, Counter, NeverEntry, PrefixV6, Settings, Tick};
use filter_common::reason::Reason;
use filter_common::table::{self, Slot};
use filter_common::{gate, limits, prefixes};

/// Slots of a [`table`], which user space writes through memory.
pub(crate) type Slots<V> = Array<Slot<V>>;

/// The tags of a [`table`], a word for each bucket, and behind them its [`table::COUNTS`].
pub(crate) type Tags = Array<u64>;

/// The lengths of [`prefixes`], two words of 32 bits in each.
pub(crate) type Lengths = Array<u64>;

const fn slots<V>(entries: u32) -> Slots<V> {
    Array::pinned(table::buckets(entries) * table::BUCKET, BPF_F_MMAPABLE)
}

const fn tags(entries: u32) -> Tags {
    Array::pinned(table::buckets(entries) + table::COUNTS, BPF_F_MMAPABLE)
}

const LENGTHS: Lengths = Array::pinned(prefixes::WORDS, BPF_F_MMAPABLE);

/// Blocked IPv4 addresses. Absent means not blocked; so does an entry past its `until`.
#[map]
pub(crate) static BLOCK_HOSTS_V4: Slots<BlockEntry> = slots(limits::BLOCK_HOSTS_V4);
#[map]
pub(crate) static BLOCK_HOSTS_V4_TAGS: Tags = tags(limits::BLOCK_HOSTS_V4);

/// Blocked IPv6 /64 networks.
#[map]
pub(crate) static BLOCK_SCOPES_V6: Slots<BlockEntry> = slots(limits::BLOCK_SCOPES_V6);
#[map]
pub(crate) static BLOCK_SCOPES_V6_TAGS: Tags = tags(limits::BLOCK_SCOPES_V6);

/// Blocked IPv4 prefixes other than /32.
#[map]
pub(crate) static BLOCK_PREFIXES_V4: Slots<BlockEntry> = slots(limits::BLOCK_PREFIXES);
#[map]
pub(crate) static BLOCK_PREFIXES_V4_TAGS: Tags = tags(limits::BLOCK_PREFIXES);
#[map]
pub(crate) static BLOCK_PREFIXES_V4_LENGTHS: Lengths = LENGTHS;

/// Blocked IPv6 prefixes other than /64.
#[map]
pub(crate) static BLOCK_PREFIXES_V6: LpmTrie<PrefixV6, SharedEntry> =
    LpmTrie::pinned(limits::BLOCK_PREFIXES, BPF_F_NO_PREALLOC);

/// Never-blocked IPv4 addresses; asked only about sources that are blocked.
#[map]
pub(crate) static NEVER_HOSTS_V4: Slots<NeverEntry> = slots(limits::NEVER);
#[map]
pub(crate) static NEVER_HOSTS_V4_TAGS: Tags = tags(limits::NEVER);

/// Never-blocked IPv6 /64 networks.
#[map]
pub(crate) static NEVER_SCOPES_V6: Slots<NeverEntry> = slots(limits::NEVER);
#[map]
pub(crate) static NEVER_SCOPES_V6_TAGS: Tags = tags(limits::NEVER);

/// Never-blocked IPv4 prefixes other than /32.
#[map]
pub(crate) static NEVER_PREFIXES_V4: Slots<NeverEntry> = slots(limits::NEVER);
#[map]
pub(crate) static NEVER_PREFIXES_V4_TAGS: Tags = tags(limits::NEVER);
#[map]
pub(crate) static NEVER_PREFIXES_V4_LENGTHS: Lengths = LENGTHS;

/// Never-blocked IPv6 prefixes other than /64.
#[map]
pub(crate) static NEVER_PREFIXES_V6: LpmTrie<PrefixV6, NeverEntry> =
    LpmTrie::pinned(limits::NEVER, BPF_F_NO_PREALLOC);

/// What is near a source on the block list; the only list that an innocent packet meets. User space writes it through
/// memory, a mark at a time.
#[map]
pub(crate) static BLOCK_GATE: Array<u64> =
    Array::pinned(gate::words(limits::BLOCK_HOSTS_V4 + limits::BLOCK_SCOPES_V6), BPF_F_MMAPABLE);

/// What is near a blocked source on the never-block list.
#[map]
pub(crate) static NEVER_GATE: Array<u64> = Array::pinned(gate::NEVER_WORDS, BPF_F_MMAPABLE);

/// A bit for each port that blocked sources cannot reach.
#[map]
pub(crate) static PROTECTED_PORTS: Array<u64> = Array::pinned(limits::PORT_WORDS, 0);

/// One entry: the mode of the filter, and what the gates are read by.
#[map]
pub(crate) static SETTINGS: Array<Settings> = Array::pinned(1, 0);

/// Packets and bytes by [`Reason`]. Written here, added up by user space.
#[map]
static COUNTERS_BY_REASON: PerCpuArray<Counter> = PerCpuArray::pinned(COUNTERS, 0);

/// This CPU's view of the present tick.
#[map]
pub(crate) static TICK: PerCpuArray<Tick> = PerCpuArray::pinned(1, 0);

/// Drops, for the agent's event log: the first of each entry and then ever fewer.
#[map]
pub(crate) static REPORTS: RingBuf = RingBuf::pinned(limits::REPORTS_BYTES, 0);

/// An entry of a prefix map, which is lent out by reference and counted in all the same.
#[repr(transparent)]
pub(crate) struct SharedEntry(UnsafeCell<BlockEntry>);

// SAFETY: entries are only written through raw pointers, by `tables::count_drop`, whose comment says what may be lost
// when several CPUs do so at once.
unsafe impl Sync for SharedEntry {}

impl SharedEntry {
    /// The entry, for whoever counts.
    #[inline(always)]
    pub(crate) const fn get(&self) -> *mut BlockEntry {
        self.0.get()
    }
}

/// Counts a packet.
#[inline(always)]
pub(crate) fn count(reason: Reason, length: u64) {
    if let Some(counter) = COUNTERS_BY_REASON.get_ptr_mut(reason.index()) {
        // SAFETY: the map hands out this CPU's own element, and a program is not interrupted by itself there.
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += length;
        }
    }
}

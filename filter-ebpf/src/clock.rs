//! The boot clock, asked once per tick and CPU.
//!
//! Reading it costs more than everything else that a dropped packet costs, and the kernel's tick count costs nothing
//! (the verifier inlines it). So a drop is dated at most one tick, 1 to 10 ms, too early, and a block lasts at most as
//! much too long.

use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_boot_ns};
use filter_common::abi::Tick;
use filter_common::limits::REPORTS_PER_TICK;

use crate::maps::TICK;

/// Nanoseconds of the boot clock.
#[inline(always)]
pub(crate) fn now() -> u64 {
    let Some(tick) = TICK.get_ptr_mut(0) else { return boot() };
    // SAFETY: reads a counter and has no obligation (Linux 5.6).
    let jiffies = unsafe { bpf_jiffies64() };
    // SAFETY: the map hands out this CPU's own element, and a program is not interrupted by itself there.
    unsafe {
        if (*tick).jiffies != jiffies || (*tick).boot == 0 {
            *tick = Tick { jiffies, boot: boot(), reports_left: REPORTS_PER_TICK };
        }
        (*tick).boot
    }
}

/// Whether one more drop may be reported during this tick.
#[inline(always)]
pub(crate) fn may_report() -> bool {
    let Some(tick) = TICK.get_ptr_mut(0) else { return false };
    // SAFETY: as in `now`.
    unsafe {
        if (*tick).reports_left == 0 {
            return false;
        }
        (*tick).reports_left -= 1;
    }
    true
}

#[inline(always)]
fn boot() -> u64 {
    // SAFETY: reads a clock and has no obligation (Linux 5.8).
    unsafe { bpf_ktime_get_boot_ns() }
}

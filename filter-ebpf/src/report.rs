//! Telling user space of a drop, without ever waiting for it.

use filter_common::abi::DropReport;
use filter_common::judge::Judgement;
use filter_common::packet::Source;

use crate::clock;
use crate::maps::REPORTS;
use crate::tables::Dropped;

/// Puts a report into the ring buffer, if this tick has one left and the buffer has room.
#[inline(always)]
pub(crate) fn submit<E>(source: Source, dropped: &Dropped, judgement: &Judgement<E>) {
    if !clock::may_report() {
        return;
    }
    let Some(mut slot) = REPORTS.reserve::<DropReport>(0) else { return };
    let (source, family) = match source {
        Source::V4([a, b, c, d]) => ([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 4),
        Source::V6(address) => (address, 6),
    };
    let (at, port) = (judgement.now, judgement.port);
    let Dropped { packets, prefix_len } = *dropped;
    slot.write(DropReport { at, packets, source, family, prefix_len, port, reserved: 0 });
    slot.submit(0);
}

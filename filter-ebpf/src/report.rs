//! Telling user space of a drop, without ever waiting for it.

use filter_common::abi::DropReport;
use filter_common::packet::{Flow, Payload, Source};

use crate::clock;
use crate::maps::REPORTS;
use crate::tables::Dropped;

/// Puts a report into the ring buffer, if this tick has one left and the buffer has room.
#[inline(always)]
pub(crate) fn submit(flow: &Flow, dropped: &Dropped, now: u64) {
    if !clock::may_report() {
        return;
    }
    let Some(mut slot) = REPORTS.reserve::<DropReport>(0) else { return };
    let (source, family) = match flow.source {
        Source::V4([a, b, c, d]) => ([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 4),
        Source::V6(address) => (address, 6),
    };
    let port = match flow.payload {
        Payload::Tcp { port, .. } => port,
        Payload::LaterFragment | Payload::NeighbourDiscovery | Payload::Other => 0,
    };
    let Dropped { packets, prefix_len } = *dropped;
    slot.write(DropReport { at: now, packets, source, family, prefix_len, port, reserved: 0 });
    slot.submit(0);
}

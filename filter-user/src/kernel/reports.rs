//! What the kernel program tells of drops, until nobody listens any more.
//!
//! The program already tells only of the first drop of an entry and of ever fewer after that, and of a few per tick. A
//! flood from many blocked sources is still more than an event log wants: what is beyond [`PER_SECOND`] is passed over,
//! and the entries' own counters know it all the same.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use aya::maps::{MapData, RingBuf};
use filter_common::abi::DropReport;
use filter_core::event::Drop;
use filter_core::time::{self, Now};
use ipnet::IpNet;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{Filter, KernelError, maps};
use crate::clock;

/// Reports that are handed on in one second.
const PER_SECOND: u32 = 50;

impl Filter {
    /// Hands reports on for as long as the runtime lives; needs one.
    pub fn follow_reports(&self, tell: impl Fn(Drop) + Send + 'static) -> Result<(), KernelError> {
        let ring: RingBuf<MapData> = maps::pinned(&self.pin_directory, maps::REPORTS)?;
        let fault = |error: std::io::Error| KernelError::Other(format!("{}: {error}", maps::REPORTS));
        // SAFETY: the ring buffer owns its descriptor and keeps it open and the same until it is dropped, which the
        // `AsyncFd` that owns it does after deregistering it.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        let mut ring = ring.map_err(|error| fault(error.into()))?;
        tokio::spawn(async move {
            let mut budget = Budget { since: Instant::now(), left: PER_SECOND };
            while let Ok(mut guard) = ring.readable_mut().await {
                let ring = guard.get_inner_mut();
                while let Some(item) = ring.next() {
                    if let Some(drop) = read(&item, clock::now()).filter(|_| budget.take()) {
                        tell(drop);
                    }
                }
                guard.clear_ready();
            }
        });
        Ok(())
    }
}

struct Budget {
    since: Instant,
    left: u32,
}

impl Budget {
    fn take(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            *self = Self { since: Instant::now(), left: PER_SECOND };
        }
        let has_some = self.left > 0;
        self.left -= u32::from(has_some);
        has_some
    }
}

/// Reads a report; none if it is not one, which only another program's ring buffer could hold.
fn read(bytes: &[u8], now: Now) -> Option<Drop> {
    let bytes: &[u8; size_of::<DropReport>()] = bytes.try_into().ok()?;
    // SAFETY: a report is `repr(C)` and made of integers only, so every bit pattern is one; the array has its size, and
    // the read needs no alignment.
    let report = unsafe { bytes.as_ptr().cast::<DropReport>().read_unaligned() };
    let source = match report.family {
        4 => {
            let [a, b, c, d, ..] = report.source;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        6 => IpAddr::from(report.source),
        _ => return None,
    };
    Some(Drop {
        source,
        by: IpNet::new(source, u8::try_from(report.prefix_len).ok()?).ok()?.trunc(),
        packets: report.packets,
        port: Some(report.port).filter(|port| *port != 0),
        time: now.wall_before(time::Instant::from_nanos(report.at)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_and_anything_else_is_not() {
        let mut bytes = Vec::new();
        bytes.extend(1_000_000_000_u64.to_ne_bytes());
        bytes.extend(1024_u64.to_ne_bytes());
        bytes.extend([192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for half in [4_u16, 24, 25, 0] {
            bytes.extend(half.to_ne_bytes());
        }
        let now = Now {
            instant: time::Instant::from_nanos(3_000_000_000),
            wall: time::Timestamp::from_millis(10_000),
        };
        let drop = read(&bytes, now).unwrap();
        assert_eq!((drop.source, drop.by), ("192.0.2.7".parse().unwrap(), "192.0.2.0/24".parse().unwrap()));
        assert_eq!((drop.packets, drop.port, drop.time.as_millis()), (1024, Some(25), 8000));
        assert_eq!(read(&bytes[1..], now), None);
        bytes[32] = 5;
        assert_eq!(read(&bytes, now), None);
    }

    #[test]
    fn a_flood_of_reports_is_thinned_out() {
        let mut budget = Budget { since: Instant::now(), left: PER_SECOND };
        assert_eq!((0..1000).filter(|_| budget.take()).count(), PER_SECOND as usize);
    }
}

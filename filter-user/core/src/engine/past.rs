//! Who has been blocked before, and when.

use alloc::collections::VecDeque;
use core::time::Duration;

use hashbrown::HashMap;
use ipnet::IpNet;

use crate::time::Timestamp;

/// Blocks that are remembered at once; beyond it the oldest are forgotten.
pub const PAST_LIMIT: usize = 1 << 18;

/// Earlier automatic blocks.
#[derive(Debug, Default)]
pub(super) struct Past {
    counts: HashMap<IpNet, u32>,
    order: VecDeque<(Timestamp, IpNet)>,
}

impl Past {
    /// A network is blocked.
    pub(super) fn remember(&mut self, network: IpNet, at: Timestamp) {
        if self.order.len() >= PAST_LIMIT {
            self.forget_oldest();
        }
        *self.counts.entry(network).or_default() += 1;
        self.order.push_back((at, network));
    }

    /// How often a network has been blocked within this time.
    pub(super) fn count(&mut self, network: &IpNet, memory: Duration, now: Timestamp) -> usize {
        while self.order.front().is_some_and(|(at, _)| now.since(*at) > memory) {
            self.forget_oldest();
        }
        self.counts.get(network).map_or(0, |count| *count as usize)
    }

    fn forget_oldest(&mut self) {
        let Some((_, network)) = self.order.pop_front() else { return };
        if let Some(count) = self.counts.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_remembered_for_as_long_as_wanted() {
        let (mut past, network) = (Past::default(), "192.0.2.7/32".parse().unwrap());
        let at = |minutes: i64| Timestamp::from_millis(minutes * 60_000);
        past.remember(network, at(0));
        past.remember(network, at(30));
        let hour = Duration::from_hours(1);
        assert_eq!(past.count(&network, hour, at(60)), 2);
        assert_eq!(past.count(&network, hour, at(61)), 1);
        assert_eq!(past.count(&network, hour, at(91)), 0);
        assert!(past.counts.is_empty() && past.order.is_empty());
    }
}

//! What an administrator hears of a whole network.

use alloc::vec::Vec;
use core::cmp::Reverse;

use ipnet::IpNet;

use super::Engine;
use crate::admin::BlockView;
use crate::decision::{Block, Never};
use crate::neighbourhood::{NAMED, Nearest, Neighbourhood, Watched};
use crate::time::{Instant, Now};

impl Engine {
    /// The blocks that cover all of a network, the longest prefix first, and then those inside it. Looks at no others.
    pub fn blocks_around(&self, network: IpNet, now: Instant) -> Vec<BlockView> {
        let covers = |block: &&Block| block.network != network && block.network.contains(&network);
        let around = self.blocks.covering(network.addr(), now).filter(covers);
        let inside = self.blocks.within(&network).map(|(_, block)| block);
        around.chain(inside).map(|block| self.view(block, now)).collect()
    }

    /// Which clients are nearest to the threshold. Looks at every client that is being watched, once.
    pub fn nearest(&self, now: Instant) -> Nearest {
        let (watched, clients) = self.heaviest(now, |_| true);
        Nearest { threshold: self.policy.block_threshold, watched, clients }
    }

    /// How many clients of some networks have a score, and the [`NAMED`] with the highest ones.
    fn heaviest(&self, now: Instant, is_meant: impl Fn(&IpNet) -> bool) -> (u64, Vec<Watched>) {
        let mut heaviest = Highest::default();
        for (scope, score) in self.scores.sums(self.policy.monitor_period, now) {
            if score > 0 && is_meant(&scope.network()) {
                heaviest.add((score, scope.network()));
            }
        }
        let watched = heaviest.count;
        let named = heaviest.sorted().into_iter().map(|(score, scope)| Watched { scope, score });
        (watched, named.collect())
    }

    /// What covers a network and what lies inside. Looks at every client that is being watched, once.
    pub fn neighbourhood(&self, network: IpNet, now: Now) -> Neighbourhood {
        let covers = |other: &IpNet| other.contains(&network);
        let view = |block: &Block| self.view(block, now.instant);
        let blocks = self.blocks.covering(network.addr(), now.instant);
        let blocks: Vec<BlockView> = blocks.filter(|block| covers(&block.network)).map(view).collect();
        let never = self.nevers.covering(network.addr(), now.instant);
        let never: Vec<Never> = never.filter(|never| covers(&never.network)).cloned().collect();

        let mut latest = Highest::default();
        for (other, block) in self.blocks.within(&network).filter(|(other, _)| **other != network) {
            latest.add((block.since, *other));
        }
        let blocks_inside = latest.count;
        let named = latest.sorted().into_iter().filter_map(|(_, other)| self.blocks.get(&other));
        let latest_blocks = named.map(|(_, block)| view(block)).collect();
        let nevers = || self.nevers.within(&network).filter(|(other, _)| **other != network);
        let (watched, heaviest) = self.heaviest(now.instant, |scope| network.contains(scope));
        Neighbourhood {
            network,
            blocks,
            never,
            blocks_inside,
            latest_blocks,
            never_inside: nevers().count() as u64,
            first_never: nevers().take(NAMED).map(|(_, never)| never.clone()).collect(),
            watched,
            heaviest,
            threshold: self.policy.block_threshold,
            enforced: !self.policy.observe,
        }
    }
}

/// Counts all, and keeps the [`NAMED`] highest.
struct Highest<T> {
    count: u64,
    kept: Vec<T>,
}

impl<T> Default for Highest<T> {
    fn default() -> Self {
        Self { count: 0, kept: Vec::new() }
    }
}

impl<T: Ord + Copy> Highest<T> {
    fn add(&mut self, item: T) {
        self.count += 1;
        self.kept.push(item);
        if self.kept.len() >= 100 * NAMED {
            self.shorten();
        }
    }

    fn sorted(mut self) -> Vec<T> {
        self.shorten();
        self.kept
    }

    fn shorten(&mut self) {
        self.kept.sort_unstable_by_key(|item| Reverse(*item));
        self.kept.truncate(NAMED);
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use core::time::Duration;

    use super::*;
    use crate::client::ClientAddr;
    use crate::offence::{Kind, Offence};
    use crate::policy::Policy;
    use crate::time::Timestamp;

    fn at(seconds: u64) -> Now {
        let wall = Timestamp::from_millis(1_800_000_000_000).after(Duration::from_secs(seconds));
        Now { instant: Instant::from_nanos(seconds * 1_000_000_000), wall }
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn what_covers_it_and_what_lies_inside_is_counted_and_the_heaviest_are_named() {
        let mut engine = Engine::new(Policy::default());
        let block = |engine: &mut Engine, network: &str, second| {
            engine.block(net(network), None, String::new(), "root".into(), false, at(second)).unwrap();
        };
        block(&mut engine, "198.51.100.0/24", 2);
        for host in 0..30 {
            block(&mut engine, &alloc::format!("192.0.2.{}/32", 100 + host), 10 + host);
        }
        engine.never(net("192.0.2.7/32"), None, String::new(), "root".into(), false, at(50)).unwrap();
        for host in 1..=40 {
            for _ in 0..=host / 10 {
                let client = ClientAddr::new([192, 0, 2, host].into());
                engine.handle_offence(client, Offence::new(Kind::RelayDenied, b"x"), at(60));
            }
        }
        block(&mut engine, "192.0.0.0/16", 70);
        let seen = engine.neighbourhood(net("192.0.2.0/24"), at(70));
        assert_eq!(
            seen.blocks.iter().map(|view| view.block.network).collect::<Vec<_>>(),
            [net("192.0.0.0/16")]
        );
        assert_eq!((seen.blocks_inside, seen.latest_blocks.len()), (30, NAMED));
        assert_eq!(seen.latest_blocks[0].block.network, net("192.0.2.129/32"));
        assert_eq!((seen.never_inside, seen.never.len()), (1, 0));
        assert_eq!((seen.watched, seen.heaviest.len()), (40, NAMED));
        assert_eq!((seen.heaviest[0].score, seen.heaviest[0].scope), (500, net("192.0.2.40/32")));
        assert_eq!(engine.neighbourhood(net("192.0.2.0/24"), at(3661)).watched, 0, "it has had its hour");
        assert_eq!(engine.neighbourhood(net("2001:db8::/32"), at(70)).watched, 0);
    }
    #[test]
    fn blocks_in_and_around_a_network_are_found_and_no_others() {
        let mut engine = Engine::new(Policy::default());
        for network in ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "10.2.0.0/16", "2001:db8::/32"] {
            engine.block(net(network), None, String::new(), "root".into(), false, at(0)).unwrap();
        }
        let around = |network| {
            let blocks = engine.blocks_around(net(network), at(0).instant).into_iter();
            blocks.map(|view| view.block.network).collect::<Vec<_>>()
        };
        assert_eq!(around("10.1.0.0/16"), ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32"].map(net));
        assert_eq!(around("10.1.2.3/32"), ["10.1.0.0/16", "10.0.0.0/8", "10.1.2.3/32"].map(net));
        assert_eq!(around("10.3.0.0/16"), ["10.0.0.0/8"].map(net));
        assert!(around("192.0.2.0/24").is_empty());
    }
}

//! Which entries of the block list are meant, and in which order: what a page, the command line and a program ask for.

use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::admin::BlockView;
use crate::decision::{Block, Origin};
use crate::open::PAGE_LIMIT;
use crate::time::Timestamp;

/// Entries of one answer, if nobody says how many.
pub const PAGE_USUAL: usize = 100;

/// How entries are ordered.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// By network.
    #[default]
    Network,
    /// The latest first.
    Since,
    /// The one that ends next first.
    Until,
}

impl Order {
    /// Every order.
    pub const ALL: [Self; 3] = [Self::Network, Self::Since, Self::Until];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Since => "since",
            Self::Until => "until",
        }
    }

    /// The order of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.name() == name)
    }
}

/// Which entries are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// In and around this network.
    pub network: Option<IpNet>,
    /// Whose network, reason or author contains this, upper and lower case alike.
    pub text: Option<String>,
    /// That come from here.
    pub origin: Option<Origin>,
    /// In this order.
    pub order: Order,
    /// Without the first of them.
    pub offset: usize,
    /// How many at most; beyond [`PAGE_LIMIT`] that.
    pub limit: Option<usize>,
}

/// Entries that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Listed {
    /// How many are on the list.
    pub total: u64,
    /// How many of them are meant.
    pub matching: u64,
    /// Those of this page.
    pub blocks: Vec<ListedBlock>,
}

/// One entry, and what it has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ListedBlock {
    /// The entry.
    #[serde(flatten)]
    pub view: BlockView,
    /// Packets that the kernel has dropped by it; none: the kernel does not hold it.
    pub packets: Option<u64>,
    /// Bytes of those packets.
    pub bytes: Option<u64>,
    /// When the last of them came.
    pub last_drop: Option<Timestamp>,
}

impl From<BlockView> for ListedBlock {
    fn from(view: BlockView) -> Self {
        Self { view, packets: None, bytes: None, last_drop: None }
    }
}

impl Search {
    /// Those of this page, in their order, and how many are meant in all. Takes them in the order of networks.
    pub fn choose<'a>(&self, blocks: impl Iterator<Item = &'a Block>) -> (Vec<&'a Block>, usize) {
        let text = self.text.as_deref().map(str::to_lowercase);
        let mut meant: Vec<_> = blocks.filter(|block| self.lets(block, text.as_deref())).collect();
        let matching = meant.len();
        let end = self.offset.saturating_add(self.limit.unwrap_or(PAGE_USUAL).min(PAGE_LIMIT));
        match self.order {
            Order::Network => {}
            Order::Since => sort_first(&mut meant, end, |block| (Reverse(block.since), block.network)),
            Order::Until => sort_first(&mut meant, end, |block| (block.until, block.network)),
        }
        meant.truncate(end);
        (meant.split_off(self.offset.min(meant.len())), matching)
    }

    fn lets(&self, block: &Block, text: Option<&str>) -> bool {
        let is_near = |wanted: IpNet| wanted.contains(&block.network) || block.network.contains(&wanted);
        let has = |text: &str| {
            holds(&block.reason, text)
                || holds(&block.author, text)
                // To write down a network takes longer than all the rest.
                || is_of_network(text) && alloc::format!("{}", block.network).contains(text)
        };
        self.network.is_none_or(is_near)
            && self.origin.is_none_or(|origin| block.origin == origin)
            && text.is_none_or(has)
    }
}

/// Whether a text holds another one, which is in small letters; whoever is judged waits while a list of millions is searched.
fn holds(text: &str, part: &str) -> bool {
    if !text.is_ascii() {
        return text.to_lowercase().contains(part);
    }
    let part = part.as_bytes();
    part.is_empty() || text.as_bytes().windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

/// Whether a text can be a part of a network.
fn is_of_network(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit() || b".:/".contains(&byte))
}

/// Puts the first so many in their order; the list may have millions behind them, which nobody looks at.
fn sort_first<'a, K: Ord>(blocks: &mut [&'a Block], count: usize, key: impl Fn(&'a Block) -> K) {
    if count < blocks.len() {
        blocks.select_nth_unstable_by_key(count, |block| key(block));
    }
    let count = count.min(blocks.len());
    if let Some(first) = blocks.get_mut(..count) {
        first.sort_unstable_by_key(|block| key(block));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventId;
    use alloc::string::ToString;

    fn block(network: &str, origin: Origin, since: i64, until: i64) -> Block {
        Block {
            network: network.parse().unwrap(),
            origin,
            reason: "Too many FAILED logins".to_string(),
            author: "anna".to_string(),
            since: Timestamp::from_millis(since),
            until: Timestamp::from_millis(until),
            observed: false,
            event: EventId(0),
        }
    }

    fn list() -> [Block; 4] {
        [
            block("10.0.0.0/8", Origin::Manual, 40, 50),
            block("10.1.2.3/32", Origin::Login, 10, 90),
            block("192.0.2.7/32", Origin::Smtp, 30, 60),
            block("2001:db8::/48", Origin::Manual, 20, 70),
        ]
    }

    fn found(search: &Search) -> (Vec<String>, usize) {
        let list = list();
        let (blocks, matching) = search.choose(list.iter());
        (blocks.iter().map(|block| block.network.to_string()).collect(), matching)
    }

    #[test]
    fn each_order_is_that_of_the_whole_list_on_every_page() {
        for (order, whole) in [
            (Order::Network, ["10.0.0.0/8", "10.1.2.3/32", "192.0.2.7/32", "2001:db8::/48"]),
            (Order::Since, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/48", "10.1.2.3/32"]),
            (Order::Until, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/48", "10.1.2.3/32"]),
        ] {
            for limit in 1..=5 {
                let pages = (0..4)
                    .step_by(limit)
                    .map(|offset| found(&Search { order, offset, limit: Some(limit), ..Search::default() }));
                let pages: Vec<_> = pages.inspect(|page| assert_eq!(page.1, 4)).map(|page| page.0).collect();
                assert_eq!(pages.concat(), whole, "{order:?} by {limit}");
            }
        }
        assert_eq!(found(&Search { offset: 9, ..Search::default() }), (Vec::new(), 4));
    }

    #[test]
    fn an_entry_is_found_by_its_network_its_words_and_its_origin() {
        let near = |network: &str| Search { network: network.parse().ok(), ..Search::default() };
        assert_eq!(found(&near("10.1.2.0/24")), (alloc::vec!["10.0.0.0/8".into(), "10.1.2.3/32".into()], 2));
        assert_eq!(found(&near("192.0.2.8/32")).1, 0);
        let words = |text: &str| Search { text: Some(text.into()), ..Search::default() };
        assert_eq!([found(&words("failed")).1, found(&words("ANNA")).1, found(&words("db8:")).1], [4, 4, 1]);
        assert_eq!([found(&words("")).1, found(&words("192.0.2.")).1, found(&words("zz")).1], [4, 1, 0]);
        assert!(holds("Grüße", "grüß") && holds("GRUSS", "uss") && !holds("ab", "abc") && !holds("ab", "ü"));
        let by = Search { origin: Some(Origin::Manual), ..Search::default() };
        assert_eq!(found(&by).0, ["10.0.0.0/8", "2001:db8::/48"]);
    }
}

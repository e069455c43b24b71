//! Blocks that other programs file, such as fail2ban: each program's are its own.
//!
//! A feed takes away what it has filed and nothing else, and what others have decided for longer stays as it is. Nothing
//! is forgiven when it takes something away: what the client did here is none of its business.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use ipnet::IpNet;

use super::lists::refuse_wide;
use super::{BLOCKS_LIMIT, Engine, Refusal};
use crate::admin::{BlockView, Removed};
use crate::decision::{Block, Origin};
use crate::event::EventId;
use crate::time::Now;

/// Longest name of a feed, in bytes.
pub const FEED_LIMIT: usize = 100;

/// Whether a text can be a feed's name: printable, without spaces, such as `fail2ban/sshd`.
pub fn is_feed(name: &str) -> bool {
    (1..=FEED_LIMIT).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Engine {
    /// A feed blocks a network for a time (none: the policy's block time). An administrator's block, and one that stands for
    /// longer, stays, and is the answer.
    pub fn file_block(
        &mut self,
        network: IpNet,
        span: Option<Duration>,
        reason: String,
        feed: String,
        now: Now,
    ) -> Result<BlockView, Refusal> {
        refuse_wide(network, false)?;
        let until = now.wall.after(span.unwrap_or(self.policy.block_time));
        if let Some((_, standing)) = self.blocks.get(&network) {
            let is_own = standing.origin == Origin::Feed && standing.author == feed;
            if !is_own && (standing.origin == Origin::Manual || standing.until >= until) {
                return Ok(self.view(standing, now.instant));
            }
        }
        let reason = if reason.is_empty() { format!("blocked by {feed}") } else { reason };
        let (origin, since, observed, event) = (Origin::Feed, now.wall, self.policy.observe, EventId(0));
        let block = Block { network, origin, reason, author: feed, since, until, observed, event };
        let block = self.put_block(block, Vec::new(), now).ok_or(Refusal::Full(BLOCKS_LIMIT))?;
        Ok(self.view(&block, now.instant))
    }

    /// A feed takes away what it has filed for exactly this network, if it stands; says which other entries still cover it.
    pub fn unfile_block(&mut self, network: IpNet, feed: String, now: Now) -> Removed {
        let standing = self.blocks.get(&network).map(|(_, block)| block);
        let is_own = standing.is_some_and(|block| block.origin == Origin::Feed && block.author == feed);
        if is_own {
            self.blocks.remove(&network);
            self.drop_block(network, Some(feed), Vec::new(), now);
        }
        let covering = self.blocks.covering(network.addr(), now.instant).map(|block| block.network);
        let still_covered_by = covering.filter(|other| other.contains(&network)).collect();
        Removed { network, still_covered_by, kernel_problem: None, was_there: is_own }
    }
}

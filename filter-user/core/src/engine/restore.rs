//! Starting over: the store, the kernel and the built-in entries become one state again.
//!
//! The store knows why, the kernel knows what has been enforced meanwhile. A block that only the store knows (the
//! machine was restarted) goes to the kernel; one that only the kernel knows (the agent died before it was written)
//! is adopted. What was only observed is dropped when it would now be enforced. Where both know a block, the kernel's end counts, because the boot clock has not been set back and forth.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use ipnet::IpNet;

use super::clock::Ended;
use super::{Effect, Engine, Record};
use crate::decision::{Block, Change, Never, Origin};
use crate::event::{EventId, What};
use crate::time::{Instant, Now};

/// Ends that differ by less are the same end, read at two moments.
const SAME_END: Duration = Duration::from_secs(2);

/// The author of what only the kernel knows.
pub(super) const ADOPTER: &str = "kernel";

/// A block as the kernel holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBlock {
    /// Who is refused.
    pub network: IpNet,
    /// When it ends.
    pub until: Instant,
    /// Where it comes from; none: a number that this version does not know.
    pub origin: Option<Origin>,
}

/// A never-block entry as the kernel holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldNever {
    /// Who is exempt.
    pub network: IpNet,
    /// When it ends.
    pub until: Instant,
    /// Whether Gatepost made it itself.
    pub built_in: bool,
}

/// All that the kernel holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Blocks, ended ones included.
    pub blocks: Vec<HeldBlock>,
    /// Never-block entries, ended ones included.
    pub nevers: Vec<HeldNever>,
}

impl Engine {
    /// Takes over what the store and the kernel hold, and the built-in never-block entries of this start. The
    /// effects that follow bring both to the same state.
    pub fn restore(
        &mut self,
        stored: (Vec<Block>, Vec<Never>),
        held: &Held,
        built_in: impl IntoIterator<Item = Never>,
        now: Now,
    ) {
        self.restore_nevers(stored.1, held, built_in, now);
        self.restore_blocks(stored.0, held, now);
    }

    fn restore_blocks(&mut self, stored: Vec<Block>, held: &Held, now: Now) {
        let mut in_kernel: BTreeMap<IpNet, &HeldBlock> =
            held.blocks.iter().map(|block| (block.network, block)).collect();
        for mut block in stored {
            let network = block.network;
            let mut until = now.instant_of(block.until);
            let held = in_kernel.remove(&network).filter(|held| held.until > now.instant);
            if let Some(held) = held {
                let apart = held.until.since(until).max(until.since(held.until));
                if apart > SAME_END {
                    block.until = now.wall_of(held.until);
                    self.effects.push_back(Effect::Store(Record::PutBlock(block.clone())));
                }
                until = held.until;
            }
            if until <= now.instant || (block.observed && !self.policy.observe) {
                self.effects.push_back(Effect::Kernel(Change::Unblock(network)));
                let has_ended = until <= now.instant;
                if !(has_ended && held.is_none() && self.clock.doubts(Ended::Block(block), now)) {
                    self.effects.push_back(Effect::Store(Record::DropBlock(network)));
                }
                continue;
            }
            if held.is_none() {
                self.clock.restored.insert(network);
                let since = now.instant;
                let change = Change::Block { network, since, until, origin: block.origin };
                self.effects.push_back(Effect::Kernel(change));
            }
            self.blocks.insert(network, until, block);
        }
        for (network, held) in in_kernel {
            if held.until <= now.instant {
                self.effects.push_back(Effect::Kernel(Change::Unblock(network)));
                continue;
            }
            let mut block = Block {
                network,
                origin: held.origin.unwrap_or(Origin::Manual),
                reason: "found in the kernel; the store does not know why".to_string(),
                author: ADOPTER.to_string(),
                since: now.wall,
                until: now.wall_of(held.until),
                observed: false,
                event: EventId(0),
            };
            let what = What::blocked(&block, !self.policy.observe, Vec::new());
            block.event = self.log(network, what, now);
            self.effects.push_back(Effect::Store(Record::PutBlock(block.clone())));
            self.blocks.insert(network, held.until, block);
        }
    }

    fn restore_nevers(
        &mut self,
        stored: Vec<Never>,
        held: &Held,
        built_in: impl IntoIterator<Item = Never>,
        now: Now,
    ) {
        let in_kernel = |network: &IpNet| {
            let mut entries = held.nevers.iter().filter(|held| !held.built_in && held.until > now.instant);
            entries.find(|held| held.network == *network)
        };
        // Built-in entries last: they win over an administrator's entry for the same network.
        for mut never in stored.into_iter().chain(built_in) {
            let network = never.network;
            if let Some(held) = in_kernel(&network).filter(|_| never.until.is_some()) {
                never.until = Some(now.wall_of(held.until));
                self.effects.push_back(Effect::Store(Record::PutNever(never.clone())));
            }
            if never.until.is_none_or(|until| until > now.wall) {
                self.put_never(never, now);
            } else if !self.clock.doubts(Ended::Never(never), now) {
                self.effects.push_back(Effect::Store(Record::DropNever(network)));
            }
        }
        for held in &held.nevers {
            if self.nevers.get(&held.network).is_some() {
                continue;
            }
            if held.built_in || held.until <= now.instant {
                self.effects.push_back(Effect::Kernel(Change::ForgetNever(held.network)));
                continue;
            }
            let never = Never {
                network: held.network,
                comment: "found in the kernel; the store does not know why".to_string(),
                author: ADOPTER.to_string(),
                since: now.wall,
                until: (held.until != Instant::FAR_FUTURE).then(|| now.wall_of(held.until)),
                built_in: false,
            };
            self.effects.push_back(Effect::Store(Record::PutNever(never.clone())));
            self.nevers.insert(held.network, held.until, never);
        }
    }
}

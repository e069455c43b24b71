//! The way into the kernel, or none.

use std::collections::BTreeMap;

use filter_core::decision::Change;
use ipnet::IpNet;

use super::List;
use crate::kernel::{Fill, Filter};
use crate::telemetry::histogram;

/// Applies changes to the kernel filter, remembers those that it did not take, and tries them again when there may be
/// room.
#[derive(Debug)]
pub struct Enforcer {
    filter: Option<Filter>,
    pending: BTreeMap<(bool, IpNet), Pending>,
    failing: bool,
}

/// A change that the kernel has not taken.
#[derive(Debug)]
struct Pending {
    change: Change,
    reason: String,
}

impl Enforcer {
    /// The way into a filter; none: blocks are enforced at accept only.
    pub const fn new(filter: Option<Filter>) -> Self {
        Self { filter, pending: BTreeMap::new(), failing: false }
    }

    /// Changes that the kernel has not taken.
    pub fn pending(&self) -> u64 {
        self.pending.len() as u64
    }

    /// How full the kernel's maps are.
    pub(super) fn fill(&self) -> Vec<Fill> {
        self.filter.as_ref().map(Filter::fill).unwrap_or_default()
    }

    /// Why the kernel has not taken what was last wanted of a network on a list.
    pub(super) fn problem(&self, list: List, network: IpNet) -> Option<String> {
        self.pending.get(&(list == List::Blocks, network)).map(|pending| pending.reason.clone())
    }

    pub(super) fn apply(&mut self, changes: &[Change]) {
        let Some(filter) = &mut self.filter else { return };
        let begun = std::time::Instant::now();
        for change in changes {
            // Whatever was wanted of this network before, this is wanted now.
            self.pending.remove(&key(change));
        }
        let mut refused = filter.apply(changes);
        if changes.iter().any(|change| matches!(change, Change::Unblock(_) | Change::ForgetNever(_))) {
            let again: Vec<_> = {
                let pending = std::mem::take(&mut self.pending).into_values();
                pending.map(|pending| pending.change).collect()
            };
            refused.extend(filter.apply(&again));
        }
        histogram::KERNEL_WRITE.observe(begun.elapsed());
        if let Some(first) = refused.first() {
            // Once per spell of trouble: whoever fills a map could otherwise fill the log as well.
            if !self.failing {
                let consequence = consequence(&first.change);
                tracing::error!(error = %first.error, network = %first.change.network(), "{consequence}");
            }
            self.failing = true;
        } else if self.pending.is_empty() {
            self.failing = false;
        }
        let pending = refused.into_iter().map(|refused| {
            let (key, reason) = (key(&refused.change), refused.error.to_string());
            (key, Pending { change: refused.change, reason })
        });
        self.pending.extend(pending);
    }
}

/// A network may be on both lists.
const fn key(change: &Change) -> (bool, IpNet) {
    (matches!(change, Change::Block { .. } | Change::Unblock(_)), *change.network())
}

/// What it means that the kernel did not take a change.
const fn consequence(change: &Change) -> &'static str {
    match change {
        Change::Block { .. } => "the kernel does not block it; it is refused at accept",
        Change::Unblock(_) => "the kernel still blocks it, until the block ends there; it is tried again",
        Change::Never { .. } => "the kernel does not exempt it; it is tried again",
        Change::ForgetNever(_) => "the kernel still exempts it; it is tried again",
    }
}

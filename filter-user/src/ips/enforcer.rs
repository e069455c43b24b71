//! The way into the kernel, or none.

use filter_core::decision::Change;

use crate::kernel::Filter;

/// Applies changes to the kernel filter and keeps count of those that it did not take.
#[derive(Debug)]
pub struct Enforcer {
    filter: Option<Filter>,
    failures: u64,
    failing: bool,
}

impl Enforcer {
    /// The way into a filter; none: blocks are enforced at accept only.
    pub const fn new(filter: Option<Filter>) -> Self {
        Self { filter, failures: 0, failing: false }
    }

    /// Changes that the kernel did not take; userspace still refuses those clients at accept.
    pub const fn failures(&self) -> u64 {
        self.failures
    }

    pub(super) fn apply(&mut self, change: &Change) {
        let Some(filter) = &mut self.filter else { return };
        match filter.apply(change) {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.failures += 1;
                // Once per spell of trouble: whoever fills a map could otherwise fill the log as well.
                if !self.failing {
                    tracing::error!(%error, ?change, "the kernel did not take a change; userspace still enforces it");
                }
                self.failing = true;
            }
        }
    }
}

//! Scopes that have done something lately.

use core::time::Duration;

use hashbrown::HashMap;

use crate::client::Scope;
use crate::time::Instant;

/// Scopes that one such memory holds; beyond it the older half is forgotten.
pub const SCOPES_LIMIT: usize = 131_072;

/// Who has done something within a span of time, and when last.
#[derive(Debug)]
pub struct Recent {
    span: Duration,
    young: HashMap<Scope, Instant>,
    old: HashMap<Scope, Instant>,
}

impl Recent {
    /// Nobody yet; each is remembered for `span`.
    pub fn new(span: Duration) -> Self {
        Self { span, young: HashMap::new(), old: HashMap::new() }
    }

    /// A scope has done it; whether it had within the span.
    pub fn note(&mut self, scope: Scope, now: Instant) -> bool {
        let known = self.young.insert(scope, now).or_else(|| self.old.remove(&scope));
        if self.young.len() > SCOPES_LIMIT / 2 {
            self.old = core::mem::take(&mut self.young);
        }
        known.is_some_and(|last| now.since(last) <= self.span)
    }

    /// Whether a scope has done it within the span.
    pub fn knows(&self, scope: Scope, now: Instant) -> bool {
        let last = self.young.get(&scope).or_else(|| self.old.get(&scope));
        last.is_some_and(|last| now.since(*last) <= self.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{ClientAddr, ScopeWidth};

    fn scope(last: u32) -> Scope {
        ScopeWidth::default().scope_of(ClientAddr::new(core::net::IpAddr::V4(last.into())))
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut recent = Recent::new(Duration::from_hours(1));
        let at = |minutes| Instant::from_nanos(0).after(Duration::from_mins(minutes));
        assert!(!recent.knows(scope(1), at(0)) && !recent.note(scope(1), at(0)));
        assert!(
            recent.knows(scope(1), at(60))
                && !recent.knows(scope(1), at(61))
                && !recent.knows(scope(2), at(0))
        );
        assert!(recent.note(scope(1), at(60)));
    }

    #[test]
    fn no_crowd_is_remembered_beyond_the_limit() {
        let mut recent = Recent::new(Duration::from_hours(1));
        let now = Instant::from_nanos(0);
        for last in 0..300_000 {
            recent.note(scope(last), now);
            assert!(recent.young.len() + recent.old.len() <= SCOPES_LIMIT + 1);
        }
        assert!(recent.knows(scope(299_999), now) && !recent.knows(scope(0), now));
    }
}

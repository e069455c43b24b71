//! Scopes that have done something lately.

use core::time::Duration;

use crate::client::Scope;
use crate::fading::Fading;
use crate::time::Instant;

/// Scopes that one such memory holds; beyond it the older half is forgotten.
pub const SCOPES_LIMIT: usize = 131_072;

/// Who has done something within a span of time, and when last.
#[derive(Debug)]
pub struct Recent {
    span: Duration,
    last: Fading<Scope, Instant>,
}

impl Recent {
    /// Nobody yet; each is remembered for `span`.
    pub fn new(span: Duration) -> Self {
        Self { span, last: Fading::new(SCOPES_LIMIT) }
    }

    /// A scope has done it; whether it had within the span.
    pub fn note(&mut self, scope: Scope, now: Instant) -> bool {
        self.last.put(scope, now).is_some_and(|last| now.since(last) <= self.span)
    }

    /// Whether a scope has done it within the span.
    pub fn knows(&self, scope: Scope, now: Instant) -> bool {
        self.last.get(&scope).is_some_and(|last| now.since(*last) <= self.span)
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
}

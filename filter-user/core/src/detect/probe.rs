//! Sessions without a transaction, when they come again.
//!
//! Once is a monitor, a person with telnet, or bad luck. Twice within an hour is told of, and each time after that.

use core::time::Duration;

use hashbrown::HashMap;

use crate::client::Scope;
use crate::time::Instant;

/// How long such a session is remembered.
const MEMORY: Duration = Duration::from_hours(1);
/// Scopes that are remembered; beyond it the older half is forgotten.
const SCOPES_LIMIT: usize = 131_072;

/// Who had a session without a transaction, and when last.
#[derive(Debug, Default)]
pub struct Probes {
    recent: HashMap<Scope, Instant>,
    older: HashMap<Scope, Instant>,
}

impl Probes {
    /// A scope had such a session; whether it is one more within [`MEMORY`].
    pub fn is_repeated(&mut self, scope: Scope, now: Instant) -> bool {
        let known = self.recent.insert(scope, now).or_else(|| self.older.remove(&scope));
        if self.recent.len() > SCOPES_LIMIT / 2 {
            self.older = core::mem::take(&mut self.recent);
        }
        known.is_some_and(|last| now.since(last) <= MEMORY)
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
    fn the_second_within_an_hour_is_one_too_many() {
        let mut probes = Probes::default();
        let at = |minutes| Instant::from_nanos(0).after(Duration::from_mins(minutes));
        assert!(!probes.is_repeated(scope(1), at(0)));
        assert!(!probes.is_repeated(scope(2), at(1)));
        assert!(probes.is_repeated(scope(1), at(60)));
        assert!(!probes.is_repeated(scope(1), at(121)));
    }

    #[test]
    fn no_crowd_is_remembered_beyond_the_limit() {
        let mut probes = Probes::default();
        let now = Instant::from_nanos(0);
        for last in 0..300_000 {
            probes.is_repeated(scope(last), now);
            assert!(probes.recent.len() + probes.older.len() <= SCOPES_LIMIT + 1);
        }
        assert!(probes.is_repeated(scope(299_999), now) && !probes.is_repeated(scope(0), now));
    }
}

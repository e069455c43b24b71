//! Sessions without a transaction, when they come again.
//!
//! Once is a monitor, a person with telnet, or bad luck. Twice within an hour is told of, and each time after that.

use core::time::Duration;

use crate::client::Scope;
use crate::recent::Recent;
use crate::time::Instant;

/// How long such a session is remembered.
const MEMORY: Duration = Duration::from_hours(1);

/// Who had a session without a transaction, and when last.
#[derive(Debug)]
pub struct Probes(Recent);

impl Default for Probes {
    fn default() -> Self {
        Self(Recent::new(MEMORY))
    }
}

impl Probes {
    /// A scope had such a session; whether it is one more within an hour.
    pub fn is_repeated(&mut self, scope: Scope, now: Instant) -> bool {
        self.0.note(scope, now)
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
}

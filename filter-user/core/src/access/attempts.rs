//! How often passwords may be tried from one network: a few at once, then one now and then.

use core::time::Duration;

use alloc::collections::BTreeMap;

use crate::client::Scope;
use crate::time::Instant;

/// Wrong passwords in a row before anybody has to wait.
pub(super) const FREE: u32 = 5;
/// How long each further one is waited for, and how long it takes until one is forgotten.
pub(super) const PAUSE: Duration = Duration::from_secs(30);
/// Networks that are remembered; beyond it nobody new may try until one is forgotten.
pub(super) const ATTEMPTS_LIMIT: usize = 65_536;

/// Wrong passwords by where they came from.
#[derive(Debug, Default)]
pub struct Attempts {
    failed: BTreeMap<Scope, (u32, Instant)>,
}

impl Attempts {
    /// Takes an attempt, or says how long to wait. It counts as failed until [`Attempts::succeeded`] says otherwise, so
    /// that many at the same time are no way around the limit.
    pub fn begin(&mut self, scope: Scope, now: Instant) -> Result<(), Duration> {
        self.failed.retain(|_, (count, last)| forgiven(*count, *last, now) > 0);
        let (count, last) = self.failed.get(&scope).copied().unwrap_or((0, now));
        let count = forgiven(count, last, now);
        if count >= FREE {
            return Err(PAUSE.saturating_sub(now.since(last)).max(Duration::from_secs(1)));
        }
        if count == 0 && self.failed.len() >= ATTEMPTS_LIMIT {
            return Err(PAUSE);
        }
        self.failed.insert(scope, (count + 1, now));
        Ok(())
    }

    /// The password was right.
    pub fn succeeded(&mut self, scope: Scope) {
        self.failed.remove(&scope);
    }
}

/// What is left of failed attempts.
fn forgiven(count: u32, last: Instant, now: Instant) -> u32 {
    let pauses = now.since(last).as_secs() / PAUSE.as_secs();
    count.saturating_sub(u32::try_from(pauses).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{ClientAddr, ScopeWidth};
    use core::net::IpAddr;

    fn scope(host: u8) -> Scope {
        ScopeWidth::default().scope_of(ClientAddr::new(IpAddr::from([192, 0, 2, host])))
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn after_a_few_wrong_passwords_each_further_one_has_to_wait() {
        let mut attempts = Attempts::default();
        for _ in 0..FREE {
            assert_eq!(attempts.begin(scope(1), at(0)), Ok(()));
        }
        assert_eq!(attempts.begin(scope(1), at(10)), Err(Duration::from_secs(20)));
        assert_eq!(attempts.begin(scope(2), at(10)), Ok(()), "somebody else");
        assert_eq!(attempts.begin(scope(1), at(30)), Ok(()));
        assert_eq!(attempts.begin(scope(1), at(31)), Err(Duration::from_secs(29)));
    }

    #[test]
    fn the_right_password_makes_the_wrong_ones_forgotten() {
        let mut attempts = Attempts::default();
        for _ in 0..FREE {
            assert_eq!(attempts.begin(scope(1), at(0)), Ok(()));
        }
        attempts.succeeded(scope(1));
        assert_eq!(attempts.begin(scope(1), at(1)), Ok(()));
    }
}

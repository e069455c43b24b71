//! The numbers that govern decisions about clients; replaced whole on reload.

use core::time::Duration;

use crate::client::ScopeWidth;
use crate::offence::Kind;

/// How offences become blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long an offence counts (`client_error_monitor_period`).
    pub monitor_period: Duration,
    /// The score that blocks (`client_error_block_threshold`); reaching it is enough.
    pub block_threshold: u32,
    /// How long such a block lasts (`client_error_block_time`).
    pub block_time: Duration,
    /// What each kind of offence costs.
    pub multipliers: Multipliers,
    /// What is scored and blocked as one.
    pub scope_width: ScopeWidth,
    /// Judge and log everything, enforce nothing.
    pub observe: bool,
    /// When a score is compared with the threshold.
    pub evaluate: Evaluate,
    /// What becomes of those who come back.
    pub repeat: Repeat,
    /// What good behaviour is worth.
    pub credit: Credit,
    /// Blocked scopes of one IPv4 /24 or IPv6 /48 from which on the whole network is blocked; 0: never.
    pub widen_after: u32,
    /// Failed logins, counted over all services.
    pub login: LoginPolicy,
}

/// When a score is compared with the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Evaluate {
    /// With every offence.
    #[default]
    AtOnce,
    /// When the client connects the next time, as VPOP3 does.
    OnConnect,
}

/// Longer blocks for those who come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// Each earlier block multiplies the block time by this; 1: it does not.
    pub factor: u32,
    /// How long a block is remembered.
    pub memory: Duration,
    /// The longest block that this makes.
    pub maximum: Duration,
}

/// Points for good behaviour, taken off the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    /// For a successful login or an accepted message within the monitor period; 0: none.
    pub per_success: u32,
    /// At most.
    pub maximum: u32,
}

/// The login component: failed logins of a scope, over all services and accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginPolicy {
    /// How long a failed login counts.
    pub monitor_period: Duration,
    /// Failed logins that block; 0: they do not.
    pub threshold: u32,
    /// How long such a block lasts.
    pub block_time: Duration,
}

impl Default for Repeat {
    fn default() -> Self {
        let (memory, maximum) = (Duration::from_hours(24 * 30), Duration::from_hours(24 * 7));
        Self { factor: 1, memory, maximum }
    }
}

impl Default for Credit {
    fn default() -> Self {
        Self { per_success: 0, maximum: 500 }
    }
}

impl Default for LoginPolicy {
    fn default() -> Self {
        let half_an_hour = Duration::from_mins(30);
        Self { monitor_period: half_an_hour, threshold: 10, block_time: half_an_hour }
    }
}

impl Repeat {
    /// How long a block lasts that follows so many earlier ones.
    pub fn block_time(&self, first: Duration, earlier: usize) -> Duration {
        if self.factor <= 1 {
            return first;
        }
        let exponent = u32::try_from(earlier).unwrap_or(u32::MAX);
        let factor = self.factor.saturating_pow(exponent);
        first.saturating_mul(factor).min(self.maximum.max(first))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            monitor_period: Duration::from_hours(1),
            block_threshold: 1000,
            block_time: Duration::from_mins(30),
            multipliers: Multipliers::default(),
            scope_width: ScopeWidth::default(),
            observe: false,
            evaluate: Evaluate::default(),
            repeat: Repeat::default(),
            credit: Credit::default(),
            widen_after: 0,
            login: LoginPolicy::default(),
        }
    }
}

/// One multiplier per kind of offence; 0 means "log it, score nothing".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multipliers([u32; Kind::ALL.len()]);

impl Multipliers {
    /// What an offence of this kind costs.
    pub fn get(&self, kind: Kind) -> u32 {
        self.0.get(kind.index()).copied().unwrap_or(0)
    }

    /// Changes what an offence of this kind costs.
    pub fn set(&mut self, kind: Kind, multiplier: u32) {
        if let Some(place) = self.0.get_mut(kind.index()) {
            *place = multiplier;
        }
    }
}

impl Default for Multipliers {
    fn default() -> Self {
        Self(Kind::ALL.map(Kind::default_multiplier))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_earlier_block_multiplies_up_to_the_maximum() {
        let repeat = Repeat { factor: 3, maximum: Duration::from_hours(10), ..Repeat::default() };
        let half = Duration::from_mins(30);
        let times: [u64; 5] =
            [0, 1, 2, 3, 1000].map(|earlier| repeat.block_time(half, earlier).as_secs() / 60);
        assert_eq!(times, [30, 90, 270, 600, 600]);
        assert_eq!(Repeat::default().block_time(half, 9), half);
        let short = Repeat { maximum: Duration::from_mins(1), ..repeat };
        assert_eq!(short.block_time(half, 1), half, "a maximum never shortens the first block");
    }
}

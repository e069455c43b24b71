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

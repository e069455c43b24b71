//! The settings that a replay takes, by the names and with the values of the configuration.

use std::time::Duration;

use filter_core::offence::Kind;
use filter_core::policy::Policy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest span, as in the configuration.
const LONGEST_SPAN: Duration = Duration::from_hours(24 * 365);

/// One setting of section `[ips]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// `client_error_block_threshold`
    Threshold,
    /// `client_error_monitor_period`
    MonitorPeriod,
    /// `client_error_block_time`
    BlockTime,
    /// `repeat_factor`
    RepeatFactor,
    /// `credit_for_success`
    CreditForSuccess,
    /// `maximum_credit`
    MaximumCredit,
    /// `widen_after`
    WidenAfter,
    /// What an event of this kind adds.
    Multiplier(Kind),
}

/// A setting that cannot be replayed, or a value that it cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotASetting {
    /// There is none of this name.
    #[error(
        "a replay does not know `{0}`; it takes client_error_block_threshold, client_error_monitor_period, \
         client_error_block_time, repeat_factor, credit_for_success, maximum_credit, widen_after and the multipliers"
    )]
    Unknown(String),
    /// It is no such value.
    #[error("{setting}: {message}")]
    Value {
        /// The setting.
        setting: String,
        /// What would be right.
        message: String,
    },
}

/// One setting that is replayed with another value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    /// Its name in the configuration.
    pub setting: String,
    /// The value in force.
    pub configured: String,
    /// The value that is tried.
    pub replayed: String,
}

impl Setting {
    /// All of them, in the order of the configuration.
    pub fn all() -> impl Iterator<Item = Self> {
        let first = [
            Self::Threshold,
            Self::MonitorPeriod,
            Self::BlockTime,
            Self::RepeatFactor,
            Self::CreditForSuccess,
            Self::MaximumCredit,
            Self::WidenAfter,
        ];
        first.into_iter().chain(Kind::ALL.into_iter().map(Self::Multiplier))
    }

    /// The setting of this name.
    pub fn named(name: &str) -> Result<Self, NotASetting> {
        let unknown = || NotASetting::Unknown(name.chars().take(80).collect());
        Self::all().find(|setting| setting.name() == name).ok_or_else(unknown)
    }

    /// Its name in the configuration.
    pub fn name(self) -> String {
        match self {
            Self::Threshold => "client_error_block_threshold".to_owned(),
            Self::MonitorPeriod => "client_error_monitor_period".to_owned(),
            Self::BlockTime => "client_error_block_time".to_owned(),
            Self::RepeatFactor => "repeat_factor".to_owned(),
            Self::CreditForSuccess => "credit_for_success".to_owned(),
            Self::MaximumCredit => "maximum_credit".to_owned(),
            Self::WidenAfter => "widen_after".to_owned(),
            Self::Multiplier(kind) => format!("{}_multiplier", kind.name().replace('-', "_")),
        }
    }

    /// Gives a policy another value, as the configuration would write it without quotes.
    pub fn apply(self, value: &str, policy: &mut Policy) -> Result<(), NotASetting> {
        let wrong = |message: String| NotASetting::Value { setting: self.name(), message };
        let number = |least: u32| match value.trim().parse::<u32>() {
            Ok(number) if number >= least => Ok(number),
            _ => {
                let shown: String = value.chars().take(40).collect();
                Err(wrong(format!("`{shown}` is not a number from {least} to {}", u32::MAX)))
            }
        };
        let span = || match humantime::parse_duration(value.trim()) {
            Ok(span) if (Duration::from_secs(1)..=LONGEST_SPAN).contains(&span) => Ok(span),
            Ok(_) => Err(wrong("it is between 1s and 365d".to_owned())),
            Err(_) => Err(wrong("it is a time such as 30m, 90s or 1h 30m".to_owned())),
        };
        match self {
            Self::Threshold => policy.block_threshold = number(1)?,
            Self::MonitorPeriod => policy.monitor_period = span()?,
            Self::BlockTime => policy.block_time = span()?,
            Self::RepeatFactor => policy.repeat.factor = number(1)?,
            Self::CreditForSuccess => policy.credit.per_success = number(0)?,
            Self::MaximumCredit => policy.credit.maximum = number(0)?,
            Self::WidenAfter => match number(0)? {
                1 => {
                    return Err(wrong("it is 2 or more, or 0: one address would block a network".to_owned()));
                }
                scopes => policy.widen_after = scopes,
            },
            Self::Multiplier(kind) => policy.multipliers.set(kind, number(0)?),
        }
        Ok(())
    }

    /// The value that a policy has, as the configuration would write it without quotes.
    pub fn value(self, policy: &Policy) -> String {
        let span = |span: Duration| humantime::format_duration(span).to_string();
        match self {
            Self::Threshold => policy.block_threshold.to_string(),
            Self::MonitorPeriod => span(policy.monitor_period),
            Self::BlockTime => span(policy.block_time),
            Self::RepeatFactor => policy.repeat.factor.to_string(),
            Self::CreditForSuccess => policy.credit.per_success.to_string(),
            Self::MaximumCredit => policy.credit.maximum.to_string(),
            Self::WidenAfter => policy.widen_after.to_string(),
            Self::Multiplier(kind) => policy.multipliers.get(kind).to_string(),
        }
    }
}

/// What differs between the numbers in force and those that are tried.
pub fn changes(configured: &Policy, tried: &Policy) -> Vec<Changed> {
    let all = Setting::all().map(|setting| Changed {
        setting: setting.name(),
        configured: setting.value(configured),
        replayed: setting.value(tried),
    });
    all.filter(|changed| changed.configured != changed.replayed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_takes_the_value_that_it_has_and_names_one_that_it_cannot_have() {
        let standard = Policy::default();
        for setting in Setting::all() {
            assert_eq!(Setting::named(&setting.name()), Ok(setting));
            let mut policy = standard.clone();
            setting.apply(&setting.value(&standard), &mut policy).unwrap();
            assert_eq!(policy, standard, "{}", setting.name());
            let said = setting.apply("lots", &mut policy).unwrap_err().to_string();
            assert!(said.starts_with(&setting.name()), "{said}");
        }
        assert!(Setting::named("mode").unwrap_err().to_string().contains("`mode`"));
    }

    #[test]
    fn changes_are_in_the_words_of_the_configuration() {
        let (standard, mut tried) = (Policy::default(), Policy::default());
        for (name, value) in [("bad_local_rcpt_multiplier", "100"), ("client_error_monitor_period", "90m")] {
            Setting::named(name).unwrap().apply(value, &mut tried).unwrap();
        }
        let changes = changes(&standard, &tried);
        let words: Vec<_> = changes
            .iter()
            .map(|Changed { setting, configured, replayed }| format!("{setting} {configured} {replayed}"))
            .collect();
        assert_eq!(words, ["client_error_monitor_period 1h 1h 30m", "bad_local_rcpt_multiplier 50 100"]);
        for (setting, value) in
            [(Setting::Threshold, "0"), (Setting::WidenAfter, "1"), (Setting::BlockTime, "0s")]
        {
            setting.apply(value, &mut tried).unwrap_err();
        }
    }
}

//! Scores and blocks: section `[ips]`, in the words of the help page.

use std::ops::Range;
use std::time::Duration;

use filter_core::client::ScopeWidth;
use filter_core::offence::Kind;
use filter_core::policy::{Credit, Evaluate, Multipliers, Policy, Repeat};
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::value::{at_least, span};

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ips {
    client_error_monitor_period: Option<Spanned<String>>,
    client_error_block_threshold: Option<Spanned<u32>>,
    client_error_block_time: Option<Spanned<String>>,
    evaluate: EvaluateWord,
    repeat_factor: Option<Spanned<u32>>,
    repeat_memory: Option<Spanned<String>>,
    maximum_block_time: Option<Spanned<String>>,
    credit_for_success: Option<u32>,
    maximum_credit: Option<Spanned<u32>>,
    widen_after: Option<Spanned<u32>>,
    scope_width_v4: Option<Spanned<u8>>,
    scope_width_v6: Option<Spanned<u8>>,
    bad_authentication_multiplier: Option<u32>,
    relay_denied_multiplier: Option<u32>,
    relay_allowed_multiplier: Option<u32>,
    bad_local_rcpt_multiplier: Option<u32>,
    good_local_rcpt_multiplier: Option<u32>,
    spam_multiplier: Option<u32>,
    virus_multiplier: Option<u32>,
    rule_matched_multiplier: Option<u32>,
    dnsbl_multiplier: Option<u32>,
    syntax_error_multiplier: Option<u32>,
    too_big_multiplier: Option<u32>,
    blocked_attachment_multiplier: Option<u32>,
    partial_message_multiplier: Option<u32>,
    spf_multiplier: Option<u32>,
    early_talker_multiplier: Option<u32>,
    unauthorised_pipelining_multiplier: Option<u32>,
    bare_newline_multiplier: Option<u32>,
    plaintext_after_starttls_multiplier: Option<u32>,
    non_smtp_multiplier: Option<u32>,
    session_overflow_multiplier: Option<u32>,
    timeout_multiplier: Option<u32>,
    trap_recipient_multiplier: Option<u32>,
    tls_failure_multiplier: Option<u32>,
    failed_login_multiplier: Option<u32>,
    unfinished_session_multiplier: Option<u32>,
}

/// Where the times are written; none: they are defaults.
struct Places {
    time: Option<Range<usize>>,
    memory: Option<Range<usize>>,
    maximum: Option<Range<usize>>,
}

/// Block times that cannot all be meant.
fn contradictions(
    places: Places,
    (time, memory): (Duration, Duration),
    maximum: Duration,
    factor: u32,
    place: &Place<'_>,
) -> Result<(), ConfigError> {
    let word = humantime::format_duration;
    // Without a factor the maximum has nothing to say; but who writes it down means it.
    if maximum < time && (factor > 1 || places.maximum.is_some()) {
        let message = format!(
            "{} is shorter than client_error_block_time, {}; make it at least that",
            word(maximum),
            word(time)
        );
        return Err(place.value(places.maximum.or(places.time), "maximum_block_time", message));
    }
    if factor > 1 && memory < time {
        let message = format!(
            "a block would be forgotten before it ends, after {}; make it longer than client_error_block_time",
            word(time)
        );
        return Err(place.value(places.memory.or(places.time), "repeat_memory", message));
    }
    Ok(())
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum EvaluateWord {
    #[default]
    AtOnce,
    OnConnect,
}

impl Ips {
    pub(super) fn validate(self, observe: bool, place: &Place<'_>) -> Result<Policy, ConfigError> {
        let standard = Policy::default();
        let second = Duration::from_secs(1);
        let multipliers = self.multipliers();
        let threshold = self.client_error_block_threshold;
        if let Some(zero) = threshold.as_ref().filter(|threshold| *threshold.get_ref() == 0) {
            let message =
                "0 would block everybody; use a high threshold or mode = \"observe\" to block nobody".into();
            return Err(place.value(Some(zero.span()), "client_error_block_threshold", message));
        }
        let widest = self.scope_width_v4.as_ref().or(self.scope_width_v6.as_ref()).map(Spanned::span);
        let (v4, v6) =
            (self.scope_width_v4.map(Spanned::into_inner), self.scope_width_v6.map(Spanned::into_inner));
        let scope_width = ScopeWidth::new(v4.unwrap_or(32), v6.unwrap_or(64)).ok_or_else(|| {
            let message = "prefix lengths go from 8 to 32 for IPv4 and from 32 to 128 for IPv6".into();
            place.value(widest, "scope_width", message)
        })?;
        let span_of = |setting: &Option<Spanned<String>>| setting.as_ref().map(Spanned::span);
        let places = Places {
            time: span_of(&self.client_error_block_time),
            memory: span_of(&self.repeat_memory),
            maximum: span_of(&self.maximum_block_time),
        };
        let period = span("client_error_monitor_period", self.client_error_monitor_period, second, place)?;
        let time = span("client_error_block_time", self.client_error_block_time, second, place)?;
        let memory = span("repeat_memory", self.repeat_memory, second, place)?;
        let maximum = span("maximum_block_time", self.maximum_block_time, second, place)?;
        let factor =
            at_least("repeat_factor", self.repeat_factor, 1, 1, "1 is the same block time each time", place)?;
        let times = (time.unwrap_or(standard.block_time), memory.unwrap_or(standard.repeat.memory));
        contradictions(places, times, maximum.unwrap_or(standard.repeat.maximum), factor, place)?;
        let (credit, most) = (self.credit_for_success, self.maximum_credit);
        if let (Some(credit), Some(most)) = (credit, &most)
            && credit > *most.get_ref()
        {
            let message =
                format!("one success is worth {credit} already (credit_for_success); make it at least that");
            return Err(place.value(Some(most.span()), "maximum_credit", message));
        }
        let one = "one blocked address would block its whole network; 0 switches this off";
        let widen_after = match self.widen_after {
            Some(zero) if *zero.get_ref() == 0 => 0,
            wanted => at_least("widen_after", wanted, 2, 0, one, place)?,
        };
        Ok(Policy {
            monitor_period: period.unwrap_or(standard.monitor_period),
            block_threshold: threshold.map_or(standard.block_threshold, Spanned::into_inner),
            block_time: time.unwrap_or(standard.block_time),
            multipliers,
            scope_width,
            observe,
            evaluate: match self.evaluate {
                EvaluateWord::AtOnce => Evaluate::AtOnce,
                EvaluateWord::OnConnect => Evaluate::OnConnect,
            },
            repeat: Repeat {
                factor,
                memory: memory.unwrap_or(standard.repeat.memory),
                maximum: maximum.unwrap_or(standard.repeat.maximum),
            },
            credit: Credit {
                per_success: credit.unwrap_or(standard.credit.per_success),
                maximum: most.map_or(standard.credit.maximum, Spanned::into_inner),
            },
            widen_after,
            login: standard.login,
        })
    }

    fn multipliers(&self) -> Multipliers {
        let mut multipliers = Multipliers::default();
        for kind in Kind::ALL {
            let configured = match kind {
                Kind::BadAuthentication => self.bad_authentication_multiplier,
                Kind::RelayDenied => self.relay_denied_multiplier,
                Kind::RelayAllowed => self.relay_allowed_multiplier,
                Kind::BadLocalRcpt => self.bad_local_rcpt_multiplier,
                Kind::GoodLocalRcpt => self.good_local_rcpt_multiplier,
                Kind::Spam => self.spam_multiplier,
                Kind::Virus => self.virus_multiplier,
                Kind::RuleMatched => self.rule_matched_multiplier,
                Kind::Dnsbl => self.dnsbl_multiplier,
                Kind::SyntaxError => self.syntax_error_multiplier,
                Kind::TooBig => self.too_big_multiplier,
                Kind::BlockedAttachment => self.blocked_attachment_multiplier,
                Kind::PartialMessage => self.partial_message_multiplier,
                Kind::Spf => self.spf_multiplier,
                Kind::EarlyTalker => self.early_talker_multiplier,
                Kind::UnauthorisedPipelining => self.unauthorised_pipelining_multiplier,
                Kind::BareNewline => self.bare_newline_multiplier,
                Kind::PlaintextAfterStarttls => self.plaintext_after_starttls_multiplier,
                Kind::NonSmtp => self.non_smtp_multiplier,
                Kind::SessionOverflow => self.session_overflow_multiplier,
                Kind::Timeout => self.timeout_multiplier,
                Kind::TrapRecipient => self.trap_recipient_multiplier,
                Kind::TlsFailure => self.tls_failure_multiplier,
                Kind::FailedLogin => self.failed_login_multiplier,
                Kind::UnfinishedSession => self.unfinished_session_multiplier,
            };
            if let Some(multiplier) = configured {
                multipliers.set(kind, multiplier);
            }
        }
        multipliers
    }
}

//! The event log as lines of the program's own log.
//!
//! Offences and drops are at debug level: a client can cause as many as it likes, and must not fill the log with them.

use filter_core::event::{Event, What};
use filter_core::import::Outcome;

use super::List;

/// Writes an event to the log.
pub(super) fn write(event: &Event) {
    let network = event.network;
    match &event.what {
        What::Offence { kind, number, multiplier, score, service, .. } => tracing::debug!(
            %network,
            %service,
            event = number,
            name = kind.name(),
            multiplier,
            score,
            spent = event.answered_by.is_some(),
            detail = event.what.circumstances(),
            "offence"
        ),
        What::Succeeded { how } => tracing::debug!(%network, how = how.name(), "good behaviour"),
        What::Blocked { origin, reason, author, enforced: true, .. } => {
            tracing::info!(%network, origin = origin.name(), reason, by = author, "blocked");
        }
        What::Blocked { reason, enforced: false, .. } => {
            tracing::info!(%network, reason, "would be blocked (observe mode)");
        }
        What::Unblocked { by: Some(by), .. } => tracing::info!(%network, by, "unblocked by hand"),
        What::Unblocked { by: None, .. } => tracing::info!(%network, "no longer blocked"),
        What::Spared { score, by, .. } => {
            tracing::info!(%network, score, never_block = %by, "reached the threshold and is spared");
        }
        What::Exempted { comment, author, .. } => {
            tracing::info!(%network, by = author, comment, "never blocked");
        }
        What::Unexempted { by: Some(by) } => {
            tracing::info!(%network, by, "taken off the never-block list by hand");
        }
        What::Unexempted { by: None } => tracing::info!(%network, "no longer never-blocked"),
        What::NoRoom => tracing::error!(%network, "not blocked: the block list is full"),
        What::Dropped { packets, port, by } => tracing::debug!(%network, packets, port, %by, "dropped"),
    }
}

/// Writes one of many events that came together; [`imported`] tells of all of them.
pub(super) fn whisper(event: &Event) {
    tracing::debug!(network = %event.network, event = event.what.name(), "imported");
}

/// Tells of an import in one line: a list of a million entries must not push everything else out of the log.
pub(super) fn imported(list: List, outcomes: &[Outcome], author: &str) {
    let is_rejected = |outcome: &&Outcome| matches!(outcome, Outcome::Rejected { .. });
    let unchanged = outcomes.iter().filter(|outcome| **outcome == Outcome::Unchanged).count();
    let rejected = outcomes.iter().filter(is_rejected).count();
    let changed = outcomes.len() - unchanged - rejected;
    let name = match list {
        List::Blocks => "block list",
        List::Never => "never-block list",
    };
    tracing::info!(list = name, by = author, changed, unchanged, rejected, "entries imported");
}

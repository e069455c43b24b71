//! What the engine reports, as lines of the log.
//!
//! Offences are at debug level: a client can commit as many as it likes, and must not fill the log with them.

use filter_core::engine::Report;

/// Writes a report to the log.
pub(super) fn write(report: &Report) {
    match report {
        Report::Offended { client, offence, multiplier, score, spent } => tracing::debug!(
            %client,
            event = offence.kind.number(),
            name = offence.kind.name(),
            multiplier,
            score,
            spent,
            detail = offence.detail,
            "offence"
        ),
        Report::Blocked { block, enforced: true } => {
            tracing::info!(network = %block.network, origin = block.origin.name(), reason = block.reason, "blocked");
        }
        Report::Blocked { block, enforced: false } => {
            tracing::info!(network = %block.network, reason = block.reason, "would be blocked (observe mode)");
        }
        Report::Spared { client, score, by } => {
            tracing::info!(%client, score, never_block = %by, "reached the threshold and is spared");
        }
        Report::Unblocked { network, by: Some(by) } => tracing::info!(%network, by, "unblocked by hand"),
        Report::Unblocked { network, by: None } => tracing::info!(%network, "no longer blocked"),
        Report::Exempted(never) => {
            tracing::info!(network = %never.network, by = never.author, comment = never.comment, "never blocked");
        }
        Report::Unexempted { network, by: Some(by) } => {
            tracing::info!(%network, by, "taken off the never-block list by hand");
        }
        Report::Unexempted { network, by: None } => tracing::info!(%network, "no longer never-blocked"),
        Report::NoRoom(network) => tracing::error!(%network, "not blocked: the block list is full"),
    }
}

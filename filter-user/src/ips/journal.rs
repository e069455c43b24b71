//! What the engine reports, as lines of the log.
//!
//! Offences are at debug level: a client can commit as many as it likes, and must not fill the log with them.

use filter_core::engine::Report;

/// Writes a report to the log.
pub(super) fn write(report: &Report) {
    match report {
        Report::Offended { client, offence, multiplier, score } => tracing::debug!(
            %client,
            event = offence.kind.number(),
            name = offence.kind.name(),
            multiplier,
            score,
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
        Report::Unblocked(network) => tracing::info!(%network, "no longer blocked"),
        Report::NoRoom(network) => tracing::error!(%network, "not blocked: the block list is full"),
    }
}

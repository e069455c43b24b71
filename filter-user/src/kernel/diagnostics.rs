//! The kernel program's own log lines, in debug builds: one per dropped packet, at debug level.
//!
//! Release objects have none; there the counters and the entries say what was dropped.

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Hands the program's log lines on for as long as the runtime lives.
pub(super) fn follow(program: &mut Ebpf) {
    let logger = EbpfLogger::init(program).map_err(|error| error.to_string()).and_then(|logger| {
        // SAFETY: the logger owns its ring buffer's descriptor and keeps it open and the same until it is dropped,
        // which the `AsyncFd` that owns the logger does after deregistering it.
        unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }
            .map_err(|error| error.to_string())
    });
    match logger {
        Ok(mut logger) => drop(tokio::spawn(async move {
            while let Ok(mut guard) = logger.readable_mut().await {
                guard.get_inner_mut().flush();
                guard.clear_ready();
            }
        })),
        Err(error) => tracing::debug!(error, "the kernel program's diagnostics cannot be read"),
    }
}

//! The log: one line per event, to standard error, where systemd and a terminal both find it.

use tracing_subscriber::EnvFilter;

/// Starts logging. `RUST_LOG` chooses what is shown, `info` by default; `RUST_LOG=debug` shows each offence.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // Fails only if a test has started it before.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .try_init();
}

//! What the agent tells of itself: the log, one line per event, to standard error, where systemd and a terminal both find it;
//! and the numbers behind `/metrics` that are nobody's state ([`histogram`], [`process`]), with the way to write them down
//! ([`exposition`]).

pub mod exposition;
pub mod histogram;
pub mod process;

use std::io::stderr;

use tracing_subscriber::EnvFilter;

use crate::cli::colour::is_wanted;
use crate::config::LogFormat;

/// Starts logging. `RUST_LOG` chooses what is shown, `info` by default; `RUST_LOG=debug` shows each offence.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
    // Fails only if somebody has started it before, and then it is there.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(is_wanted(&stderr())).try_init(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
        }
    };
}

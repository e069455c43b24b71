//! What systemd hears of the agent: ready, reloading, stopping, a line for `systemctl status`, and that it is alive.
//!
//! The watchdog is fed only when the engine has answered. An agent whose engine hangs admits nobody, and is better started
//! again: the filter in the kernel stays meanwhile. Without systemd nothing of this happens.

use std::sync::Arc;
use std::time::Duration;

use filter_core::admin::Gauge;
use sd_notify::NotifyState;

use crate::edge::Service;
use crate::ips::{Counts, Inbox, Request};

/// How often the line is brought up to date, unless the watchdog is to be fed more often.
const PAUSE: Duration = Duration::from_secs(10);

/// Clients can come from now on, or again.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read again; [`ready`] ends it. With the time, as systemd 253 and later want it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Open sessions are hearing that it ends.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping; the kernel filter stays")]);
}

/// Feeds the watchdog and keeps the line true, until the task is dropped.
pub(super) async fn watch(inbox: Inbox, services: Arc<[Arc<Service>]>) {
    let watchdog = sd_notify::watchdog_enabled();
    // Twice as often as it must be (sd_watchdog_enabled(3)).
    let pause = watchdog.map_or(PAUSE, |limit| limit / 2).min(PAUSE);
    loop {
        if let Some(counts) = pulse(&inbox, pause).await {
            let line = line(&counts, &services);
            let mut states = vec![NotifyState::Status(&line)];
            states.extend(watchdog.map(|_| NotifyState::Watchdog));
            tell(&states);
        }
        tokio::time::sleep(pause).await;
    }
}

/// The engine's answer, if there is one in time.
async fn pulse(inbox: &Inbox, patience: Duration) -> Option<Counts> {
    tokio::time::timeout(patience, inbox.ask(Request::Count)).await.ok().flatten()
}

fn line(counts: &Counts, services: &[Arc<Service>]) -> String {
    let Gauge { used, limit } =
        counts.books.first().map_or(Gauge { used: 0, limit: 0 }, |book| book.incoming);
    let down = services.iter().flat_map(|service| service.backend().view());
    let down = down.filter(|server| server.up == Some(false)).map(|server| server.address);
    let down: Vec<_> = down.map(|address| format!(", {address} does not answer")).collect();
    let open = counts.open;
    format!(
        "{open} sessions ({used} of {limit} incoming), {} networks blocked{}",
        counts.blocks,
        down.concat()
    )
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd does not listen");
    }
}

#[cfg(test)]
mod tests {
    use filter_core::engine::Engine;
    use filter_core::policy::Policy;
    use filter_core::smtp::voice::{Templates, Voice};

    use super::*;
    use crate::ips::Ips;
    use crate::store::Store;

    #[tokio::test]
    async fn an_engine_that_does_not_answer_has_no_pulse() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(directory.path()).unwrap();
        let voice = Voice::new("mx.example", &Templates::default());
        let limits = crate::config::Config::parse("", None).unwrap().limits;
        let (ips, inbox) = Ips::new(Engine::new(Policy::default()), store, vec![limits], (&voice).into());
        assert!(pulse(&inbox, Duration::from_millis(20)).await.is_none(), "nobody runs it yet");
        let task = tokio::spawn(ips.run());
        let counts = pulse(&inbox, Duration::from_mins(1)).await.unwrap();
        assert_eq!(line(&counts, &[]), "0 sessions (0 of 100 incoming), 0 networks blocked");
        task.abort();
    }
}

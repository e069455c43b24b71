//! Wakes a session at its next deadline.
//!
//! To set a timer for each wait would cost more than a command: each one that is the earliest of its thread interrupts that. So a
//! session has one timer, which rings a little while after its beginning, when most are over. Most deadlines only move on, and are
//! looked at again when it has rung.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use filter_core::time::Instant;
use tokio::time::{Sleep, sleep};

use crate::clock;

/// When deadlines are looked at for the first time.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// The timer of one session.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    set: Option<Setting>,
    /// Whether it has rung.
    looked: bool,
}

/// What the timer has been set to.
#[derive(Debug)]
struct Setting {
    at: Instant,
    sleep: Pin<Box<Sleep>>,
    /// Whom it wakes.
    waker: Option<Waker>,
}

impl Alarm {
    /// Ready when this deadline has come.
    pub(super) fn poll(&mut self, deadline: Instant, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let setting = match &mut self.set {
                Some(setting) if setting.at <= deadline => setting,
                set => {
                    let at = if self.looked { deadline } else { deadline.min(now.after(FIRST_LOOK)) };
                    set.insert(Setting { at, sleep: Box::pin(sleep(until(at))), waker: None })
                }
            };
            // The timer is asked only when it can have rung.
            if now < setting.at && setting.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            if setting.sleep.as_mut().poll(cx).is_pending() {
                setting.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let at = setting.at;
            (self.set, self.looked) = (None, true);
            if at == deadline {
                return Poll::Ready(());
            }
        }
    }

    /// Waits for something, but not longer than this; none: it took longer.
    pub(super) async fn within<T>(&mut self, span: Duration, job: impl Future<Output = T>) -> Option<T> {
        let mut job = pin!(job);
        let mut deadline = None;
        poll_fn(|cx| match job.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => {
                let now = clock::instant();
                let deadline = *deadline.get_or_insert_with(|| now.after(span));
                self.poll(deadline, now, cx).map(|()| None)
            }
        })
        .await
    }
}

/// A little more than the time that is left, so that it is over then.
pub(super) fn until(deadline: Instant) -> Duration {
    deadline.since(clock::instant()).saturating_add(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn an_alarm_follows_its_deadline_in_both_directions() {
        let mut alarm = Alarm::default();
        for (first, then) in [
            (Duration::from_hours(1), Duration::from_millis(20)),
            (Duration::ZERO, Duration::from_millis(50)),
        ] {
            let now = clock::instant();
            let (first, then) = (now.after(first), now.after(then));
            let mut begun = false;
            let rings = poll_fn(|cx| {
                if !std::mem::replace(&mut begun, true) {
                    let _ = alarm.poll(first, now, cx);
                }
                alarm.poll(then, clock::instant(), cx)
            });
            tokio::time::timeout(Duration::from_mins(1), rings)
                .await
                .expect("it rings before an hour has passed");
            assert!(clock::instant() >= then, "and not before its time");
        }
    }

    #[tokio::test]
    async fn one_alarm_ends_one_wait_after_the_other() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.within(Duration::from_hours(1), async { 7 }).await, Some(7));
        for span in [Duration::from_millis(1200), Duration::from_millis(20)] {
            let start = clock::instant();
            assert_eq!(alarm.within(span, pending::<()>()).await, None);
            assert!(clock::instant() >= start.after(span), "and not before its time");
        }
    }
}

//! What the task need not hear of before its next decision: places that have come back, and what clients did well.
//!
//! Both come with each message and each session, and to wake the task each time would cost as much as to pass a small message on. So they
//! are left where the task finds them: it takes all of them before it answers anything, and is woken only when there are many. A
//! question comes every few seconds even if no client does (the agent's heartbeat).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use filter_core::client::ClientAddr;
use filter_core::event::Success;
use tokio::sync::mpsc;

use super::Message;
use super::sessions::SessionId;

/// Notices after which the task is woken.
const MANY: usize = 256;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Notice {
    /// The place of a session has come back.
    Departure(SessionId),
    /// A client did what honest clients do.
    Success(ClientAddr, Success),
}

/// Where they are left; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Notices {
    sender: mpsc::UnboundedSender<Notice>,
    waiting: Arc<AtomicUsize>,
    task: mpsc::UnboundedSender<Message>,
}

impl Notices {
    /// A board beside the way to the task, and where the task reads it.
    pub(super) fn new(task: mpsc::UnboundedSender<Message>) -> (Self, Read) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        (Self { sender, waiting: Arc::clone(&waiting), task }, Read { receiver, waiting })
    }

    /// Leaves one; never waits.
    pub(super) fn leave(&self, notice: Notice) {
        // Each fails only when the task has gone, and what it would have counted with it.
        let _ = self.sender.send(notice);
        if self.waiting.fetch_add(1, Ordering::Relaxed) + 1 == MANY {
            let _ = self.task.send(Message::Notices);
        }
    }

    /// The same, for somebody who does not keep the task alive.
    pub(super) fn downgrade(&self) -> WeakNotices {
        WeakNotices {
            sender: self.sender.clone(),
            waiting: Arc::clone(&self.waiting),
            task: self.task.downgrade(),
        }
    }
}

/// [`Notices`] that do not keep the task alive.
#[derive(Debug)]
pub(super) struct WeakNotices {
    sender: mpsc::UnboundedSender<Notice>,
    waiting: Arc<AtomicUsize>,
    task: mpsc::WeakUnboundedSender<Message>,
}

impl WeakNotices {
    /// The notices, unless the task is ending.
    pub(super) fn upgrade(&self) -> Option<Notices> {
        let task = self.task.upgrade()?;
        Some(Notices { sender: self.sender.clone(), waiting: Arc::clone(&self.waiting), task })
    }
}

/// The task's side.
#[derive(Debug)]
pub(super) struct Read {
    receiver: mpsc::UnboundedReceiver<Notice>,
    waiting: Arc<AtomicUsize>,
}

impl Read {
    /// The oldest one, if there is any.
    pub(super) fn next(&mut self) -> Option<Notice> {
        let notice = self.receiver.try_recv().ok()?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(notice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_is_woken_once_for_many_and_not_for_few() {
        let (task, mut messages) = mpsc::unbounded_channel();
        let (notices, mut read) = Notices::new(task);
        for round in 0..3 {
            for number in 0..MANY + 10 {
                assert_eq!(messages.is_empty(), number < MANY, "{round} {number}");
                notices.leave(Notice::Departure(SessionId(number as u64)));
            }
            assert!(matches!(messages.try_recv(), Ok(Message::Notices)));
            let taken: Vec<_> = std::iter::from_fn(|| read.next()).collect();
            assert_eq!(taken.len(), MANY + 10);
            assert!(matches!(taken[3], Notice::Departure(SessionId(3))));
            assert!(messages.try_recv().is_err());
        }
    }
}

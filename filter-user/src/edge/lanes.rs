//! The threads that sessions run on: one for each processor, with a reactor of its own.
//!
//! A session stays where it began, with both of its sockets. So what comes for it wakes the thread that will read it and no other,
//! and nothing of it moves from one processor's cache to another's. A thread that many sessions share cannot help another one;
//! sessions are short and many, and each begins where the fewest are.
//!
//! Where all processors are busy, a lane waits for its turn: a thread that is woken by each command and pushes aside whoever is at
//! work, such as the mail server on the same machine, costs two switches for each, and finds one command where it would have found
//! several a moment later.

use std::io;
use std::thread::JoinHandle;

use nix::libc;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The threads; sessions that are still open when this is dropped end with it.
#[derive(Debug)]
pub struct Lanes(Vec<Lane>);

#[derive(Debug)]
struct Lane {
    handle: Handle,
    /// Dropping it ends the thread.
    open: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Lanes {
    /// Starts as many as the process may use processors.
    pub fn start() -> io::Result<Self> {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        (0..count).map(Lane::start).collect::<Result<_, _>>().map(Self)
    }

    /// The one that the listeners and the engine are on, too: to let a client in through another thread costs as much as a command.
    pub fn first(&self) -> Handle {
        self.0.first().map_or_else(Handle::current, |lane| lane.handle.clone())
    }

    /// The ways onto them.
    pub(super) fn entries(&self) -> Entries {
        Entries(self.0.iter().map(|lane| lane.handle.clone()).collect())
    }
}

impl Lane {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (open, closed) = oneshot::channel();
        let run = move || {
            be_patient();
            drop(runtime.block_on(closed));
        };
        let thread = std::thread::Builder::new().name(format!("sessions-{number}")).spawn(run)?;
        Ok(Self { handle, open: Some(open), thread: Some(thread) })
    }
}

/// Keeps this thread from pushing another off its processor when it wakes (`SCHED_BATCH`, Linux 2.6.16). Its share is the same.
fn be_patient() {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 is the calling thread, and the parameter outlives the call.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameter) } != 0 {
        tracing::debug!(error = %io::Error::last_os_error(), "a lane is scheduled as any other thread");
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|lane| drop(lane.open.take()));
        for thread in self.0.iter_mut().filter_map(|lane| lane.thread.take()) {
            // What panics is a task, never the thread.
            let _ = thread.join();
        }
    }
}

/// The ways onto the lanes.
#[derive(Debug)]
pub(super) struct Entries(Vec<Handle>);

impl Entries {
    /// Runs something on the lane with the fewest tasks; after the end of the lanes, nowhere.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(lane) = self.0.iter().min_by_key(|lane| lane.metrics().num_alive_tasks()) {
            drop(lane.spawn(task));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_lane_waits_for_its_turn() {
        let lanes = Lanes::start().unwrap();
        let (here, policies) = channel();
        // SAFETY: numbers only; 0 is the calling thread.
        lanes.entries().spawn(async move { here.send(unsafe { libc::sched_getscheduler(0) }).unwrap() });
        assert_eq!(policies.recv(), Ok(libc::SCHED_BATCH));
    }

    #[test]
    fn tasks_are_spread_over_all_lanes_and_end_with_them() {
        struct Told(std::sync::mpsc::Sender<()>);
        impl Drop for Told {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let lanes = Lanes::start().unwrap();
        let (entries, count) = (lanes.entries(), lanes.0.len());
        let (ended, ends) = channel();
        let (here, places) = channel();
        for _ in 0..count * 3 {
            let (told, here) = (Told(ended.clone()), here.clone());
            entries.spawn(async move {
                let _ = here.send(std::thread::current().id());
                std::future::pending::<()>().await;
                drop(told);
            });
        }
        let mut seen: Vec<_> = places.iter().take(count * 3).collect();
        seen.sort_by_key(|id| format!("{id:?}"));
        assert!(seen.chunk_by(|one, other| one == other).all(|lane| lane.len() == 3), "{seen:?}");
        drop(lanes);
        assert_eq!(ends.try_iter().count(), count * 3);
        // There is no thread left to run it.
        entries.spawn(async {});
    }
}

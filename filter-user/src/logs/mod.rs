//! Log files and the journal as a source of reports.
//!
//! What a line says is decided in [`filter_core::logs`]; here are the [`file`](mod@file)s, the [`journal`] and the threads that read
//! them ([`source`]). Nothing here decides, and nothing is kept in memory that the log has.

mod file;
mod journal;
pub(crate) mod lines;
pub mod shipped;
mod source;
mod zone;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use filter_core::admin::LogView;
use filter_core::logs::Book;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::runtime::Handle;
use tokio::sync::watch;

pub use zone::utc;

use crate::config::LogsConfig;
use crate::ips::Inbox;
use source::{Desk, Source};

/// How the journal is called among the sources.
const JOURNAL: &str = "journal";

/// The sources that are followed.
#[derive(Debug, Default)]
pub struct Logs {
    views: Vec<watch::Receiver<LogView>>,
    threads: Vec<JoinHandle<()>>,
    is_stopping: Arc<AtomicBool>,
    journal: Option<watch::Receiver<u32>>,
}

impl Logs {
    /// Follows every source from where an earlier run has stopped. `seconds`: how far back the journal is read the first time.
    pub fn start(
        config: &LogsConfig,
        book: Book,
        stored: &[(String, String)],
        inbox: &Inbox,
        seconds: u64,
    ) -> io::Result<Self> {
        let mut logs = Self::default();
        let desk = Desk {
            book: Arc::new(book),
            inbox: inbox.clone(),
            runtime: Handle::current(),
            is_stopping: Arc::clone(&logs.is_stopping),
        };
        let position =
            |name: &str| stored.iter().find(|(source, _)| source == name).map(|(_, at)| at.clone());
        for file in config.files.clone() {
            let name = file.path.display().to_string();
            let at = position(&name).and_then(|text| serde_json::from_str(&text).ok());
            let source = logs.source(name, &desk);
            logs.thread(move || source.follow(&file, at))?;
        }
        if let Some(journal) = config.journal.clone() {
            let (child, follower) = watch::channel(0);
            logs.journal = Some(follower);
            let (source, at) = (logs.source(JOURNAL.to_owned(), &desk), position(JOURNAL));
            logs.thread(move || source.follow_journal(&journal, at, seconds, &child))?;
        }
        Ok(logs)
    }

    fn source(&mut self, name: String, desk: &Desk) -> Source {
        let (view, watcher) = watch::channel(LogView { source: name.clone(), ..LogView::default() });
        self.views.push(watcher);
        Source::new(name, desk.clone(), view)
    }

    fn thread(&mut self, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(std::thread::Builder::new().name("log".to_owned()).spawn(run)?);
        Ok(())
    }

    /// What each source has come to.
    pub fn watchers(&self) -> Arc<[watch::Receiver<LogView>]> {
        self.views.clone().into()
    }

    /// Ends all sources, having noted how far they have been read.
    pub async fn stop(self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        if let Some(child) = self.journal.map(|child| *child.borrow()).and_then(|id| i32::try_from(id).ok())
            && child > 0
        {
            // Its reader waits for it, and takes note of its end; fails if it has ended by itself.
            let _ = kill(Pid::from_raw(child), Signal::SIGTERM);
        }
        let threads = self.threads;
        // A thread that has panicked has told of it.
        let _ = tokio::task::spawn_blocking(|| threads.into_iter().try_for_each(JoinHandle::join)).await;
    }
}

//! The IDS log: a file for other tools, one line for each offence, block and unblock that the event log has.
//!
//! Nobody waits for it. A thread of its own writes, and what a full disk or a missing directory does not take is
//! counted and not written later: a tool that reads the file wants what happens now.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use filter_core::event::{Event, What};
use filter_core::ids::LineFormat;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Events that may wait for the file; more are counted and have no line.
const QUEUE_LIMIT: usize = 8192;

/// Events that are written at once.
const GROUP_LIMIT: usize = 1024;

/// How long a file that cannot be opened is left alone.
const RETRY: Duration = Duration::from_secs(2);

enum Job {
    Write(Event),
    Reopen,
    /// Answer when everything before has been written, or given up.
    Flush(oneshot::Sender<()>),
}

/// The way to the writer; cheap to clone.
#[derive(Debug, Clone)]
pub struct IdsLog {
    jobs: SyncSender<Job>,
    lost: Arc<AtomicU64>,
}

impl IdsLog {
    /// Starts a writer of this file. The file is opened now and kept open; one that cannot be opened is tried again.
    pub fn start(path: &Path, format: LineFormat) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE_LIMIT);
        let lost = Arc::new(AtomicU64::new(0));
        let mut writer = Writer {
            path: path.to_path_buf(),
            format,
            file: None,
            tried: None,
            is_failing: false,
            is_torn: false,
            lost: Arc::clone(&lost),
        };
        let run = move || {
            writer.open();
            writer.run(&queue);
        };
        std::thread::Builder::new().name("ids".to_owned()).spawn(run)?;
        Ok(Self { jobs, lost })
    }

    /// Hands an event to the writer, if it has a line; never waits.
    pub fn write(&self, event: &Event) {
        let has_line =
            matches!(event.what, What::Offence { .. } | What::Blocked { .. } | What::Unblocked { .. });
        if has_line && self.jobs.try_send(Job::Write(event.clone())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Opens the file anew, so that one that has been renamed is let go.
    pub fn reopen(&self) {
        // Lost only behind thousands of lines; whoever rotates sees the old file grow, and asks again.
        let _ = self.jobs.try_send(Job::Reopen);
    }

    /// Reopens the file at each SIGHUP, as programs that rotate logs ask for it.
    pub async fn reopen_on_hangup(self) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        while hangup.recv().await.is_some() {
            self.reopen();
        }
        Ok(())
    }

    /// Waits until everything before has been written, or given up.
    pub async fn flushed(&self) {
        let (done, wait) = oneshot::channel();
        if self.jobs.try_send(Job::Flush(done)).is_ok() {
            let _ = wait.await;
        }
    }

    /// Lines that were not written.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

struct Writer {
    path: PathBuf,
    format: LineFormat,
    file: Option<File>,
    /// When opening it failed last.
    tried: Option<Instant>,
    is_failing: bool,
    /// The last write may have ended in the middle of a line.
    is_torn: bool,
    lost: Arc<AtomicU64>,
}

impl Writer {
    /// Writes until the last sender has gone.
    fn run(&mut self, queue: &Receiver<Job>) {
        while let Ok(first) = queue.recv() {
            let (mut lines, mut count, mut waiting) = (String::new(), 0, Vec::new());
            let more = std::iter::from_fn(|| queue.try_recv().ok());
            for job in std::iter::once(first).chain(more).take(GROUP_LIMIT) {
                match job {
                    Job::Write(event) => {
                        if let Some(line) = self.format.line(&event, &time(&event)) {
                            lines.push_str(&line);
                            count += 1;
                        }
                    }
                    Job::Reopen => {
                        self.write(&std::mem::take(&mut lines), std::mem::take(&mut count));
                        (self.file, self.tried) = (None, None);
                        self.open();
                    }
                    Job::Flush(done) => waiting.push(done),
                }
            }
            self.write(&lines, count);
            for done in waiting {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
        }
    }

    fn open(&mut self) {
        if self.file.is_some() || self.tried.is_some_and(|tried| tried.elapsed() < RETRY) {
            return;
        }
        // It says who wrote to whom; the group is that of the tools which read it.
        match OpenOptions::new().append(true).create(true).mode(0o640).open(&self.path) {
            Ok(file) => (self.file, self.tried) = (Some(file), None),
            Err(error) => {
                self.tried = Some(Instant::now());
                self.tell(&error);
            }
        }
    }

    fn write(&mut self, lines: &str, count: u64) {
        if lines.is_empty() {
            return;
        }
        self.open();
        let Some(file) = &mut self.file else {
            self.lost.fetch_add(count, Ordering::Relaxed);
            return;
        };
        // Half a line must not become the beginning of a whole one.
        let begin = if self.is_torn { "\n" } else { "" };
        match file.write_all([begin, lines].concat().as_bytes()) {
            Ok(()) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(file = %self.path.display(), "the IDS log can be written again");
                }
                self.is_torn = false;
            }
            Err(error) => {
                self.is_torn = true;
                self.lost.fetch_add(count, Ordering::Relaxed);
                self.tell(&error);
            }
        }
    }

    /// Once per spell of trouble: whoever causes lines could otherwise fill the log as well.
    fn tell(&mut self, error: &std::io::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            let file = self.path.display();
            tracing::error!(%error, %file, "the IDS log cannot be written; blocking goes on, its lines are lost and counted");
        }
    }
}

/// In UTC, to the millisecond.
fn time(event: &Event) -> String {
    let millis = event.happened().as_millis();
    let time = jiff::Timestamp::from_millisecond(millis);
    time.map_or_else(|_| millis.to_string(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use filter_core::event::EventId;
    use filter_core::ids::DEFAULT_FORMAT;
    use filter_core::time::Timestamp;

    use super::*;

    fn unblocked(by: &str) -> Event {
        Event {
            id: EventId(1),
            time: Timestamp::from_millis(1_800_000_000_000),
            network: "192.0.2.7/32".parse().unwrap(),
            what: What::Unblocked { by: Some(by.to_owned()), forgave: Vec::new() },
            answered_by: None,
        }
    }

    fn line(by: &str) -> String {
        format!("2027-01-15T08:00:00.000Z 192.0.2.7 201 unblocked by {by}\n")
    }

    fn start(path: &Path) -> IdsLog {
        IdsLog::start(path, LineFormat::parse(DEFAULT_FORMAT).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn lines_are_appended_and_a_renamed_file_is_let_go_when_asked() {
        let directory = tempfile::tempdir().unwrap();
        let (path, old) = (directory.path().join("ids.log"), directory.path().join("ids.log.1"));
        fs::write(&path, "before\n").unwrap();
        let log = start(&path);
        log.write(&unblocked("a"));
        log.write(&Event { what: What::NoRoom, ..unblocked("x") });
        log.flushed().await;
        fs::rename(&path, &old).unwrap();
        log.write(&unblocked("b"));
        log.reopen();
        log.write(&unblocked("c"));
        log.flushed().await;
        assert_eq!(fs::read_to_string(&old).unwrap(), ["before\n", &line("a"), &line("b")].concat());
        assert_eq!(fs::read_to_string(&path).unwrap(), line("c"));
        assert_eq!(log.lost(), 0);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_counted_and_the_next_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("missing");
        let log = start(&folder.join("ids.log"));
        log.write(&unblocked("a"));
        log.write(&unblocked("b"));
        log.flushed().await;
        assert_eq!(log.lost(), 2);
        fs::create_dir(&folder).unwrap();
        log.reopen();
        log.write(&unblocked("c"));
        log.flushed().await;
        assert_eq!((log.lost(), fs::read_to_string(folder.join("ids.log")).unwrap()), (2, line("c")));
    }

    #[tokio::test]
    async fn a_full_disk_is_counted() {
        let log = start(Path::new("/dev/full"));
        log.write(&unblocked("a"));
        log.flushed().await;
        assert_eq!(log.lost(), 1);
    }
}

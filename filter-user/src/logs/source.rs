//! From a line of a source to a report: one thread for each source.
//!
//! A source waits until a report has been judged before it reads on. So nothing piles up: what has not been read stays in the log,
//! which is where it is safe. How far it has been read goes into the store in the same transaction as the event that the last
//! line led to; a crash neither repeats nor loses one.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use filter_core::admin::LogView;
use filter_core::client::ClientAddr;
use filter_core::logs::{Book, Found, Line, Reader};
use filter_core::offence::Offence;
use filter_core::report::{Reception, Report, Source as Teller, Told};
use filter_core::service::ServiceName;
use filter_core::time::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::file::{Follower, Position, Step};
use super::journal::{Journal, Read};
use super::lines::Piece;
use super::zone;
use crate::clock;
use crate::config::{JournalConfig, LogFile};
use crate::ips::{Inbox, Mark};

/// Between two looks at a file that has nothing new.
const PAUSE: Duration = Duration::from_millis(250);
/// Between two attempts at a source that cannot be read.
const RETRY: Duration = Duration::from_secs(2);
/// Between two notes of how far a source has been read, when there is nothing to report.
const MARK_EVERY: Duration = Duration::from_secs(1);

/// What every source needs.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) book: Arc<Book>,
    pub(super) inbox: Inbox,
    pub(super) runtime: Handle,
    pub(super) is_stopping: Arc<AtomicBool>,
}

/// The one who reads a source.
pub(super) struct Source {
    name: String,
    desk: Desk,
    reader: Reader,
    view: watch::Sender<LogView>,
    marked: Instant,
    /// The position that was noted last.
    noted: String,
}

impl Source {
    pub(super) fn new(name: String, desk: Desk, view: watch::Sender<LogView>) -> Self {
        let reader = Reader::new(Arc::clone(&desk.book));
        Self { name, desk, reader, view, marked: Instant::now(), noted: String::new() }
    }

    /// Follows a file until the agent stops.
    pub(super) fn follow(mut self, file: &LogFile, stored: Option<Position>) {
        let mut follower = Follower::new(&file.path, stored);
        while !self.is_stopping() {
            let step = follower.step(|piece, position| {
                let line = match piece {
                    Piece::Line(bytes) => parsed(bytes, file.program.as_deref()),
                    Piece::TooLong => return self.count(|view| view.unreadable += 1),
                };
                self.count(|view| view.lines += 1);
                if let Some(line) = line {
                    self.read(&line, None, || serde_json::to_string(position).unwrap_or_default());
                }
            });
            let (behind, cuts) = (follower.behind(), follower.cuts);
            let position =
                follower.position().map(|position| serde_json::to_string(position).unwrap_or_default());
            match step {
                Ok(step) => {
                    let state = if position.is_some() { "follows" } else { "not there yet" };
                    self.tell(state, None, behind, cuts);
                    self.note(position, step == Step::Idle);
                    if step == Step::Idle {
                        std::thread::sleep(PAUSE);
                    }
                }
                Err(error) => {
                    self.fail(&file.path, &error);
                    std::thread::sleep(RETRY);
                }
            }
        }
        let position =
            follower.position().map(|position| serde_json::to_string(position).unwrap_or_default());
        self.note(position, true);
    }

    /// Follows the journal until the agent stops.
    pub(super) fn follow_journal(
        mut self,
        config: &JournalConfig,
        mut cursor: Option<String>,
        seconds: u64,
        child: &watch::Sender<u32>,
    ) {
        while !self.is_stopping() {
            let outcome = Journal::follow(config, cursor.as_deref(), seconds).and_then(|mut journal| {
                // Whoever stops the agent ends the child, which this thread waits for.
                child.send_replace(journal.id());
                self.tell("follows", None, 0, 0);
                loop {
                    match journal.next()? {
                        Read::Entry(entry) => {
                            self.count(|view| view.lines += 1);
                            let line = Line {
                                stamp: None,
                                program: entry.program.as_bytes(),
                                process: entry.process.as_bytes(),
                                message: &entry.message,
                            };
                            let cursor_text = entry.cursor.clone();
                            self.read(&line, entry.time.map(Timestamp::from_millis), || cursor_text);
                            self.note(Some(entry.cursor.clone()), false);
                            cursor = Some(entry.cursor);
                        }
                        Read::Unreadable => self.count(|view| view.unreadable += 1),
                        Read::Ended => return Err(io::Error::other("journalctl has ended")),
                    }
                    if self.is_stopping() {
                        return Ok(());
                    }
                }
            });
            if let Err(error) = outcome
                && !self.is_stopping()
            {
                self.fail(Path::new("journal"), &error);
                std::thread::sleep(RETRY);
            }
        }
        self.note(cursor, true);
    }

    fn is_stopping(&self) -> bool {
        self.desk.is_stopping.load(Ordering::Relaxed)
    }

    /// Reads one line, and waits until what it says has been judged.
    fn read(&mut self, line: &Line<'_>, time: Option<Timestamp>, position: impl FnOnce() -> String) {
        let Some(found) = self.reader.read(line) else { return };
        let now = clock::now().wall;
        let stamp = found.stamp.or(line.stamp);
        let at = time.or_else(|| stamp.map(|stamp| stamp.resolve(now, zone::utc)));
        self.count(|view| view.matches += 1);
        let mark = Mark { source: self.name.clone(), position: position() };
        let reception = loop {
            let told = self.desk.inbox.tell_marked(report(&found, at), mark.clone());
            match self.desk.runtime.block_on(told) {
                Some(reception) => break reception,
                None if self.is_stopping() => return,
                // There is too much to judge already; the log can wait.
                None => std::thread::sleep(PAUSE),
            }
        };
        self.noted = mark.position;
        self.count(|view| match reception {
            Reception::Counted => view.counted += 1,
            Reception::Logged => view.logged += 1,
            Reception::Known => view.known += 1,
            Reception::TooOld => view.too_old += 1,
            Reception::NotAClient { .. } => view.refused += 1,
        });
    }

    /// Notes how far the source has been read.
    fn note(&mut self, position: Option<String>, at_once: bool) {
        let Some(position) = position.filter(|position| *position != self.noted) else { return };
        if at_once || self.marked.elapsed() >= MARK_EVERY {
            self.desk.inbox.mark(Mark { source: self.name.clone(), position: position.clone() });
            (self.noted, self.marked) = (position, Instant::now());
        }
    }

    fn count(&self, change: impl FnOnce(&mut LogView)) {
        self.view.send_modify(change);
    }

    fn tell(&self, state: &str, problem: Option<String>, behind: u64, cuts: u64) {
        self.view.send_modify(|view| {
            state.clone_into(&mut view.state);
            (view.problem, view.behind, view.cuts) = (problem, behind, cuts);
        });
    }

    /// Once per spell of trouble.
    fn fail(&self, path: &Path, error: &io::Error) {
        let is_news = self.view.borrow().problem.as_ref().is_none_or(|known| *known != error.to_string());
        if is_news {
            tracing::warn!(%error, source = %path.display(), "a log cannot be read; it is tried again");
        }
        let cuts = self.view.borrow().cuts;
        self.tell("cannot be read", Some(error.to_string()), 0, cuts);
    }
}

/// A line in its parts, if it is one of the kind that the file has.
fn parsed<'a>(bytes: &'a [u8], program: Option<&'a str>) -> Option<Line<'a>> {
    match program {
        Some(program) => Some(Line::of_program(bytes, program.as_bytes())),
        None => Line::of_syslog(bytes),
    }
}

/// What a line says, as what everybody else tells.
fn report(found: &Found, at: Option<Timestamp>) -> Report {
    let service = ServiceName::new(&found.service).unwrap_or(ServiceName::UNKNOWN);
    let offence = Offence::known_by(found.event, found.detail.clone()).at(service);
    Report {
        who: ClientAddr::new(found.address),
        offence: Offence { account: found.account.clone(), ..offence },
        told: Told { count: found.count, at, ..Told::by(Teller::Log) },
    }
}

//! One log file, followed over everything that rotation does to it.
//!
//! It is looked at a few times a second rather than watched: that is one `stat`, works on every file system, and misses nothing,
//! whatever happens between two looks. A file is known by its device, its inode and a hash of its first bytes.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::lines::{Lines, Piece};

/// Bytes that are read at once.
const CHUNK: usize = 256 * 1024;
/// Bytes at its beginning that a file is recognised by.
const HEAD: usize = 256;
/// How much of a file that is seen for the first time is looked at, from its end.
const FIRST_LOOK: u64 = 64 * 1024 * 1024;
/// How long a file that has been renamed must have been quiet before it is let go: who writes to it may not know yet.
const FAREWELL: Duration = Duration::from_secs(2);
/// Files of a folder that are looked at for one that has been renamed.
const SIBLINGS_LIMIT: usize = 10_000;

/// How far a file has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    device: u64,
    inode: u64,
    /// Where the next line begins.
    offset: u64,
    /// Bytes that `head` is about.
    length: u64,
    /// A hash of the first bytes.
    head: u64,
}

/// A file that is being read.
#[derive(Debug)]
struct Open {
    file: File,
    position: Position,
    /// When it last had more to say; counts once it has been renamed.
    quiet_since: Instant,
}

/// A path, and what is read of the files that it names one after the other.
#[derive(Debug)]
pub(super) struct Follower {
    path: PathBuf,
    open: Option<Open>,
    /// Where an earlier run has stopped, until it has been found again.
    stored: Option<Position>,
    /// Nothing has been read of this path, now or earlier.
    is_new: bool,
    lines: Lines,
    buffer: Vec<u8>,
    /// How often the file was cut off while it was read; lines may have gone with it.
    pub(super) cuts: u64,
}

/// What a look at the file has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Something was read; there may be more.
    Read,
    /// Nothing is there at the moment.
    Idle,
}

impl Follower {
    /// Follows a path, from where an earlier run has stopped.
    pub(super) fn new(path: &Path, stored: Option<Position>) -> Self {
        let is_new = stored.is_none();
        Self {
            path: path.to_path_buf(),
            open: None,
            stored,
            is_new,
            lines: Lines::default(),
            buffer: vec![0; CHUNK],
            cuts: 0,
        }
    }

    /// How far it has been read, if at all.
    pub(super) fn position(&self) -> Option<&Position> {
        self.open.as_ref().map(|open| &open.position)
    }

    /// Bytes that have been written and not yet read.
    pub(super) fn behind(&self) -> u64 {
        let open = self.open.as_ref();
        open.map_or(0, |open| {
            open.file.metadata().map_or(0, |data| data.len().saturating_sub(open.position.offset))
        })
    }

    /// Reads what there is, a chunk at most; hands each line on with the position behind it.
    pub(super) fn step(&mut self, mut line: impl FnMut(Piece<'_>, &Position)) -> io::Result<Step> {
        if self.open.is_none() {
            self.open = self.find()?;
        }
        let Some(open) = &mut self.open else { return Ok(Step::Idle) };
        if open.is_another()? {
            self.cuts += 1;
            self.lines.forget();
            (open.position.offset, open.position.length) = (0, 0);
            open.recognise()?;
        }
        let from = open.position.offset + self.lines.pending();
        let count = open.file.read_at(&mut self.buffer, from)?;
        if count > 0 {
            open.quiet_since = Instant::now();
            open.recognise()?;
            let position = &mut open.position;
            self.lines.take(&self.buffer[..count], |piece, bytes| {
                position.offset += bytes;
                line(piece, position);
            });
            return Ok(Step::Read);
        }
        let is_current = match std::fs::metadata(&self.path) {
            Ok(data) => open.is(&data),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if is_current || open.quiet_since.elapsed() < FAREWELL {
            if is_current {
                open.quiet_since = Instant::now();
            }
            return Ok(Step::Idle);
        }
        let position = &mut open.position;
        self.lines.finish(|piece, bytes| {
            position.offset += bytes;
            line(piece, position);
        });
        self.open = None;
        Ok(Step::Read)
    }

    /// The file to be read next, at its place.
    fn find(&mut self) -> io::Result<Option<Open>> {
        let current = match File::open(&self.path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(stored) = self.stored.take() {
            if let Some(file) = &current
                && Open::fits(file, &stored)?
            {
                return Ok(current.map(|file| Open { file, position: stored, quiet_since: Instant::now() }));
            }
            // It was renamed while nobody read it: the rest of it comes first.
            if let Some(file) = self.renamed(&stored) {
                return Ok(Some(Open { file, position: stored, quiet_since: Instant::now() }));
            }
        }
        let Some(file) = current else { return Ok(None) };
        let data = file.metadata()?;
        if !data.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        // Of a long history only the end can still count.
        let start = if std::mem::take(&mut self.is_new) { data.len().saturating_sub(FIRST_LOOK) } else { 0 };
        let mut open = Open {
            file,
            position: Position { device: data.dev(), inode: data.ino(), offset: start, length: 0, head: 0 },
            quiet_since: Instant::now(),
        };
        if start > 0 {
            open.position.offset = start + open.to_line_end(start)?;
        }
        open.recognise()?;
        Ok(Some(open))
    }

    /// The file of a position under another name beside the path.
    fn renamed(&self, stored: &Position) -> Option<File> {
        let folder = self.path.parent()?;
        let entries = std::fs::read_dir(folder).ok()?.flatten().take(SIBLINGS_LIMIT);
        let is_meant =
            |data: &Metadata| data.is_file() && (data.dev(), data.ino()) == (stored.device, stored.inode);
        let mut files = entries.filter(|entry| entry.metadata().is_ok_and(|data| is_meant(&data)));
        let file = File::open(files.next()?.path()).ok()?;
        Open::fits(&file, stored).ok()?.then_some(file)
    }
}

impl Open {
    fn is(&self, data: &Metadata) -> bool {
        (data.dev(), data.ino()) == (self.position.device, self.position.inode)
    }

    /// Whether a file is the one of a position, and has not been cut off before it.
    fn fits(file: &File, position: &Position) -> io::Result<bool> {
        let data = file.metadata()?;
        Ok((data.dev(), data.ino()) == (position.device, position.inode)
            && data.len() >= position.offset
            && head(file, position.length)? == Some(position.head))
    }

    /// Whether it has been cut off, or cut off and written anew, since the last look.
    fn is_another(&self) -> io::Result<bool> {
        let length = self.file.metadata()?.len();
        Ok(length < self.position.offset
            || head(&self.file, self.position.length)? != Some(self.position.head))
    }

    /// Notes the first bytes, as far as they are there.
    fn recognise(&mut self) -> io::Result<()> {
        if self.position.length < HEAD as u64 {
            let length = self.file.metadata()?.len().min(HEAD as u64);
            if let Some(hash) = head(&self.file, length)? {
                (self.position.length, self.position.head) = (length, hash);
            }
        }
        Ok(())
    }

    /// Bytes from a place to the beginning of the next line.
    fn to_line_end(&self, from: u64) -> io::Result<u64> {
        let mut bytes = [0; 8192];
        let count = self.file.read_at(&mut bytes, from)?;
        let end = bytes[..count].iter().position(|byte| *byte == b'\n');
        Ok(end.map_or(count, |end| end + 1) as u64)
    }
}

/// A hash of the first bytes of a file; none if it has fewer.
fn head(file: &File, length: u64) -> io::Result<Option<u64>> {
    let mut bytes = [0; HEAD];
    let wanted = usize::try_from(length).unwrap_or(0).min(bytes.len());
    match file.read_exact_at(&mut bytes[..wanted], 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let digest = Sha256::digest(&bytes[..wanted]);
    Ok(Some(digest.iter().take(8).fold(0, |hash, byte| (hash << 8) | u64::from(*byte))))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;

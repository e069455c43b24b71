//! A file is followed over everything that happens to log files.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use super::*;

struct Log {
    directory: tempfile::TempDir,
    follower: Follower,
}

impl Log {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let follower = Follower::new(&directory.path().join("mail.log"), None);
        Self { directory, follower }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Everything that can be read now; a renamed file is taken for quiet.
    fn read(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        for _ in 0..1024 {
            if let Some(open) = &mut self.follower.open {
                open.quiet_since = open.quiet_since.checked_sub(FAREWELL).unwrap();
            }
            let step = self.follower.step(|piece, _| match piece {
                Piece::Line(line) => found.push(String::from_utf8_lossy(line).into_owned()),
                Piece::TooLong => found.push("too long".to_owned()),
            });
            if step.unwrap() == Step::Idle {
                break;
            }
        }
        found
    }

    /// As an agent does that stops and starts again.
    fn restart(&mut self) {
        let text = self.follower.position().map(|position| serde_json::to_string(position).unwrap());
        let stored = text.map(|text| serde_json::from_str(&text).unwrap());
        self.follower = Follower::new(&self.path("mail.log"), stored);
    }
}

#[test]
fn a_file_that_is_not_yet_there_is_read_from_its_beginning() {
    let mut log = Log::new();
    assert_eq!(log.read(), [""; 0]);
    log.write("mail.log", "a\nb\npart");
    assert_eq!(log.read(), ["a", "b"]);
    log.write("mail.log", "ial\nc\n");
    assert_eq!(log.read(), ["partial", "c"]);
    assert_eq!(log.follower.behind(), 0);
}

#[test]
fn a_rotated_file_is_read_to_its_end_and_then_the_new_one() {
    let mut log = Log::new();
    log.write("mail.log", "a\n");
    assert_eq!(log.read(), ["a"]);
    log.write("mail.log", "b\n");
    fs::rename(log.path("mail.log"), log.path("mail.log.1")).unwrap();
    log.write("mail.log", "d\n");
    log.write("mail.log.1", "c\nlast without end");
    assert_eq!(log.read(), ["b", "c", "last without end", "d"]);
    log.write("mail.log", "e\n");
    assert_eq!(log.read(), ["e"]);
}

#[test]
fn who_still_writes_to_a_renamed_file_is_heard() {
    let mut log = Log::new();
    log.write("mail.log", "a\n");
    assert_eq!(log.read(), ["a"]);
    fs::rename(log.path("mail.log"), log.path("mail.log.1")).unwrap();
    assert_eq!(log.follower.step(|_, _| ()).unwrap(), Step::Idle, "not let go at once");
    log.write("mail.log.1", "b\n");
    assert_eq!(log.read(), ["b"]);
}

#[test]
fn a_file_that_is_cut_off_is_read_from_its_beginning() {
    let mut log = Log::new();
    log.write("mail.log", "first\nsecond\n");
    assert_eq!(log.read(), ["first", "second"]);
    fs::write(log.path("mail.log"), "").unwrap();
    assert_eq!(log.read(), [""; 0]);
    log.write("mail.log", "c\n");
    assert_eq!(log.read(), ["c"]);
    // Copied and cut off, and longer again before anybody has looked.
    fs::write(log.path("mail.log"), "another line\nand one that makes it longer\n").unwrap();
    assert_eq!(log.read(), ["another line", "and one that makes it longer"]);
    assert_eq!(log.follower.cuts, 2);
}

#[test]
fn after_a_restart_nothing_is_read_twice_or_missed() {
    let mut log = Log::new();
    log.write("mail.log", "a\nb\npar");
    assert_eq!(log.read(), ["a", "b"]);
    log.restart();
    assert_eq!(log.read(), [""; 0]);
    log.write("mail.log", "tial\n");
    assert_eq!(log.read(), ["partial"]);
    log.write("mail.log", "c\n");
    log.restart();
    assert_eq!(log.read(), ["c"], "written while nobody read");
    log.write("mail.log", "d\n");
    fs::rename(log.path("mail.log"), log.path("mail.log.1")).unwrap();
    log.write("mail.log", "e\n");
    log.restart();
    assert_eq!(log.read(), ["d", "e"], "rotated while nobody read");
    fs::write(log.path("mail.log"), "x\ny\nz\n").unwrap();
    log.restart();
    assert_eq!(log.read(), ["x", "y", "z"], "cut off while nobody read");
}

#[test]
fn a_file_of_another_name_with_the_same_inode_is_not_taken_for_the_old_one() {
    let mut log = Log::new();
    log.write("mail.log", "a\nb\n");
    log.read();
    let position = log.follower.position().cloned().unwrap();
    fs::write(log.path("mail.log"), "q\nr\ns\n").unwrap();
    let file = File::open(log.path("mail.log")).unwrap();
    assert!(!Open::fits(&file, &position).unwrap());
}

#[test]
fn only_the_end_of_a_long_history_is_read() {
    let mut log = Log::new();
    let file = File::create(log.path("mail.log")).unwrap();
    // A hole costs nothing; behind it a line begins.
    file.set_len(FIRST_LOOK + 1000).unwrap();
    log.write("mail.log", "\nlast\n");
    let lines = log.read();
    assert_eq!(lines.last().map(String::as_str), Some("last"));
    assert_eq!(lines.len(), 2, "{} lines", lines.len());
}

#[test]
fn garbage_is_lines_like_any_other() {
    let mut log = Log::new();
    let byte = |number: u32| number.wrapping_mul(2_654_435_761).to_be_bytes()[0];
    let bytes: Vec<u8> = (0..4096).map(byte).collect();
    fs::write(log.path("mail.log"), &bytes).unwrap();
    let ends = bytes.split(|byte| *byte == b'\n').count() - 1;
    assert_eq!(log.read().len(), ends);
}

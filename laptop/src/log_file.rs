//! What one member said: a file that the member writes to by itself, kept within a bound by the runner.
//!
//! The member has the file open for appending, so that a slow or dead runner never holds it up and its last words are
//! kept. Refuses to be lossless: what is written in the instant between copying and emptying is lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A log is moved aside when it is longer; with the one moved aside a member's logs take at most twice this, and
/// what it says within one look of the runner.
const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// So much of the end is read when a member's last words are shown: a message and the backtrace after it.
const TAIL_BYTES_MAX: u64 = 32 * 1024;
/// And so many lines of that are shown: an error and its causes, not a history.
const TAIL_LINES_MAX: usize = 5;

/// A member's log and, beside it with the ending `.1`, the one before.
#[derive(Clone, Debug)]
pub struct LogFile {
    path: PathBuf,
    bytes_max: u64,
}

impl LogFile {
    /// The log at `path`. Touches no disk.
    pub fn new(path: PathBuf) -> LogFile {
        LogFile { path, bytes_max: LOG_BYTES_MAX }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A handle to append with, and how long the log is now in bytes.
    ///
    /// # Errors
    /// The file cannot be made or opened.
    pub fn open(&self) -> io::Result<(File, u64)> {
        let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    }

    /// Moves the log's content aside if it is too long.
    ///
    /// # Errors
    /// The copy cannot be written; nothing is lost then.
    pub fn bound(&self) -> io::Result<()> {
        match fs::metadata(&self.path) {
            Ok(found) if found.len() > self.bytes_max => {
                fs::copy(&self.path, self.path.with_extension("1"))?;
                OpenOptions::new().write(true).open(&self.path)?.set_len(0)
            }
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The last lines from byte `from` on; none if the log cannot be read.
    pub fn last_words(&self, from: u64) -> Vec<String> {
        self.tail(from).unwrap_or_default()
    }

    fn tail(&self, from: u64) -> io::Result<Vec<String>> {
        let mut file = File::open(&self.path)?;
        let length = file.metadata()?.len();
        // The log was moved aside in between: all of it is newer than `from`.
        let from = if from > length { 0 } else { from };
        let start = from.max(length.saturating_sub(TAIL_BYTES_MAX));
        file.seek(SeekFrom::Start(start))?;
        let mut content = Vec::new();
        file.take(TAIL_BYTES_MAX).read_to_end(&mut content)?;
        let text = String::from_utf8_lossy(&content);
        // A line whose beginning was left out says little.
        let text = if start > from { text.split_once('\n').map_or("", |(_, rest)| rest) } else { &text };
        let lines: Vec<&str> = text.lines().filter(|line| says_something(line)).collect();
        // What was well before the first error does not explain an end.
        let first_error = lines.iter().position(|line| line.contains(" ERROR ")).unwrap_or(0);
        let first = first_error.max(lines.len().saturating_sub(TAIL_LINES_MAX));
        Ok(lines[first..].iter().map(|line| (*line).to_owned()).collect())
    }
}

/// Whether a line is worth showing: a panic's backtrace is in the log for those who want it.
fn says_something(line: &str) -> bool {
    let text = line.trim_start();
    let numbered = text.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with(": ");
    let of_backtrace = text.len() < line.len() && (text.starts_with("at ") || numbered);
    let about_backtrace = text.starts_with("stack backtrace:") || text.starts_with("note: ");
    !text.is_empty() && !of_backtrace && !about_backtrace
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn log(folder: &tempfile::TempDir) -> LogFile {
        LogFile { path: folder.path().join("log"), bytes_max: 100 }
    }

    #[test]
    fn a_long_log_is_moved_aside_under_its_writer() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = log(&folder);
        let (mut file, _) = log.open().expect("writable");
        file.write_all(&[b'a'; 101]).expect("writable");
        log.bound().expect("writable");
        file.write_all(b"new\n").expect("writable");
        assert_eq!(fs::read(log.path()).expect("readable"), b"new\n");
        assert_eq!(fs::read(folder.path().join("log.1")).expect("readable"), [b'a'; 101]);
        log.bound().expect("nothing to do");
        assert_eq!(fs::read(log.path()).expect("readable"), b"new\n");
    }

    #[test]
    fn last_words_are_those_of_this_life() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = log(&folder);
        let (mut file, from) = log.open().expect("writable");
        assert_eq!(from, 0);
        file.write_all(b"an earlier life\n").expect("writable");
        let (_, from) = log.open().expect("writable");
        assert_eq!(log.last_words(from), Vec::<String>::new());
        file.write_all(b"one\n\ntwo\n").expect("writable");
        assert_eq!(log.last_words(from), ["one", "two"]);
        assert_eq!(log.last_words(1_000_000), ["an earlier life", "one", "two"]);
        file.write_all(b"1 ERROR three\nfour\n").expect("writable");
        assert_eq!(log.last_words(from), ["1 ERROR three", "four"]);
    }

    #[test]
    fn last_words_are_not_a_backtrace() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = log(&folder);
        let (mut file, _) = log.open().expect("writable");
        let frame = "  12: tokio::runtime::task\n             at /src/task.rs:7:8\n".repeat(100);
        write!(file, "thread panicked at x.rs:1:2:\nno disk\nstack backtrace:\n{frame}note: run with more\n")
            .expect("writable");
        assert_eq!(log.last_words(0), ["thread panicked at x.rs:1:2:", "no disk"]);
    }

    #[test]
    fn last_words_are_few() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = log(&folder);
        let (mut file, _) = log.open().expect("writable");
        for line in 0..1000 {
            writeln!(file, "line {line} of a long story").expect("writable");
        }
        let words = log.last_words(0);
        assert_eq!(words.len(), TAIL_LINES_MAX);
        assert_eq!(words[TAIL_LINES_MAX - 1], "line 999 of a long story");
    }
}

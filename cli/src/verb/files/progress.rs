//! How far a transfer has come, as a bar on standard error.
//!
//! It refuses to be shown where nobody looks: without a terminal there is none.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use super::bytes;

/// Time between two looks of the bar: what an eye follows.
const PAUSE: Duration = Duration::from_millis(100);

/// Letters of the bar.
const WIDTH: u64 = 30;

/// A bar.
#[derive(Debug)]
pub(super) struct Progress {
    what: String,
    size: Option<u64>,
    done: u64,
    began: Instant,
    drawn: Option<Instant>,
    shown: bool,
}

impl Progress {
    /// A transfer of so many bytes, if that is known.
    pub(super) fn new(what: &str, size: Option<u64>) -> Progress {
        let what =
            what.chars().take(40).map(|letter| if letter.is_control() { '?' } else { letter }).collect();
        Progress { what, size, done: 0, began: Instant::now(), drawn: None, shown: stderr().is_terminal() }
    }

    /// It has come so far.
    pub(super) fn at(&mut self, done: u64) {
        self.done = done;
        if self.shown && self.drawn.is_none_or(|drawn| drawn.elapsed() >= PAUSE) {
            self.drawn = Some(Instant::now());
            let _ = write!(stderr(), "\r{}\x1b[K", self.line());
        }
    }

    /// Leave nothing of the bar.
    pub(super) fn end(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }

    fn line(&self) -> String {
        let rate = (self.done as f64 / self.began.elapsed().as_secs_f64().max(0.001)) as u64;
        let Some(size) = self.size.filter(|size| *size > 0) else {
            return format!("{}  {}  {}/s", self.what, bytes(self.done), bytes(rate));
        };
        let filled = (self.done.min(size) * WIDTH / size) as usize;
        let (full, rest) = ("█".repeat(filled), "░".repeat(WIDTH as usize - filled));
        let percent = self.done.min(size) * 100 / size;
        format!(
            "{}  {full}{rest} {percent:>3} %  {} of {}  {}/s",
            self.what,
            bytes(self.done),
            bytes(size),
            bytes(rate)
        )
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_says_how_far_it_has_come() {
        let mut progress = Progress::new("a\nb", Some(2048));
        progress.shown = false;
        progress.at(1024);
        let line = progress.line();
        assert!(line.starts_with("a?b  ███████████████░") && line.contains("50 %"), "{line}");
        progress.size = None;
        assert!(progress.line().contains("1.0 KiB"), "{}", progress.line());
    }
}

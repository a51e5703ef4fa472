//! How a batch goes: on a terminal a bar with the time left, below the runs that failed; else a line per run.

use std::io::{IsTerminal as _, Stderr};
use std::time::Duration;

use holdfast_lab::batch::Event;

use crate::exit::chain;
use crate::remark;
use crate::runner::terminal::{self, Line, Screen, Tone};

/// Characters of the bar.
const BAR: usize = 30;

/// What is shown on standard error.
pub(super) struct Progress {
    screen: Option<Screen<Stderr>>,
    all: usize,
    done: usize,
    left: Option<Duration>,
}

impl Progress {
    /// Of so many runs, so many are done.
    pub(super) fn new(all: usize, done: usize) -> Progress {
        let stderr = std::io::stderr();
        let colour = terminal::wants_colour(&stderr);
        let screen = stderr.is_terminal().then(|| Screen::new(stderr, colour));
        Progress { screen, all, done, left: None }
    }

    /// Shows what happened.
    pub(super) fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Begin { configuration, run_id } => {
                if self.screen.is_some() {
                    let line = self.bar(&format!("{}, run {run_id}", configuration.name));
                    self.draw(vec![Line::new(line, Tone::Plain)]);
                }
            }
            Event::Done { run, left, .. } => {
                self.done += 1;
                self.left = *left;
                if self.screen.is_none() {
                    let measured = &run.measurement;
                    remark(&format!(
                        "{}/{} {} run {}: back after {:.6} s with {:.2} %{}",
                        self.done,
                        self.all,
                        run.config_name,
                        run.run_id,
                        measured.recovery_time_seconds,
                        measured.data_recovery_rate,
                        left.map(|left| format!("; {} left", in_words(left))).unwrap_or_default()
                    ));
                }
            }
            Event::Failed { configuration, run_id, error } => {
                let text = format!("{} run {run_id} measured nothing: {}", configuration.name, chain(*error));
                // Without a terminal there is nobody to tell how the drawing went.
                match &mut self.screen {
                    Some(screen) => drop(screen.print(&[Line::new(text, Tone::Red)], terminal::size())),
                    None => remark(&text),
                }
            }
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&mut self) {
        self.draw(Vec::new());
    }

    fn draw(&mut self, lines: Vec<Line>) {
        if let Some(screen) = &mut self.screen {
            let _ = screen.draw(lines, terminal::size());
        }
    }

    fn bar(&self, what: &str) -> String {
        let full = BAR * self.done / self.all.max(1);
        let left = self.left.map(|left| format!("  {} left", in_words(left))).unwrap_or_default();
        format!(
            "[{}{}] {}/{}{left}  {what}",
            "#".repeat(full),
            ".".repeat(BAR - full.min(BAR)),
            self.done,
            self.all
        )
    }
}

/// A time to plan by: no digits that nobody can rely on.
fn in_words(left: Duration) -> String {
    match left.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_as_long_as_what_is_done() {
        let mut progress = Progress { screen: None, all: 160, done: 0, left: None };
        let empty = progress.bar("a, run 1");
        assert_eq!(empty, format!("[{}] 0/160  a, run 1", ".".repeat(30)));
        (progress.done, progress.left) = (160, Some(Duration::from_secs(61)));
        assert_eq!(progress.bar("b"), format!("[{}] 160/160  2 min left  b", "#".repeat(30)));
        assert_eq!(in_words(Duration::from_secs(3700)), "1 h 1 min");
    }
}

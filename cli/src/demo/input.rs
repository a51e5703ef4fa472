//! Where the demonstration's commands come from: a person, with a line editor that remembers and completes; or a file or a pipe.
//!
//! Refuses to read ahead of a person: the next line is asked for when the last one is done.

use std::io::{BufRead, IsTerminal};
use std::sync::mpsc as sync;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};
use tokio::sync::mpsc;

use super::MEMBERS;

/// Every command, and whether it takes a member.
pub(super) const COMMANDS: [(&str, bool); 7] = [
    ("status", false),
    ("test", false),
    ("fail", true),
    ("start", true),
    ("wait", false),
    ("help", false),
    ("exit", false),
];

/// Lines that are asked for at a time: one, by one who waits for it.
const ASKED_MAX: usize = 1;

const PROMPT: &str = "chat> ";

/// The commands to come.
pub(super) struct Input {
    /// Somebody types them.
    pub(super) typed: bool,
    ask: sync::SyncSender<()>,
    lines: mpsc::Receiver<String>,
    /// How the terminal was before, so that it is so after, however this ends.
    terminal: Option<rustix::termios::Termios>,
}

impl Input {
    /// Begins to read standard input, on a thread of its own.
    pub(super) fn open() -> Input {
        let typed = std::io::stdin().is_terminal();
        let terminal = rustix::termios::tcgetattr(std::io::stdin()).ok().filter(|_| typed);
        let (ask, asked) = sync::sync_channel(ASKED_MAX);
        let (lines_in, lines) = mpsc::channel(1);
        std::thread::spawn(move || {
            // What goes wrong with a terminal is the end of the input.
            let _ = if typed { edit(&asked, &lines_in) } else { read(&asked, &lines_in) };
        });
        Input { typed, ask, lines, terminal }
    }

    /// The next line; `None` at the end. May be given up once, when nothing more is to be read.
    pub(super) async fn next(&mut self) -> Option<String> {
        self.ask.send(()).ok()?;
        self.lines.recv().await
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if let Some(terminal) = &self.terminal {
            let _ =
                rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, terminal);
        }
    }
}

fn read(asked: &sync::Receiver<()>, lines: &mpsc::Sender<String>) -> Option<()> {
    let mut input = std::io::stdin().lock().lines();
    while asked.recv().is_ok() {
        lines.blocking_send(input.next()?.ok()?).ok()?;
    }
    Some(())
}

fn edit(asked: &sync::Receiver<()>, lines: &mpsc::Sender<String>) -> Option<()> {
    let mut editor: Editor<Commands, DefaultHistory> = Editor::new().ok()?;
    editor.set_helper(Some(Commands));
    while asked.recv().is_ok() {
        match editor.readline(PROMPT) {
            Ok(line) => {
                let _ = editor.add_history_entry(&line);
                lines.blocking_send(line).ok()?;
            }
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Some(()),
            Err(_) => return None,
        }
    }
    Some(())
}

/// Completes commands and members.
struct Commands;

impl Completer for Commands {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(completions(&line[..position]))
    }
}

impl Hinter for Commands {
    type Hint = String;
}
impl Highlighter for Commands {}
impl Validator for Commands {}
impl Helper for Commands {}

/// Where the word begins that is completed, and what it may become.
fn completions(line: &str) -> (usize, Vec<String>) {
    match line.rsplit_once(' ') {
        None => {
            let fits = COMMANDS.iter().filter(|(name, _)| name.starts_with(line));
            (0, fits.map(|(name, member)| format!("{name}{}", if *member { " " } else { "" })).collect())
        }
        Some((verb, word)) if COMMANDS.iter().any(|(name, member)| *member && *name == verb.trim()) => {
            let ids = (1..=MEMBERS).map(|id| id.to_string());
            (line.len() - word.len(), ids.filter(|id| id.starts_with(word)).collect())
        }
        Some(_) => (line.len(), Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_members_are_completed() {
        let check = |line: &str, at, expected: &[&str]| {
            assert_eq!(
                completions(line),
                (at, expected.iter().map(|text| (*text).to_owned()).collect()),
                "{line:?}"
            );
        };
        check("st", 0, &["status", "start "]);
        check("f", 0, &["fail "]);
        check("fail ", 5, &["1", "2", "3", "4", "5"]);
        check("start 3", 6, &["3"]);
        check("test ", 5, &[]);
        check("x", 0, &[]);
    }
}

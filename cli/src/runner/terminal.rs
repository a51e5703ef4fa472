//! Redraws a few lines in place at the end of a terminal, with other lines scrolling by above them.
//!
//! Refuses to take the terminal over: no raw mode, no other screen, nothing to restore when the process is killed.

use std::io::{self, IsTerminal, Write};

/// Used when the terminal does not say how large it is.
const COLUMNS_DEFAULT: usize = 80;
const ROWS_DEFAULT: usize = 24;

/// How a line looks, where colour is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As the terminal has it.
    Plain,
    /// Headings.
    Bold,
    /// Less important.
    Dim,
    /// Good.
    Green,
    /// Not yet good.
    Yellow,
    /// Bad.
    Red,
}

/// One line and how it looks. Without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its words.
    pub text: String,
    /// Its look.
    pub tone: Tone,
}

impl Line {
    /// A line.
    pub fn new(text: impl Into<String>, tone: Tone) -> Line {
        Line { text: text.into(), tone }
    }

    /// The line with its colour, at most `columns` characters wide.
    pub fn render(&self, columns: usize, colour: bool) -> String {
        let text: String = self.text.chars().take(columns).collect();
        let code = match self.tone {
            Tone::Plain => return text,
            _ if !colour => return text,
            Tone::Bold => 1,
            Tone::Dim => 2,
            Tone::Green => 32,
            Tone::Yellow => 33,
            Tone::Red => 31,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Whether colours are welcome on this stream: a terminal, no `NO_COLOR` (no-color.org), and not `TERM=dumb`.
pub fn wants_colour(stream: &impl IsTerminal) -> bool {
    let unset = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
    stream.is_terminal() && unset("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Columns and rows of the terminal at standard output.
pub fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (COLUMNS_DEFAULT, ROWS_DEFAULT),
    }
}

/// The lines that are redrawn.
#[derive(Debug)]
pub struct Screen<W> {
    out: W,
    colour: bool,
    lines: Vec<Line>,
    /// So many lines of the terminal are ours to redraw.
    drawn: usize,
}

impl<W: Write> Screen<W> {
    /// Nothing is drawn yet.
    pub fn new(out: W, colour: bool) -> Screen<W> {
        Screen { out, colour, lines: Vec::new(), drawn: 0 }
    }

    /// Prints lines that stay, above those that are redrawn.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn print(&mut self, lines: &[Line], size: (usize, usize)) -> io::Result<()> {
        let mut frame = self.erase();
        for line in lines {
            // These may wrap: nobody goes back over them.
            frame.push_str(&line.render(usize::MAX, self.colour));
            frame.push('\n');
        }
        self.finish(frame, size)
    }

    /// Replaces the lines that are redrawn.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, lines: Vec<Line>, size: (usize, usize)) -> io::Result<()> {
        let frame = self.erase();
        self.lines = lines;
        self.finish(frame, size)
    }

    fn erase(&mut self) -> String {
        let drawn = std::mem::take(&mut self.drawn);
        if drawn == 0 { String::new() } else { format!("\x1b[{drawn}A\r\x1b[J") }
    }

    fn finish(&mut self, mut frame: String, (columns, rows): (usize, usize)) -> io::Result<()> {
        // One row stays free for the cursor; lines that do not fit cannot be gone back over.
        let shown = self.lines.len().min(rows.saturating_sub(1));
        for line in &self.lines[..shown] {
            frame.push_str(&line.render(columns, self.colour));
            frame.push('\n');
        }
        self.drawn = shown;
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(texts: &[&str]) -> Vec<Line> {
        texts.iter().map(|text| Line::new(*text, Tone::Plain)).collect()
    }

    #[test]
    fn lines_are_redrawn_in_place_below_lines_that_stay() {
        let mut screen = Screen::new(Vec::new(), false);
        screen.draw(plain(&["a", "b"]), (80, 24)).expect("memory");
        screen.print(&plain(&["event"]), (80, 24)).expect("memory");
        screen.draw(plain(&["c"]), (80, 24)).expect("memory");
        let expected = "a\nb\n\x1b[2A\r\x1b[Jevent\na\nb\n\x1b[2A\r\x1b[Jc\n";
        assert_eq!(String::from_utf8(screen.out).expect("text"), expected);
    }

    #[test]
    fn nothing_wraps_or_runs_off_the_screen() {
        let mut screen = Screen::new(Vec::new(), true);
        screen
            .draw(vec![Line::new("abcdef", Tone::Red), Line::new("x", Tone::Plain)], (3, 2))
            .expect("memory");
        assert_eq!(String::from_utf8(screen.out).expect("text"), "\x1b[31mabc\x1b[0m\n");
    }
}

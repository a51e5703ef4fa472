//! A report before it has a form.

/// A part of a report. Texts are plain: every form escapes what it must.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Block {
    /// What the report is about.
    Title(String),
    /// What the next part is about.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// A paragraph that must not be overlooked.
    Warning(String),
    /// Sentences, the first words of which say what each is about.
    Points(Vec<(String, String)>),
    /// Rows and columns.
    Table(Table),
    /// A drawing; forms without drawings leave it out.
    Plot(String),
}

/// Rows of as many cells as the heading has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    /// The names of the columns.
    pub(super) heading: Vec<String>,
    /// How many of the first columns are words; the others are figures.
    pub(super) words: usize,
    /// The rows.
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(super) fn new(words: usize, heading: &[&str]) -> Table {
        Table { heading: heading.iter().map(|name| (*name).to_owned()).collect(), words, rows: Vec::new() }
    }

    /// Without the columns that no row has a figure in.
    pub(super) fn without_empty_columns(mut self, empty: &str) -> Table {
        let kept: Vec<bool> = (0..self.heading.len())
            .map(|at| at < self.words || self.rows.iter().any(|row| row[at] != empty))
            .collect();
        for row in self.rows.iter_mut().chain([&mut self.heading]) {
            let mut kept = kept.iter();
            row.retain(|_| *kept.next().unwrap_or(&true));
        }
        self
    }
}

//! For terminals: no frames, two spaces between columns, as the other verbs print.

use comfy_table::{CellAlignment, ContentArrangement, presets};

use super::document::{Block, Table};

/// The report as lines. Characters that could steer a terminal are shown as escapes.
pub(super) fn render(blocks: &[Block]) -> String {
    let mut text = String::new();
    for block in blocks {
        let block = match block {
            Block::Title(title) => underlined(title, '='),
            Block::Heading(heading) => underlined(heading, '-'),
            Block::Text(words) => format!("{}\n", printable(words)),
            Block::Warning(words) => format!("! {}\n", printable(words)),
            Block::Points(points) => points
                .iter()
                .map(|(first, words)| format!("* {}: {}\n", printable(first), printable(words)))
                .collect(),
            Block::Table(table) => lines(table),
            Block::Plot(_) => continue,
        };
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&block);
    }
    text
}

fn underlined(words: &str, with: char) -> String {
    let words = printable(words);
    let line: String = words.chars().map(|_| with).collect();
    format!("{words}\n{line}\n")
}

fn lines(table: &Table) -> String {
    let mut drawn = comfy_table::Table::new();
    drawn.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    drawn.set_header(table.heading.iter().map(|cell| printable(cell)));
    drawn.add_rows(table.rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect::<Vec<_>>()));
    for (at, column) in drawn.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if at >= table.words {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    drawn.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn printable(words: &str) -> String {
    words.chars().fold(String::new(), |mut text, c| {
        if c.is_control() {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
        text
    })
}

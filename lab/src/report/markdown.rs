//! Markdown, with the tables that GitHub and most others know.

use super::document::{Block, Table};

/// The report as Markdown.
pub(super) fn render(blocks: &[Block]) -> String {
    let parts: Vec<String> = blocks
        .iter()
        .filter_map(|block| {
            Some(match block {
                Block::Title(title) => format!("# {}\n", escape(title)),
                Block::Heading(heading) => format!("## {}\n", escape(heading)),
                Block::Text(words) => format!("{}\n", escape(words)),
                Block::Warning(words) => format!("> **Mind:** {}\n", escape(words)),
                Block::Points(points) => points
                    .iter()
                    .map(|(first, words)| format!("- **{}**: {}\n", escape(first), escape(words)))
                    .collect(),
                Block::Table(table) => rows(table),
                Block::Plot(_) => return None,
            })
        })
        .collect();
    parts.join("\n")
}

fn rows(table: &Table) -> String {
    let row = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| escape(cell)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let ruler: String =
        (0..table.heading.len()).map(|at| if at < table.words { "|---" } else { "|--:" }).collect();
    let body: String = table.rows.iter().map(|cells| row(cells)).collect();
    format!("{}{ruler}|\n{body}", row(&table.heading))
}

/// Words that mean nothing but themselves. Underscores inside of words do not.
fn escape(words: &str) -> String {
    words.chars().fold(String::new(), |mut text, c| {
        match c {
            c if c.is_control() => text.push(' '),
            '\\' | '`' | '*' | '[' | ']' | '<' | '|' | '#' => text.extend(['\\', c]),
            c => text.push(c),
        }
        text
    })
}

//! One page with everything in it: no scripts, no fonts, nothing that is fetched. Light and dark as the reader's machine is; wide
//! tables scroll by themselves, so that it can be read on a phone.

use std::fmt::Write as _;

use holdfast_figures::escape;

use super::document::{Block, Table};

const STYLE: &str = include_str!("page.css");

/// The report as a page.
pub(super) fn render(blocks: &[Block]) -> String {
    let title = blocks.iter().find_map(|block| match block {
        Block::Title(title) => Some(escape(title)),
        _ => None,
    });
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n",
        title.unwrap_or_default()
    );
    for block in blocks {
        let _ = match block {
            Block::Title(words) => writeln!(page, "<h1>{}</h1>", escape(words)),
            Block::Heading(words) => writeln!(page, "<h2>{}</h2>", escape(words)),
            Block::Text(words) => writeln!(page, "<p>{}</p>", escape(words)),
            Block::Warning(words) => writeln!(page, "<p class=\"warning\">{}</p>", escape(words)),
            Block::Points(points) => {
                page.push_str("<ul>\n");
                points.iter().for_each(|(first, words)| {
                    let (first, words) = (escape(first), escape(words));
                    let _ = writeln!(page, "<li><strong>{first}</strong>: {words}</li>");
                });
                writeln!(page, "</ul>")
            }
            Block::Table(rows) => table(rows, &mut page),
            Block::Plot(svg) => writeln!(page, "<figure>\n{svg}</figure>"),
        };
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn table(table: &Table, page: &mut String) -> std::fmt::Result {
    let row = |cells: &[String], tag: &str, page: &mut String| {
        page.push_str("<tr>");
        for (at, cell) in cells.iter().enumerate() {
            let class = if at < table.words { "" } else { " class=\"figure\"" };
            let _ = write!(page, "<{tag}{class}>{}</{tag}>", escape(cell));
        }
        page.push_str("</tr>\n");
    };
    page.push_str("<div class=\"wide\" tabindex=\"0\">\n<table>\n<thead>\n");
    row(&table.heading, "th", page);
    page.push_str("</thead>\n<tbody>\n");
    table.rows.iter().for_each(|cells| row(cells, "td", page));
    writeln!(page, "</tbody>\n</table>\n</div>")
}

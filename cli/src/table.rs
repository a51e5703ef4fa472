//! Lines in columns, as kubectl prints them: no frames, two spaces between.
//!
//! Refuses to wrap or to colour; lines are as long as they are, one per row.

use comfy_table::{ContentArrangement, Table, presets};

/// The heading and one line per row. Cells must not contain line breaks: see [`printable`].
pub(crate) fn lines<const N: usize>(
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heading);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Bytes as one line of text: what is not printable is shown as an escape.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_where_their_words_do() {
        let rows = [["orders-0".to_owned(), "1".to_owned()], ["b".to_owned(), String::new()]];
        assert_eq!(lines(["MEMBER", "TERM"], rows), ["MEMBER    TERM", "orders-0  1", "b"]);
    }

    #[test]
    fn bytes_are_shown_on_one_line() {
        assert_eq!(printable("käse\n\t\u{1b}[1m".as_bytes()), "käse\\n\\t\\u{1b}[1m");
        assert_eq!(printable(b"a\xff\x00b"), "a\\xff\\u{0}b");
    }
}

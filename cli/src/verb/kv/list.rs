//! `holdfast kv list`: all keys under a prefix as of one revision, however many pages that takes.

use holdfast_client::reply::KeyValue;
use serde::Serialize;

use super::{block_on, client, of_client, read_options};
use crate::arguments::KvList;
use crate::exit::{Exit, Failure};
use crate::output::print;
use crate::table::{lines, printable};

/// Longest beginning of a value that a table shows, in characters.
const VALUE_SHOWN_MAX: usize = 60;

#[derive(Serialize)]
struct Data {
    items: Vec<KeyValue>,
    /// As of which revision.
    revision: u64,
    /// How many there are, of which `items` may be the first.
    count: u64,
}

pub(super) fn run(list: &KvList) -> Result<Exit, Failure> {
    let client = client(&list.reach)?;
    let data = block_on(collect(list, &client))?;
    let left_out = data.count.saturating_sub(data.items.len() as u64);
    let rows = data.items.iter().map(|item| {
        let value = shown(item.bytes().unwrap_or_default());
        [printable(item.key.as_bytes()), value, item.mod_revision.to_string(), item.version.to_string()]
    });
    print(list.printed.output, &data, |out| {
        lines(["KEY", "VALUE", "REVISION", "VERSION"], rows)
            .iter()
            .try_for_each(|line| writeln!(out, "{line}"))
    })?;
    if left_out > 0 {
        crate::remark(&format!("{left_out} more; raise --limit to see them"));
    }
    Ok(Exit::Ok)
}

async fn collect(list: &KvList, client: &holdfast_client::Client) -> Result<Data, Failure> {
    let mut data = Data { items: Vec::new(), revision: 0, count: 0 };
    let mut pages = client.list(&list.prefix, list.limit, read_options(list.reading, None));
    while let Some(page) = pages.next().await.map_err(of_client)? {
        (data.revision, data.count) = (page.revision, page.count);
        data.items.extend(page.items);
        if list.limit.is_some_and(|limit| data.items.len() as u64 >= limit) {
            break;
        }
    }
    Ok(data)
}

/// The beginning of a value, on one line.
fn shown(value: &[u8]) -> String {
    let text = printable(value);
    match text.char_indices().nth(VALUE_SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(shown(b"short"), "short");
        assert_eq!(shown("é".repeat(60).as_bytes()), "é".repeat(60));
        assert_eq!(shown("é".repeat(61).as_bytes()), format!("{}…", "é".repeat(60)));
    }
}

//! `holdfast kv watch`: a line, or a JSON or YAML document, for each change, until somebody has enough.

use std::io::{self, Write};

use holdfast_client::reply::{WatchEvent, WatchEventType};
use serde::Serialize;

use super::{block_on, client, of_client};
use crate::arguments::{KvWatch, Output};
use crate::exit::{Exit, Failure};
use crate::output::{settle, write_one};
use crate::table::printable;

#[derive(Serialize)]
struct Data<'a> {
    revision: u64,
    #[serde(flatten)]
    event: &'a WatchEvent,
}

pub(super) fn run(watch: &KvWatch) -> Result<Exit, Failure> {
    let client = client(&watch.reach)?;
    block_on(async {
        let mut changes = client.watch(&watch.prefix, watch.from);
        let mut left = watch.count.unwrap_or(u64::MAX);
        while left > 0 {
            let batch = changes.next().await.map_err(of_client)?;
            for event in &batch.events {
                if left == 0 {
                    break;
                }
                left -= 1;
                let written = write(watch.printed.output, &Data { revision: batch.revision, event });
                if !settle(written)? {
                    return Ok(Exit::Ok);
                }
            }
        }
        Ok(Exit::Ok)
    })
}

fn write(output: Output, data: &Data<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write_one(&mut out, output, data, || line(data))?;
    out.flush()
}

fn line(Data { revision, event }: &Data<'_>) -> String {
    let key = printable(event.key.as_bytes());
    match event.type_ {
        WatchEventType::Put => {
            let value = event.bytes().ok().flatten().unwrap_or_default();
            format!("{revision} put {key} = {}", printable(value))
        }
        WatchEventType::Delete => format!("{revision} delete {key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_line() {
        let put = WatchEvent::put("a\n".into(), b"1\n2".to_vec(), 7, 1);
        assert_eq!(line(&Data { revision: 7, event: &put }), "7 put a\\n = 1\\n2");
        let delete = WatchEvent::delete("b".into());
        assert_eq!(line(&Data { revision: 8, event: &delete }), "8 delete b");
    }
}

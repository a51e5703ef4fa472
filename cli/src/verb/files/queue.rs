//! `holdfast files queue`.

use super::{block_on, client, of_client};
use crate::arguments::FilesQueue;
use crate::exit::{Exit, Failure};
use crate::output::print;
use crate::table::{lines, printable};

pub(super) fn run(queue: &FilesQueue) -> Result<Exit, Failure> {
    let client = client(&queue.reach)?;
    let reply = block_on(async { client.queue(queue.status.as_deref()).await.map_err(of_client) })?;
    print(queue.printed.output, &reply, |out| {
        let rows = reply.items.iter().map(|item| {
            [
                printable(item.file_key.as_bytes()),
                item.target_node_id.clone(),
                item.source_node_id.clone().unwrap_or_default(),
                item.status.clone(),
                item.retry_count.to_string(),
                printable(item.error_message.as_deref().unwrap_or_default().as_bytes()),
            ]
        });
        let lines = lines(["NAME", "TO", "FROM", "STATUS", "RETRIES", "WHY"], rows);
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        let statistics = reply.statistics;
        writeln!(
            out,
            "{} pending, {} in progress, {} completed, {} failed",
            statistics.pending, statistics.in_progress, statistics.completed, statistics.failed
        )
    })?;
    Ok(Exit::Ok)
}

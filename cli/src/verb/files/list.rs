//! `holdfast files list`.

use super::{block_on, bytes, client, of_client};
use crate::arguments::FilesList;
use crate::exit::{Exit, Failure};
use crate::output::print;
use crate::table::{lines, printable};

/// Files that are asked for at a time.
const PAGE: u64 = 1000;

pub(super) fn run(list: &FilesList) -> Result<Exit, Failure> {
    let client = client(&list.reach)?;
    let files = block_on(async {
        let mut files = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let left = list.limit.map_or(PAGE, |limit| limit.saturating_sub(files.len() as u64));
            if left == 0 {
                return Ok(files);
            }
            let page = client.list(left.min(PAGE), cursor.as_deref()).await.map_err(of_client)?;
            files.extend(page.files);
            match page.cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(files),
            }
        }
    })?;
    print(list.printed.output, &files, |out| {
        let rows = files.iter().map(|file| {
            [
                printable(file.file_key.as_bytes()),
                bytes(file.size_bytes),
                file.replicas.join(" "),
                file.uploaded_at.to_string(),
                file.checksum_sha256[..12.min(file.checksum_sha256.len())].to_owned(),
            ]
        });
        let lines = lines(["NAME", "SIZE", "MEMBERS", "UPLOADED", "SHA-256"], rows);
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))
    })?;
    Ok(Exit::Ok)
}

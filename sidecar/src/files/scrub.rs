//! Reading all files again in the background: bits rot where nobody looks.
//!
//! What it refuses to do: be in a hurry. Clients come first.

use std::time::Duration;

use tokio::time::Instant;

use super::Files;
use super::blobs::BlobError;
use crate::listener::chain;

/// How fast it reads: a tenth of what a cheap disk gives.
const BYTES_PER_SECOND: u64 = 32 * 1024 * 1024;

/// Read all files, again and again.
pub(super) async fn scrub(files: Files) {
    let interval = files.0.options.scrub_interval;
    loop {
        let next = Instant::now() + interval;
        let metrics = &files.running().metrics().files;
        for first in 0..=u8::MAX {
            metrics.scrub_position.set(f64::from(first) / 256.0);
            pass(&files, first).await;
        }
        metrics.scrub_position.set(1.0);
        metrics.scrubs.increment();
        tokio::time::sleep_until(next).await;
    }
}

/// Read the files whose digests begin with `first`.
async fn pass(files: &Files, first: u8) {
    let blobs = files.0.blobs.clone();
    let listed = tokio::task::spawn_blocking(move || blobs.list(first)).await;
    let listed = match listed {
        Ok(Ok(listed)) => listed,
        Ok(Err(error)) => {
            return tracing::warn!(reason = chain(&error), "cannot list the files to read them again");
        }
        Err(_) => return,
    };
    for (digest, damaged) in listed {
        if damaged {
            continue;
        }
        match files.verify(digest).await {
            Ok(size) => {
                files.running().metrics().files.scrubbed_bytes.add(size);
                tokio::time::sleep(Duration::from_micros(size.saturating_mul(1_000_000) / BYTES_PER_SECOND))
                    .await;
            }
            Err(error @ BlobError::Damaged { .. }) => files.found_damaged(digest, chain(&error)),
            // It was removed meanwhile.
            Err(BlobError::Missing | BlobError::Stopping) => {}
            Err(error) => tracing::warn!(reason = chain(&error), "cannot read a file again"),
        }
    }
}

//! What is counted and timed of files: [`FilesMetrics`].
//!
//! What the catalogue says is written down by the rounds that read all of it, so that a scrape asks nobody. It refuses to
//! be a second catalogue: no name and no digest is here.

use std::time::Duration;

use prometheus::{GaugeVec, IntCounterVec};

use super::instrument::{Counter, Families, Gauge, Timing, counter, gauge};
use crate::files::records::QueueStatus;

/// Uploads and downloads: 4 ms to 1,000 s. A small file takes some milliseconds, 64 GiB some minutes.
const TRANSFER_BUCKETS: [f64; 13] =
    [0.004, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 100.0, 1000.0];

/// What became of an upload, a download, or a copy that was missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransferResult {
    /// All of it is where it should be.
    Ok,
    /// It is not.
    Failed,
}

impl TransferResult {
    pub(super) const ALL: [TransferResult; 2] = [TransferResult::Ok, TransferResult::Failed];

    fn name(self) -> &'static str {
        match self {
            TransferResult::Ok => "ok",
            TransferResult::Failed => "failed",
        }
    }
}

/// What is counted and timed of files.
#[derive(Clone, Debug)]
pub(crate) struct FilesMetrics {
    /// Files in the catalogue.
    pub(crate) files: Gauge,
    /// Their bytes, each once.
    pub(crate) bytes: Gauge,
    /// Files that this member holds.
    pub(crate) held: Gauge,
    /// Their bytes, each once.
    pub(crate) held_bytes: Gauge,
    /// Copies that this member should have and has not.
    pub(crate) missing: Gauge,
    /// Bytes that are free for files.
    pub(crate) free_bytes: Gauge,
    queue: GaugeVec,
    repairs: IntCounterVec,
    /// Copies of this member that were found damaged.
    pub(crate) damaged: Counter,
    /// Bytes that were read again and are what they were.
    pub(crate) scrubbed_bytes: Counter,
    /// How often all files were read again.
    pub(crate) scrubs: Counter,
    /// How far the reading is that is under way.
    pub(crate) scrub_position: Gauge,
    uploads: IntCounterVec,
    /// Bytes of files that this member took.
    pub(crate) upload_bytes: Counter,
    upload_seconds: Timing,
    downloads: IntCounterVec,
    /// Bytes of files that this member gave.
    pub(crate) download_bytes: Counter,
    download_seconds: Timing,
}

impl FilesMetrics {
    pub(super) fn new(f: &mut Families) -> FilesMetrics {
        let result = &["result"];
        let metrics = FilesMetrics {
            files: f.gauge("holdfast_files", "Files in the catalogue, as this member's last round read it."),
            bytes: f.gauge("holdfast_files_bytes", "Bytes of the files in the catalogue, without copies."),
            held: f.gauge("holdfast_files_held", "Files that this member holds, by the catalogue."),
            held_bytes: f.gauge("holdfast_files_held_bytes", "Bytes of the files that this member holds."),
            missing: f.gauge(
                "holdfast_files_missing",
                "Files that this member should hold and did not at the end of its last round.",
            ),
            free_bytes: f.gauge(
                "holdfast_files_free_bytes",
                "Bytes that are free for files where this member keeps them.",
            ),
            queue: f.gauges(
                "holdfast_files_queue_items",
                "Items of the replication queue, by status, as this member's last round read it.",
                &["status"],
            ),
            repairs: f.counters(
                "holdfast_files_repairs_total",
                "Tries to make a copy that was missing or damaged here, by what became of them.",
                result,
            ),
            damaged: f
                .counter("holdfast_files_damaged_total", "Copies of this member that were found damaged."),
            scrubbed_bytes: f.counter(
                "holdfast_files_scrubbed_bytes_total",
                "Bytes of files that were read again in the background and are what they were.",
            ),
            scrubs: f.counter(
                "holdfast_files_scrubs_total",
                "How often all files were read again in the background.",
            ),
            scrub_position: f.gauge(
                "holdfast_files_scrub_position_ratio",
                "How much of its files this member has read in the pass that is under way; 1 between two passes.",
            ),
            uploads: f.counters(
                "holdfast_files_uploads_total",
                "Uploads that this member took, by what became of them.",
                result,
            ),
            upload_bytes: f
                .counter("holdfast_files_upload_bytes_total", "Bytes of uploads that this member took."),
            upload_seconds: f.timing(
                "holdfast_files_upload_seconds",
                "From an upload's beginning until enough members have it and it is in the catalogue.",
                &TRANSFER_BUCKETS,
            ),
            downloads: f.counters(
                "holdfast_files_downloads_total",
                "Downloads that this member served, by what became of them.",
                result,
            ),
            download_bytes: f
                .counter("holdfast_files_download_bytes_total", "Bytes of files that this member gave."),
            download_seconds: f.timing(
                "holdfast_files_download_seconds",
                "From a download's beginning until its client has taken all of it.",
                &TRANSFER_BUCKETS,
            ),
        };
        for status in QueueStatus::ALL {
            metrics.queued(status.name(), 0);
        }
        for result in TransferResult::ALL {
            for family in [&metrics.repairs, &metrics.uploads, &metrics.downloads] {
                counter(family, &[result.name()]);
            }
        }
        metrics
    }

    /// So many items of the queue have this status, by its name: one of a closed set.
    pub(crate) fn queued(&self, status: &'static str, items: usize) {
        gauge(&self.queue, &[status]).set(items as f64);
    }

    /// A copy was tried to be made.
    pub(crate) fn repaired(&self, result: TransferResult) {
        counter(&self.repairs, &[result.name()]).increment();
    }

    /// An upload ended.
    pub(crate) fn uploaded(&self, result: TransferResult, took: Duration) {
        counter(&self.uploads, &[result.name()]).increment();
        self.upload_seconds.observe(took);
    }

    /// A download ended.
    pub(crate) fn downloaded(&self, result: TransferResult, took: Duration) {
        counter(&self.downloads, &[result.name()]).increment();
        self.download_seconds.observe(took);
    }
}

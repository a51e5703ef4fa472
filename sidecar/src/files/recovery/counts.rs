//! What the records of a round come to, for the metrics.

use holdfast_engine::MemberId;

use super::round::Round;
use crate::files::Files;
use crate::files::records::FileRecord;

/// What the records of a round come to.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) files: u64,
    bytes: u64,
    wanted: u64,
    held: u64,
    held_bytes: u64,
}

impl Counts {
    /// Count a record as it was read.
    pub(super) fn count(&mut self, record: &FileRecord, me: MemberId) {
        self.files += 1;
        self.bytes += record.size;
        self.wanted += u64::from(record.wants(me.ordinal) && !record.is_held_by(me));
        if record.is_held_by(me) {
            self.held += 1;
            self.held_bytes += record.size;
        }
    }

    /// Show them, after a round that has made some of the missing copies.
    pub(super) fn show(&self, files: &Files, round: Round) {
        let metrics = &files.running().metrics().files;
        metrics.files.set(self.files as f64);
        metrics.bytes.set(self.bytes as f64);
        metrics.held.set((self.held + round.success.min(self.wanted)) as f64);
        metrics.held_bytes.set(self.held_bytes as f64);
        metrics.missing.set(self.wanted.saturating_sub(round.success) as f64);
        metrics.free_bytes.set(files.free_bytes(files.me().ordinal) as f64);
    }
}

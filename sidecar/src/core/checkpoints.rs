//! Checkpoints of this member's own state: when they are taken, and who is told.
//!
//! A checkpoint begins with a copy that shares everything with the state; a thread of its own encodes and writes it
//! ([`Cutting`]), and no client waits for it. What fails here fails one checkpoint, not the member.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use holdfast_engine::{Checkpoint, Index, Input, Moment, Ordinal, Position};
use holdfast_storage::{CheckpointFile, Compression, Outside};
use holdfast_store::Store;
use tokio::sync::oneshot;

use super::Core;
use super::cutting::{CheckpointFailure, Cut, Cutting, Order};
use super::handle::{CheckpointTaken, Failure, RefusalCode, Timing};
use super::queue::Queue;
use super::verification::{self, Verification};
use crate::metrics::{CheckpointResult, Metrics};

/// Bytes of log after which a checkpoint is taken, so that the log does not grow for ever. As much as a member reads
/// back in about a second. More if the state is large: [`log_bytes_max`].
const LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of log by which each ordinal takes its checkpoints later than the one before it, so that members do not all
/// take theirs at once.
const LOG_BYTES_STAGGER: u64 = 8 * 1024 * 1024;

/// Bytes of log after which a member that keeps none on disk forgets it: it is alone, and nobody will ask for it.
const MEMORY_LOG_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Bytes of log that are worth a checkpoint when the disk is full.
const FULL_LOG_BYTES: u64 = 4 * 1024 * 1024;

/// After a failed checkpoint the next one is not tried before this.
const FAILURE_PAUSE: Duration = Duration::from_secs(10);

/// When and where checkpoints are written.
pub(crate) struct CheckpointSettings {
    /// The files.
    pub(crate) files: holdfast_storage::Checkpoints,
    /// Whether the log is needed until a checkpoint covers it: it is on disk, or other members may ask for it.
    pub(crate) log_is_needed: bool,
    /// How often; `None`: only when the log has grown, or on request.
    pub(crate) interval: Option<Duration>,
    /// How many are kept.
    pub(crate) retain: NonZeroUsize,
    /// How they are written.
    pub(crate) compression: Compression,
    /// Which member's, for the stagger.
    pub(crate) ordinal: Ordinal,
    /// The newest one that is there.
    pub(crate) newest: Option<CheckpointFile>,
    /// Where those of the member that leads are kept too.
    pub(crate) outside: Option<Outside>,
    /// The way back into the core.
    pub(crate) queue: Arc<Queue>,
    /// Where it is counted.
    pub(crate) metrics: Metrics,
}

type Asker = oneshot::Sender<Result<CheckpointTaken, Failure>>;

/// This member's checkpoints.
pub(super) struct Checkpoints {
    settings: CheckpointSettings,
    running: Option<Running>,
    newest: Option<CheckpointFile>,
    /// The newest one that this member brought outside.
    outside: Option<Position>,
    /// Whether this member brings them there: it leads.
    leads: bool,
    /// When the next one is due by the interval.
    next: Option<Moment>,
    /// Bytes executed since the newest one began.
    log_bytes: u64,
    /// Who waits for a checkpoint that covers what was committed when they asked.
    askers: Vec<(Index, Asker)>,
    /// One is to be taken as soon as none is under way.
    wanted: bool,
    /// None is tried before this.
    not_before: Moment,
    verification: Verification,
}

struct Running {
    started: Moment,
    /// What it covers.
    checkpoint: Checkpoint,
    /// Bytes executed before it began, if it comes to nothing.
    log_bytes: u64,
    /// `None` if it was given up.
    cutting: Option<Cutting>,
}

impl Checkpoints {
    pub(super) fn new(settings: CheckpointSettings, now: Moment) -> Checkpoints {
        let next = settings.interval.map(|interval| now + interval);
        let newest = settings.newest;
        Checkpoints {
            settings,
            running: None,
            newest,
            outside: None,
            leads: false,
            next,
            log_bytes: 0,
            askers: Vec::new(),
            wanted: false,
            not_before: now,
            verification: Verification::default(),
        }
    }

    /// Use another interval, counted from now, keep another number, and write them in another way.
    pub(super) fn retime(&mut self, timing: &Timing, now: Moment) {
        let Timing { checkpoint_interval: interval, checkpoint_retain: retain, .. } = *timing;
        if self.settings.interval != interval {
            self.next = interval.map(|interval| now + interval);
        }
        self.settings.interval = interval;
        self.settings.retain = retain;
        self.settings.compression = timing.checkpoint_compression;
    }

    /// Whether this member leads now.
    pub(super) fn lead(&mut self, leads: bool) {
        self.leads = leads;
    }

    /// Whether the newest one has to be brought outside by this member, and is not there yet as far as it knows.
    fn is_missing_outside(&self) -> bool {
        let newest = self.newest.map(|newest| newest.position);
        self.leads && self.settings.outside.is_some() && self.outside != newest
    }

    /// How often one is taken, if by time.
    pub(super) fn interval(&self) -> Option<Duration> {
        self.settings.interval
    }

    /// An entry of so many bytes was executed.
    pub(super) fn log_grew(&mut self, bytes: usize) {
        self.log_bytes += bytes as u64;
    }

    /// The disk is full: a checkpoint lets the log behind it go, if there is much of that.
    pub(super) fn want_for_space(&mut self) {
        self.wanted |= self.running.is_none() && self.log_bytes >= FULL_LOG_BYTES;
    }

    /// The newest durable checkpoint.
    pub(super) fn newest(&self) -> Option<&CheckpointFile> {
        self.newest.as_ref()
    }

    /// A checkpoint of another member is durable here.
    pub(super) fn fetched(&mut self, file: CheckpointFile) {
        if self.newest.is_none_or(|newest| newest.position.index < file.position.index) {
            self.newest = Some(file);
            self.log_bytes = 0;
        }
    }

    /// Whether a checkpoint is under way or asked for.
    pub(super) fn is_busy(&self) -> bool {
        self.running.is_some() || self.wanted
    }

    /// When there is something to do at the earliest.
    pub(super) fn deadline(&self) -> Option<Moment> {
        match &self.running {
            Some(_) => None,
            None => self.next.map(|next| next.max(self.not_before)),
        }
    }

    /// Whether checkpoints exist in this store at all.
    fn are_taken(&self) -> bool {
        self.settings.log_is_needed || self.settings.interval.is_some()
    }

    /// Somebody wants one. Answers at once if there is nothing to do.
    fn want(&mut self, committed: Position, asker: Asker) {
        let refuse = |detail: &str, retryable| {
            let code = RefusalCode::CheckpointFailed;
            Err(Failure::Refused { code, detail: detail.to_owned(), retryable, retry_after: None })
        };
        let newest = self.newest.filter(|newest| newest.position == committed);
        let answer = match newest {
            _ if !self.are_taken() => refuse("this store takes no checkpoints", false),
            _ if committed.index == Index(0) => refuse("nothing is committed yet", true),
            Some(CheckpointFile { position, bytes, .. })
                if self.running.is_none() && !self.is_missing_outside() =>
            {
                Ok(CheckpointTaken { position, bytes, took: Duration::ZERO })
            }
            _ => {
                // One that began before does not hold what was acknowledged since.
                self.wanted |= !self.is_covered_by_running(committed);
                self.askers.push((committed.index, asker));
                return;
            }
        };
        let _ = asker.send(answer);
    }

    /// Somebody wants one to be read back.
    pub(super) fn verify(&self, position: Position, asker: verification::Asker) {
        self.verification.begin(self.settings.files.clone(), position, asker);
    }

    /// Take one as soon as possible, for nobody in particular.
    pub(super) fn want_one(&mut self, committed: Position) {
        let newest = self.newest.is_some_and(|newest| newest.position == committed);
        let covered = newest || self.is_covered_by_running(committed);
        if self.are_taken() && !covered && committed.index > Index(0) {
            self.wanted = true;
        }
    }

    /// Whether the one that is under way holds everything up to `committed`.
    fn is_covered_by_running(&self, committed: Position) -> bool {
        self.running.as_ref().is_some_and(|running| running.checkpoint.position.index >= committed.index)
    }

    fn is_due(&mut self, committed: Position, now: Moment) -> bool {
        if self.running.is_some() {
            return false;
        }
        if self.wanted {
            return true;
        }
        if now < self.not_before {
            return false;
        }
        // Without a log, there has to be one from the beginning: a store that was formed never starts empty.
        let first = !self.settings.log_is_needed && self.settings.interval.is_some() && self.newest.is_none();
        let by_time = self.next.is_some_and(|next| next <= now);
        let stagger = LOG_BYTES_STAGGER * u64::from(self.settings.ordinal.0);
        let most = log_bytes_max(self.newest.map_or(0, |newest| newest.bytes)) + stagger;
        let by_log = self.settings.log_is_needed && self.log_bytes >= most;
        let news = self.newest.map_or(Index(0), |newest| newest.position.index) < committed.index
            || by_time && self.is_missing_outside();
        if by_time && !news {
            self.next = self.settings.interval.map(|interval| now + interval);
        }
        news && (by_time || by_log || first)
    }

    /// Begin to cut one of everything that is committed.
    fn begin(&mut self, store: &Store, checkpoint: Checkpoint, now: Moment) {
        self.wanted = false;
        self.next = self.settings.interval.map(|interval| now + interval);
        let CheckpointSettings { files, retain, compression, queue, outside, .. } = &self.settings;
        let cursor = store.begin_checkpoint();
        let outside = outside.clone().filter(|_| self.leads);
        let (files, retain, compression) = (files.clone(), *retain, *compression);
        let order = Order { cursor, checkpoint, files, retain, compression, outside };
        let cutting = Some(Cutting::begin(order, queue));
        let log_bytes = std::mem::take(&mut self.log_bytes);
        self.running = Some(Running { started: now, checkpoint, log_bytes, cutting });
    }

    /// The state is replaced by another: what is being cut of it is useless.
    pub(super) fn give_up(&mut self) {
        if let Some(running) = &mut self.running {
            running.cutting = None;
        }
    }

    /// The file is durable, or is not: what the engine may be told.
    fn written(&mut self, result: Result<Cut, CheckpointFailure>, now: Moment) -> Option<Checkpoint> {
        let running = self.running.take()?;
        let took = now - running.started;
        let metrics = &self.settings.metrics;
        match result {
            Ok(Cut { file, outside }) => {
                let position = file.position;
                tracing::info!(%position, bytes = file.bytes, ?took, "took a checkpoint");
                metrics.checkpoint(CheckpointResult::Ok);
                metrics.checkpoint_seconds.observe(took);
                let kept = outside.is_some();
                metrics.disk_written_bytes.add(file.bytes * (1 + u64::from(kept)));
                let answer = match outside.transpose() {
                    Ok(_) => Ok(CheckpointTaken { position, bytes: file.bytes, took }),
                    Err(error) => {
                        metrics.checkpoint(CheckpointResult::NotOutside);
                        Err(failed(&error))
                    }
                };
                if kept && answer.is_ok() {
                    self.outside = Some(position);
                }
                for (_, asker) in self.askers.extract_if(.., |(needed, _)| *needed <= position.index) {
                    let _ = asker.send(answer.clone());
                }
                if self.newest.is_none_or(|newest| newest.position.index < position.index) {
                    self.newest = Some(file);
                }
                Some(running.checkpoint)
            }
            Err(error) => {
                metrics.checkpoint(CheckpointResult::Failed);
                self.log_bytes += running.log_bytes;
                self.not_before = now + FAILURE_PAUSE;
                let failure = failed(&error);
                for (_, asker) in self.askers.drain(..) {
                    let _ = asker.send(Err(failure.clone()));
                }
                None
            }
        }
    }

    /// Whether the log in memory is only a burden: nobody will ever ask for it, and it has grown.
    fn log_is_a_burden(&mut self) -> bool {
        let burden = !self.settings.log_is_needed && self.log_bytes >= MEMORY_LOG_BYTES_MAX;
        if burden {
            self.log_bytes = 0;
        }
        burden
    }
}

/// What those are told who asked for a checkpoint that came to nothing.
fn failed(error: &CheckpointFailure) -> Failure {
    let reason = crate::listener::chain(error);
    tracing::warn!(reason, "a checkpoint failed");
    Failure::Refused {
        code: RefusalCode::CheckpointFailed,
        detail: format!("the checkpoint failed: {reason}"),
        retryable: true,
        retry_after: Some(FAILURE_PAUSE),
    }
}

/// Bytes of log after which a checkpoint is taken if the newest one has so many: half as many, so that checkpoints
/// together write at most twice what the log does, and a start reads back half as much of the log again.
fn log_bytes_max(checkpoint_bytes: u64) -> u64 {
    LOG_BYTES_MAX.max(checkpoint_bytes / 2)
}

impl Core {
    pub(super) fn checkpoint_wanted(&mut self, asker: Asker) {
        self.checkpoints.want(self.committed_position(), asker);
    }

    /// Take a checkpoint if it is time, and let the engine forget a log that nobody needs.
    pub(super) fn begin_checkpoint_if_due(&mut self) {
        let position = self.committed_position();
        if self.checkpoints.is_due(position, self.now) {
            let checkpoint = self.checkpoint_of(position);
            self.checkpoints.begin(&self.store, checkpoint, self.now);
        }
        if self.checkpoints.log_is_a_burden() {
            self.step(Input::CheckpointTaken { checkpoint: self.checkpoint_of(position) });
        }
    }

    pub(super) fn checkpoint_written(&mut self, result: Result<Cut, CheckpointFailure>) {
        if let Some(checkpoint) = self.checkpoints.written(result, self.now) {
            self.step(Input::CheckpointTaken { checkpoint });
        }
    }

    /// What a checkpoint of everything up to `position` is to say that it covers.
    fn checkpoint_of(&self, position: Position) -> Checkpoint {
        Checkpoint { position, membership: self.engine.membership_at(position.index) }
    }

    /// The last committed entry.
    pub(super) fn committed_position(&self) -> Position {
        self.terms.position(self.store.committed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_state_is_not_written_again_for_a_short_log() {
        assert_eq!([0, 1, 128 * 1024 * 1024].map(log_bytes_max), [LOG_BYTES_MAX; 3]);
        assert_eq!(log_bytes_max(1_000_000_000), 500_000_000);
    }
}

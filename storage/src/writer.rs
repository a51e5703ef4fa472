//! The one thread that writes: it takes all that waits, writes it at once, flushes it once, and says how far it came.
//!
//! There is no timer that waits for more: whatever is submitted during one flush is the next batch.
//!
//! What it refuses to do: go on after an error, or reorder. Votes, formations and entries become durable in the order
//! in which they were submitted.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use holdfast_engine::{Formation, HardState, Persist, Ticket, Write};

use crate::checkpoint::Checkpoints;
use crate::folder::Folder;
use crate::log::{BATCH_BYTES_MAX, Log, Resumed, Shared};
use crate::queue::{Queue, Queued, SubmitError};
use crate::scrub::{Ledger, Scrub};
use crate::space::Space;
use crate::vote::Vote;
use crate::{Options, WriteError};

/// An opened folder that nothing is written to yet.
#[derive(Debug)]
pub struct Disk {
    pub(crate) folder: Arc<Folder>,
    pub(crate) options: Options,
    /// Neither is there without a log.
    pub(crate) log: Option<(Resumed, Vote)>,
    pub(crate) observer: Observer,
    pub(crate) ledger: Arc<Ledger>,
}

/// One write and its flush, for metrics.
#[derive(Clone, Copy, Debug)]
pub struct Flush {
    /// Which file it was.
    pub what: Flushed,
    /// How many bytes were written.
    pub bytes: usize,
    /// How many entries were among them: the size of the batch.
    pub entries: usize,
    /// How long handing the bytes to the kernel took. For votes and formations it is counted under `fsync`.
    pub write: Duration,
    /// How long the flush took.
    pub fsync: Duration,
}

/// Which file was flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// A segment of the log.
    Log,
    /// The vote.
    Vote,
    /// The identity: the store was formed.
    Identity,
}

/// Who is told about flushes.
#[derive(Clone, Default)]
pub(crate) struct Observer(Option<Arc<dyn Fn(Flush) + Send + Sync>>);

/// The way to the writer thread. Dropping it is [`LogWriter::stop`].
#[derive(Debug)]
pub struct LogWriter {
    folder: Arc<Folder>,
    queue: Arc<Queue>,
    space: Space,
    thread: Option<JoinHandle<()>>,
}

/// What the thread works with.
struct Writer {
    folder: Arc<Folder>,
    log: Option<(Log, Vote)>,
    observer: Observer,
}

impl Observer {
    pub(crate) fn observe(&self, flush: Flush) {
        if let Some(observer) = &self.0 {
            observer(flush);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observer").field(&self.0.is_some()).finish()
    }
}

impl Disk {
    /// The folder's checkpoints. The folder stays locked as long as a copy of this lives.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(Arc::clone(&self.folder))
    }

    /// The folder alone, which stays locked.
    pub(crate) fn into_folder(self) -> Arc<Folder> {
        self.folder
    }

    /// Call `observe` after every flush, in the writer thread, before the flush is reported. It must not wait.
    #[must_use]
    pub fn on_flush(self, observe: impl Fn(Flush) + Send + Sync + 'static) -> Disk {
        Disk { observer: Observer(Some(Arc::new(observe))), ..self }
    }

    /// What is to be read again in the background. The log's part of it is known once the writer is started.
    pub fn scrub(&self) -> Scrub {
        Scrub::new(Arc::clone(&self.folder), Arc::clone(&self.ledger))
    }

    /// Start the writer thread.
    ///
    /// `done` is called in that thread: with the last ticket that is durable, whenever that moved; or, once and as the
    /// last call, with the error after which nothing is written any more. It must not wait for whoever stops the
    /// writer. Without a log every ticket is done at once.
    ///
    /// # Errors
    ///
    /// The operating system's, if it has no more threads.
    pub fn start(
        self,
        done: impl FnMut(Result<Ticket, WriteError>) + Send + 'static,
    ) -> io::Result<LogWriter> {
        let Disk { folder, options, log, observer, ledger } = self;
        let (queue, space) = (Arc::new(Queue::default()), Space::default());
        let log = match log {
            Some((resumed, vote)) => {
                let shared = Shared { ledger, space: space.clone(), queue: Arc::clone(&queue) };
                let bytes = options.segment_bytes;
                let log = Log::start(Arc::clone(&folder), bytes, observer.clone(), shared, resumed)?;
                Some((log, vote))
            }
            None => None,
        };
        let thread = {
            let (queue, folder) = (Arc::clone(&queue), Arc::clone(&folder));
            let writer = Writer { folder, log, observer };
            thread::Builder::new().name("log-writer".to_owned()).spawn(move || writer.run(&queue, done))?
        };
        Ok(LogWriter { folder, queue, space, thread: Some(thread) })
    }
}

impl LogWriter {
    /// Hand over writes, in the order of their tickets: all of them or none. Never waits for the disk.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], which hands the writes back.
    pub fn submit(&self, writes: Vec<Persist>) -> Result<(), SubmitError> {
        self.queue.submit(writes)
    }

    /// How much waits.
    pub fn queued(&self) -> Queued {
        self.queue.queued()
    }

    /// For how long the oldest write that is not durable has been submitted; zero if all are. A leader whose disk keeps it
    /// waiting for long should let somebody else lead.
    pub fn waiting_for(&self) -> Duration {
        self.queue.waiting_for()
    }

    /// Whether the disk is full. Then the log still takes a reserve of one segment, which is for what makes the store
    /// smaller; when that is used up, writes wait until there is space.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Write everything that was submitted, report it, and end the thread. The folder is unlocked then, unless a
    /// [`Checkpoints`] of it lives.
    pub fn stop(self) {
        drop(self);
    }

    /// As [`LogWriter::stop`], and make the vote void, durably: the next start goes on as another incarnation, with the
    /// same log. For a member that must not vote as who it was.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`]; the vote stands then.
    pub fn renounce(self) -> Result<(), WriteError> {
        let folder = Arc::clone(&self.folder);
        self.stop();
        folder.files.remove(&folder.vote_path())?;
        Ok(folder.files.sync_folder(folder.root())?)
    }

    /// As [`LogWriter::stop`], and move everything that the member has aside, durably: the next start begins anew, as another
    /// incarnation that never forms a store. `why` is for people. Returns where the files are; what was moved there before is
    /// gone. A crash in between leaves what cannot be taken for a new folder.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`]; some of it stands then.
    pub fn put_aside(self, why: &str) -> Result<PathBuf, WriteError> {
        let folder = Arc::clone(&self.folder);
        self.stop();
        Ok(folder.put_aside(why)?)
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.queue.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Writer {
    fn run(mut self, queue: &Queue, mut done: impl FnMut(Result<Ticket, WriteError>)) {
        while let Some(writes) = queue.take() {
            if let Err(error) = self.carry_out(writes, queue, &mut |ticket| done(Ok(ticket))) {
                queue.stop();
                return done(Err(error));
            }
        }
        // Everything was reported already; what is missing is proof for the next start, which does without.
        if let Some((log, vote)) = &mut self.log
            && let Err(error) = log.close().and_then(|()| Ok(vote.close()?))
        {
            tracing::warn!(%error, "the log was not closed");
        }
    }

    fn carry_out(
        &mut self,
        writes: VecDeque<Persist>,
        queue: &Queue,
        report: &mut impl FnMut(Ticket),
    ) -> Result<(), WriteError> {
        let mut reached = None;
        for Persist { ticket, write } in writes {
            let flushed = self.write(write)?;
            reached = Some(ticket);
            if flushed {
                report(ticket);
                reached = None;
            }
        }
        if let Some((log, _)) = &mut self.log {
            log.flush()?;
        }
        if let Some(ticket) = reached {
            report(ticket);
        }
        // Last: nobody waits for a seal, which only makes the next start sure of what this one was sure of.
        if let Some((log, _)) = &mut self.log
            && queue.queued().writes == 0
        {
            log.seal()?;
        }
        Ok(())
    }

    /// Carry out one write. Whether it, and so everything before it, is durable already.
    fn write(&mut self, write: Write) -> Result<bool, WriteError> {
        match (write, &mut self.log) {
            (Write::Formation(formation), log) => {
                if let Some((log, _)) = log {
                    log.flush()?;
                }
                self.form(formation).map(|()| true)
            }
            (_, None) => Ok(false),
            (Write::HardState(hard_state), Some((log, vote))) => {
                log.flush()?;
                write_vote(vote, hard_state, &self.observer).map(|()| true)
            }
            (Write::Append(entries), Some((log, _))) => {
                log.append(&entries)?;
                if log.pending() < BATCH_BYTES_MAX {
                    return Ok(false);
                }
                log.flush().map(|()| true)
            }
            (Write::Reset(position), Some((log, _))) => log.reset(position).map(|()| true),
            (Write::Release(index), Some((log, _))) => {
                log.release(index);
                Ok(false)
            }
        }
    }

    fn form(&self, formation: Formation) -> Result<(), WriteError> {
        let mut identity = self.folder.identity();
        match &identity.formation {
            Some(formed) if *formed == formation => return Ok(()),
            Some(formed) => return Err(WriteError::Formed { formed: formed.store, asked: formation.store }),
            None => {}
        }
        identity.formation = Some(formation);
        let started = Instant::now();
        let bytes = self.folder.identify(identity)?;
        let fsync = started.elapsed();
        self.observer.observe(Flush {
            what: Flushed::Identity,
            bytes,
            entries: 0,
            write: Duration::ZERO,
            fsync,
        });
        Ok(())
    }
}

fn write_vote(vote: &mut Vote, hard_state: HardState, observer: &Observer) -> Result<(), WriteError> {
    let started = Instant::now();
    let bytes = vote.write(hard_state)?;
    let fsync = started.elapsed();
    observer.observe(Flush { what: Flushed::Vote, bytes, entries: 0, write: Duration::ZERO, fsync });
    Ok(())
}

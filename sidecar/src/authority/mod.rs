//! The authority of in-sync mode: one object outside the store that changes only by compare-and-set, and the thread that
//! asks it.
//!
//! The core never waits for the authority: its questions are put to a thread of their own, and the answers come back as
//! events. What is not answered the engine asks again by itself.

mod document;
mod file;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use holdfast_engine::{Question, QuestionToken, Verdict};

use self::file::FileAuthority;
use crate::core::event::Event;
use crate::core::queue::Queue;

/// Most questions that wait for the authority. The engine asks one at a time, and asks again after a while; what is beyond
/// is dropped, as if the authority could not be reached.
const QUESTIONS_WAITING_MAX: usize = 4;

/// How a store in in-sync mode is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InSync {
    /// The file that is the authority; the same for all members. Its folder must exist.
    pub authority: PathBuf,
    /// So many members stay in sync, whatever happens; at least 1.
    pub min: u8,
}

/// One object that changes by compare-and-set.
trait Authority: Send {
    /// Answer one question, however long that takes. What became of a change that failed half way is
    /// [`Verdict::Unknown`], never a guess.
    fn answer(&mut self, question: &Question) -> Verdict;
}

/// The way to the authority's thread, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Asker {
    questions: SyncSender<(QuestionToken, Question)>,
}

impl Asker {
    /// Start the thread. Answers go into `queue`.
    ///
    /// # Errors
    ///
    /// The system gives no more threads.
    pub(crate) fn start(in_sync: &InSync, queue: Arc<Queue>) -> io::Result<Asker> {
        let mut authority = FileAuthority::at(in_sync.authority.clone());
        let (questions, waiting) = sync_channel::<(QuestionToken, Question)>(QUESTIONS_WAITING_MAX);
        thread::Builder::new().name("authority".to_owned()).spawn(move || {
            for (token, question) in waiting {
                let verdict = authority.answer(&question);
                if queue.push_always(Event::Authority { token, verdict }).is_err() {
                    break; // the core has ended
                }
            }
        })?;
        Ok(Asker { questions })
    }

    /// Ask.
    pub(crate) fn ask(&self, token: QuestionToken, question: Question) {
        if self.questions.try_send((token, question)).is_err() {
            tracing::warn!(
                "the authority does not answer; a question to it is dropped and asked again later"
            );
        }
    }
}

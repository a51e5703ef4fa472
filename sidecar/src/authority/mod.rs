//! The authority of in-sync mode: one object outside the store that changes only by compare-and-set, and the thread that
//! asks it.
//!
//! The core never waits for the authority: its questions are put to a thread of their own, and the answers come back as
//! events. What is not answered the engine asks again by itself.

mod document;
mod file;
mod forced;
mod known;
mod lease;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use holdfast_api::http::{AuthorityState, AuthorityStatus};
use holdfast_engine::{Question, QuestionToken, Verdict};

pub use self::forced::ForcedStarted;
pub(crate) use self::forced::Order;

use self::document::{DocumentError, Held};
use self::file::FileAuthority;
use self::known::Known;
use self::lease::LeaseAuthority;
use crate::core::event::Event;
use crate::core::queue::Queue;
use crate::listener::chain;

/// Most questions that wait for the authority. The engine asks one at a time, and asks again after a while; what is beyond
/// is dropped, as if the authority could not be reached.
const QUESTIONS_WAITING_MAX: usize = 4;

/// So often the authority is looked at although nobody asks: a primary that has everybody asks nothing, and should know that it
/// is gone before it is needed. Seven members are less than one request per second.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// How a store in in-sync mode is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InSync {
    /// What decides; the same for all members.
    pub authority: Place,
    /// So many members stay in sync, whatever happens; at least 1.
    pub min: u8,
}

/// Where the authority is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file. Its folder must exist.
    File(PathBuf),
    /// A Lease of the Kubernetes cluster that this member runs in. It must exist.
    Lease {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The store's name, from which its members have theirs.
        store: String,
    },
}

/// What an authority shows to whoever may want it replaced.
#[derive(Debug)]
struct Seen<'a> {
    /// What it holds.
    held: Option<&'a Held>,
    /// The identity of the authority that this one has taken the place of, as far as this member knows.
    replaces: Option<&'a str>,
}

/// What an authority has answered.
#[derive(Debug)]
enum Consulted {
    /// It holds this, and was not changed.
    Holds(Option<Box<Held>>),
    /// It was changed.
    Replaced,
}

/// One object that changes by compare-and-set.
trait Authority: Send {
    /// What it is, for people.
    fn name(&self) -> String;

    /// Show what it holds to `decide`, and if that wants something else, replace it, by compare-and-set. `decide` may be asked
    /// more than once, if others change it meanwhile. `by_force`: a person has ordered it, and another authority of the name is
    /// as good as the first one.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`]: nobody knows whether it was changed.
    fn consult(
        &mut self,
        by_force: bool,
        decide: &mut dyn FnMut(&Seen<'_>) -> Option<Held>,
    ) -> Result<Consulted, AuthorityError>;
}

/// Why nobody knows what the authority holds, or whether it was changed.
#[derive(Debug, thiserror::Error)]
enum AuthorityError {
    /// The system refuses something.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds something else.
    #[error("{name} is damaged, or was edited; bring it back as it was")]
    Document {
        /// What.
        name: String,
        /// What is wrong with it.
        #[source]
        source: DocumentError,
    },
    /// What it is could not be remembered.
    #[error("cannot write down which authority this is")]
    Remember(#[source] io::Error),
    /// There is nothing to ask with.
    #[error("cannot set up a client of the Kubernetes API server")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The API server refused, or could not be reached.
    #[error("cannot {what} {name}")]
    Api {
        /// What.
        what: &'static str,
        /// Which Lease.
        name: String,
        /// What the API server or the connection to it said.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server did not answer.
    #[error("no answer within {} s when asked to {what} {name}", lease::ASK_MAX.as_secs())]
    Silent {
        /// What.
        what: &'static str,
        /// Which Lease.
        name: String,
    },
    /// Others changed it all the time.
    #[error("{name} changes all the time")]
    Contended {
        /// Which Lease.
        name: String,
    },
    /// The store has not had one yet.
    #[error("{name} is not there yet; the operator makes it")]
    NotYet {
        /// Which Lease.
        name: String,
    },
    /// It was there, and is not any more.
    #[error(
        "{name} was deleted; nobody knows any more who has every write, so nobody can take over or be taken in, and it is not made \
         again: take a backup, then order a start from the member that has most (docs/concepts/in-sync.md)"
    )]
    Gone {
        /// What.
        name: String,
    },
    /// Another one has its name.
    #[error(
        "{name} is another one (uid {uid}) than this member was formed with (uid {known}); it knows nothing of what was \
         committed and is not believed: take a backup, then order a start from the member that has most \
         (docs/concepts/in-sync.md)"
    )]
    Another {
        /// Which Lease.
        name: String,
        /// What it is.
        uid: String,
        /// What it was.
        known: String,
    },
}

impl AuthorityError {
    /// Whether it does not come back by itself.
    fn is_lost(&self) -> bool {
        matches!(
            self,
            AuthorityError::Gone { .. } | AuthorityError::Another { .. } | AuthorityError::Document { .. }
        )
    }
}

/// The authority's answer to the engine.
fn answer(authority: &mut dyn Authority, question: &Question) -> Result<Verdict, AuthorityError> {
    let consulted = authority.consult(false, &mut |seen| {
        let Question::Change(to) = question else { return None };
        let version = seen.held.map_or(0, |held| held.configuration.version);
        let of_this_store = seen.held.is_none_or(|held| held.configuration.store == to.store);
        let forced = seen.held.and_then(|held| held.forced.clone());
        (of_this_store && version + 1 == to.version).then_some(Held { configuration: **to, forced })
    })?;
    Ok(match consulted {
        Consulted::Holds(held) => Verdict::Holds(held.map(|held| Box::new(held.configuration))),
        Consulted::Replaced => Verdict::Changed,
    })
}

/// What the authority's thread is asked.
#[derive(Debug)]
enum Asked {
    Question(QuestionToken, Question),
    Order(Order),
}

/// The way to the authority's thread, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Asker {
    asked: SyncSender<Asked>,
    health: Arc<Mutex<AuthorityStatus>>,
    min: u8,
}

impl Asker {
    /// Start the thread. Answers go into `queue`. `folder` is the member's.
    ///
    /// # Errors
    ///
    /// The system gives no more threads, or what the member remembers of its authority cannot be read.
    pub(crate) fn start(in_sync: &InSync, folder: &Path, queue: Arc<Queue>) -> io::Result<Asker> {
        let known = Known::load(folder)?;
        let mut authority: Box<dyn Authority> = match &in_sync.authority {
            Place::File(path) => Box::new(FileAuthority::at(path.clone(), known)),
            Place::Lease { namespace, name, store } => {
                Box::new(LeaseAuthority::new(namespace, name, store, known)?)
            }
        };
        let (state, note) = (AuthorityState::Unknown, None);
        let health = Arc::new(Mutex::new(AuthorityStatus { name: authority.name(), state, note }));
        let shared = health.clone();
        let (asked, waiting) = sync_channel::<Asked>(QUESTIONS_WAITING_MAX);
        thread::Builder::new().name("authority".to_owned()).spawn(move || {
            loop {
                match waiting.recv_timeout(LOOK_INTERVAL) {
                    Ok(Asked::Question(token, question)) => {
                        let answered = answer(&mut *authority, &question);
                        note_down(&shared, answered.as_ref().err());
                        let verdict = answered.unwrap_or(Verdict::Unknown);
                        if queue.push_always(Event::Authority { token, verdict }).is_err() {
                            break; // the core has ended
                        }
                    }
                    Ok(Asked::Order(order)) => forced::carry_out(&mut *authority, order),
                    Err(RecvTimeoutError::Timeout) => {
                        note_down(&shared, answer(&mut *authority, &Question::Read).err().as_ref());
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
        })?;
        Ok(Asker { asked, health, min: in_sync.min })
    }

    /// Ask.
    pub(crate) fn ask(&self, token: QuestionToken, question: Question) {
        if self.asked.try_send(Asked::Question(token, question)).is_err() {
            tracing::warn!(
                "the authority does not answer; a question to it is dropped and asked again later"
            );
        }
    }

    /// Pass on a person's order to start from this member. What becomes of it goes to whoever gave it.
    pub(crate) fn order(&self, order: Order) {
        if let Err(error) = self.asked.try_send(Asked::Order(order)) {
            let (std::sync::mpsc::TrySendError::Full(asked)
            | std::sync::mpsc::TrySendError::Disconnected(asked)) = error;
            if let Asked::Order(order) = asked {
                order.refuse("the authority does not answer at the moment".to_owned());
            }
        }
    }

    /// How it is with the authority.
    pub(crate) fn status(&self) -> AuthorityStatus {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// So many members stay in sync, whatever happens.
    pub(crate) fn min(&self) -> u8 {
        self.min
    }
}

/// Write down how it is with the authority, and say it once.
fn note_down(health: &Mutex<AuthorityStatus>, error: Option<&AuthorityError>) {
    let (state, note) = match error {
        None => (AuthorityState::Reachable, None),
        Some(error) if error.is_lost() => (AuthorityState::Lost, Some(chain(error))),
        Some(error) => (AuthorityState::Unreachable, Some(chain(error))),
    };
    let mut health = health.lock().unwrap_or_else(PoisonError::into_inner);
    let changed = health.state != state || health.note != note;
    (health.state, health.note) = (state, note);
    if !changed {
        return;
    }
    let reason = health.note.clone().unwrap_or_default();
    match state {
        AuthorityState::Lost => tracing::error!(reason, "the authority is lost"),
        AuthorityState::Unreachable => tracing::warn!(reason, "the authority cannot be asked"),
        AuthorityState::Reachable => tracing::info!(authority = health.name, "the authority answers"),
        AuthorityState::Unknown => {}
    }
}

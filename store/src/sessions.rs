//! Exactly once: [`Sessions`] remembers each session's latest command and what came of it.
//!
//! Sessions are forgotten by log position, never by a clock: the one whose latest command is furthest back goes first
//! when there are too many. A forgotten session is told so, never silently begun anew. It refuses to remember more
//! than the latest command of a session.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_engine::Index;

use crate::tree::Tree;
use crate::{ITEM_BYTES, Limits, Outcome, Reason, SessionId, Stamp, TxnResult};

/// A session's latest command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) sequence: u64,
    /// The last log entry that carried a command of the session.
    pub(crate) used: Index,
    /// Shared, because some are large.
    pub(crate) outcome: Arc<Outcome>,
}

/// Sessions by id. A copy costs nothing and shows for ever what was there.
#[derive(Clone, Debug, Default)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub(crate) struct Table {
    /// By the bytes of the id, whose order is that of the ids.
    sessions: Tree<Session>,
}

/// All sessions.
///
/// Invariants: `order` has each session once, by its `used`; `bytes` is the sum over the outcomes' sizes.
#[derive(Clone, Debug, Default)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub(crate) struct Sessions {
    table: Table,
    order: BTreeMap<Index, SessionId>,
    bytes: u64,
}

/// What is to be done with a stamped command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Execute it.
    Fresh,
    /// It was executed before, with this outcome.
    Repeated(Outcome),
    /// Do nothing.
    Refused(Reason),
}

/// How to undo what one command did to the sessions.
#[derive(Clone, Debug)]
pub(crate) enum SessionUndo {
    /// The session's latest command came again.
    Touched { session: SessionId, used: Index },
    /// The session got a new latest command, and others were forgotten for it.
    Recorded { session: SessionId, previous: Option<Session>, forgotten: Vec<(SessionId, Session)> },
}

/// What a remembered outcome counts: what it holds beyond its own size, and [`ITEM_BYTES`].
fn size(outcome: &Outcome) -> u64 {
    let beyond: usize = match outcome {
        Outcome::Refused(Reason::DuplicateKey { key }) => key.len(),
        Outcome::Txn { results, .. } => {
            results.iter().map(|result| size_of::<TxnResult>() + got(result)).sum()
        }
        _ => 0,
    };
    beyond as u64 + ITEM_BYTES
}

fn got(result: &TxnResult) -> usize {
    let TxnResult::Got { items, .. } = result else { return 0 };
    items.iter().map(|item| item.key.len() + item.value.len() + ITEM_BYTES as usize).sum()
}

impl Table {
    fn get(&self, SessionId(id): SessionId) -> Option<&Session> {
        self.sessions.get(&id.to_be_bytes())
    }

    fn get_mut(&mut self, SessionId(id): SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(&id.to_be_bytes())
    }

    fn insert(&mut self, SessionId(id): SessionId, session: Session) -> Option<Session> {
        self.sessions.insert(&id.to_be_bytes(), session)
    }

    fn remove(&mut self, SessionId(id): SessionId) -> Option<Session> {
        self.sessions.remove(&id.to_be_bytes())
    }

    /// Sessions by id, from the one after `after` on.
    pub(crate) fn after(&self, after: Option<SessionId>) -> impl Iterator<Item = (SessionId, &Session)> {
        let start = after.map(|SessionId(id)| id.to_be_bytes());
        let start = start.as_ref().map_or(&b""[..], |start| start);
        let walk = self.sessions.walk(start, after.is_some());
        walk.map(|(id, session)| (id_of(id), session))
    }
}

fn id_of(key: &[u8]) -> SessionId {
    SessionId(u128::from_be_bytes(key.try_into().expect("keys of the table are ids")))
}

impl Sessions {
    pub(crate) fn len(&self) -> usize {
        self.table.sessions.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is to be done with a command that carries `stamp`.
    pub(crate) fn judge(&self, stamp: Stamp) -> Verdict {
        match self.table.get(stamp.session) {
            None if stamp.sequence == 1 => Verdict::Fresh,
            None => Verdict::Refused(Reason::SessionExpired),
            Some(session) if stamp.sequence > session.sequence => Verdict::Fresh,
            Some(session) if stamp.sequence == session.sequence => {
                Verdict::Repeated(Outcome::clone(&session.outcome))
            }
            Some(session) => Verdict::Refused(Reason::StaleSequence { last: session.sequence }),
        }
    }

    /// The session's latest command came again at `index`.
    pub(crate) fn touch(&mut self, session: SessionId, index: Index) -> SessionUndo {
        let used = self.renew(session, index);
        SessionUndo::Touched { session, used }
    }

    /// The session's latest command is now the one at `index`.
    pub(crate) fn record(
        &mut self,
        stamp: Stamp,
        outcome: Outcome,
        index: Index,
        limits: &Limits,
    ) -> SessionUndo {
        let latest = Session { sequence: stamp.sequence, used: index, outcome: Arc::new(outcome) };
        let previous = self.insert(stamp.session, latest);
        let mut forgotten = Vec::new();
        while self.table.sessions.len() > 1
            && (self.table.sessions.len() > limits.sessions || self.bytes > limits.sessions_bytes)
        {
            // The newest is the last in order, and there is another: it is never the one that goes.
            let (_, &oldest) = self.order.first_key_value().expect("as many as in the table");
            forgotten.push((oldest, self.remove(oldest).expect("the order names what is there")));
        }
        SessionUndo::Recorded { session: stamp.session, previous, forgotten }
    }

    /// Undo the newest change.
    pub(crate) fn undo(&mut self, undo: SessionUndo) {
        match undo {
            SessionUndo::Touched { session, used } => {
                self.renew(session, used);
            }
            SessionUndo::Recorded { session, previous, forgotten } => {
                self.remove(session);
                for (session, state) in
                    previous.map(|previous| (session, previous)).into_iter().chain(forgotten)
                {
                    self.insert(session, state);
                }
            }
        }
    }

    /// Add a session, or replace it; what it was before.
    pub(crate) fn insert(&mut self, session: SessionId, state: Session) -> Option<Session> {
        let before = self.remove(session);
        self.bytes += size(&state.outcome);
        let other = self.order.insert(state.used, session);
        assert!(other.is_none(), "an entry carries one command");
        self.table.insert(session, state);
        before
    }

    /// Whether some session's latest command came at `index`.
    pub(crate) fn used_at(&self, index: Index) -> bool {
        self.order.contains_key(&index)
    }

    /// The last session by id.
    pub(crate) fn last(&self) -> Option<SessionId> {
        self.table.sessions.last().map(id_of)
    }

    /// What the table was before these changes, the newest first.
    pub(crate) fn before<'a>(&self, changes: impl Iterator<Item = &'a SessionUndo>) -> Table {
        let mut table = self.table.clone();
        for change in changes {
            match change {
                SessionUndo::Touched { session, used } => {
                    table.get_mut(*session).expect("a session that was touched").used = *used;
                }
                SessionUndo::Recorded { session, previous, forgotten } => {
                    table.remove(*session);
                    let previous = previous.iter().map(|previous| (session, previous));
                    let forgotten = forgotten.iter().map(|(session, state)| (session, state));
                    previous.chain(forgotten).for_each(|(session, state)| {
                        table.insert(*session, state.clone());
                    });
                }
            }
        }
        table
    }

    fn remove(&mut self, session: SessionId) -> Option<Session> {
        let state = self.table.remove(session)?;
        self.order.remove(&state.used);
        self.bytes -= size(&state.outcome);
        Some(state)
    }

    fn renew(&mut self, session: SessionId, used: Index) -> Index {
        let state = self.table.get_mut(session).expect("a session that was just found");
        let before = std::mem::replace(&mut state.used, used);
        self.order.remove(&before);
        self.order.insert(used, session);
        before
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{KeyValue, Revision};

    fn stamp(session: u128, sequence: u64) -> Stamp {
        Stamp { session: SessionId(session), sequence }
    }

    fn outcome(revision: u64) -> Outcome {
        Outcome::Put { revision: Revision(revision), previous: None }
    }

    fn limits(sessions: usize, sessions_bytes: u64) -> Limits {
        Limits { sessions, sessions_bytes, ..Limits::default() }
    }

    #[test]
    fn a_sequence_is_fresh_once_then_repeated_then_stale() {
        let mut sessions = Sessions::default();
        let limits = limits(10, u64::MAX);
        assert_eq!(sessions.judge(stamp(7, 2)), Verdict::Refused(Reason::SessionExpired));
        assert_eq!(sessions.judge(stamp(7, 1)), Verdict::Fresh);
        sessions.record(stamp(7, 1), outcome(2), Index(1), &limits);
        assert_eq!(sessions.judge(stamp(7, 1)), Verdict::Repeated(outcome(2)));
        assert_eq!(sessions.judge(stamp(7, 5)), Verdict::Fresh, "sequences may leave gaps");
        sessions.record(stamp(7, 5), outcome(3), Index(2), &limits);
        assert_eq!(sessions.judge(stamp(7, 5)), Verdict::Repeated(outcome(3)));
        assert_eq!(sessions.judge(stamp(7, 4)), Verdict::Refused(Reason::StaleSequence { last: 5 }));
        assert_eq!(sessions.judge(stamp(8, 5)), Verdict::Refused(Reason::SessionExpired));
    }

    #[test]
    fn the_longest_silent_session_is_forgotten_first() {
        let mut sessions = Sessions::default();
        let limits = limits(2, u64::MAX);
        sessions.record(stamp(1, 1), outcome(2), Index(1), &limits);
        sessions.record(stamp(2, 1), outcome(3), Index(2), &limits);
        sessions.touch(SessionId(1), Index(3));
        sessions.record(stamp(3, 1), outcome(4), Index(4), &limits);
        assert_eq!(sessions.judge(stamp(2, 2)), Verdict::Refused(Reason::SessionExpired));
        assert_eq!(sessions.judge(stamp(1, 1)), Verdict::Repeated(outcome(2)));
        assert_eq!(sessions.len(), 2);
    }

    #[test]
    fn large_outcomes_push_others_out_but_never_themselves() {
        let mut sessions = Sessions::default();
        let limits = limits(10, 3 * ITEM_BYTES);
        for session in 1..=3 {
            sessions.record(stamp(session, 1), outcome(2), Index(session as u64), &limits);
        }
        assert_eq!(sessions.len(), 3);
        let value = Bytes::from(vec![0; 1000]);
        let item = KeyValue {
            key: Bytes::from_static(b"k"),
            value,
            create_revision: Revision(2),
            mod_revision: Revision(2),
            version: 1,
        };
        let results = vec![TxnResult::Got { items: vec![item], more: false }];
        let large = Outcome::Txn { revision: Revision(9), succeeded: true, results };
        let undo = sessions.record(stamp(4, 1), large.clone(), Index(4), &limits);
        assert_eq!(sessions.len(), 1);
        assert_eq!(sessions.judge(stamp(4, 1)), Verdict::Repeated(large));
        sessions.undo(undo);
        assert_eq!((sessions.len(), sessions.bytes()), (3, 3 * ITEM_BYTES));
    }

    #[test]
    fn undone_in_reverse_every_state_comes_back() {
        let limits = limits(3, u64::MAX);
        let mut sessions = Sessions::default();
        let mut states = Vec::new();
        for index in 1..200u64 {
            states.push(sessions.clone());
            let session = u128::from(index * 7 % 5);
            let undo = match sessions.judge(stamp(session, index / 20 + 1)) {
                Verdict::Repeated(_) => sessions.touch(SessionId(session), Index(index)),
                _ => sessions.record(stamp(session, index / 20 + 1), outcome(index), Index(index), &limits),
            };
            let mut undone = sessions.clone();
            undone.undo(undo);
            assert_eq!(Some(&undone), states.last(), "index {index}");
        }
    }
}

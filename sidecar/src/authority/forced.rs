//! A person's order to start from this member, although it may have lost writes that others have.
//!
//! It is never automatic. It names the epoch that it ends, so that it works once: the epoch that follows is a higher one. It stays in
//! the authority for good, and in this member's log. It refuses to be given while somebody leads.

use holdfast_api::ForcedStart;
use holdfast_engine::{Configuration, MemberId, Membership, StoreId, Term};
use tokio::sync::oneshot;

use super::document::Held;
use super::{Authority, Consulted};
use crate::core::{Failure, RefusalCode};
use crate::listener::chain;

/// An order.
#[derive(Debug)]
pub(crate) struct Order {
    /// This member.
    pub(crate) me: MemberId,
    /// Its store.
    pub(crate) store: StoreId,
    /// The highest term that it knows.
    pub(crate) term: Term,
    /// The epoch that the order ends.
    pub(crate) epoch: Term,
    /// Where to answer.
    pub(crate) reply: oneshot::Sender<Result<ForcedStarted, Failure>>,
}

/// An order that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForcedStarted {
    /// The epoch that has ended.
    pub ended: Term,
    /// The epoch that the authority has given.
    pub epoch: Term,
}

impl Order {
    /// It is not carried out.
    pub(crate) fn refuse(self, detail: String) {
        let _ = self.reply.send(Err(refused(detail)));
    }
}

fn refused(detail: String) -> Failure {
    Failure::Refused { code: RefusalCode::ForceRefused, detail, retryable: false, retry_after: None }
}

/// Carry out an order, and answer it.
pub(super) fn carry_out(authority: &mut dyn Authority, order: Order) {
    let result = force(authority, &order);
    match &result {
        Ok(ForcedStarted { ended, epoch }) => tracing::warn!(
            member = %order.me,
            %ended,
            %epoch,
            "a person ordered to start from this member, which may have lost writes; what only others have is lost"
        ),
        Err(failure) => tracing::warn!(?failure, "an order to start from this member was not carried out"),
    }
    let _ = order.reply.send(result);
}

fn force(authority: &mut dyn Authority, order: &Order) -> Result<ForcedStarted, Failure> {
    let Order { me, store, term, epoch, .. } = *order;
    if epoch < term {
        return Err(refused(format!(
            "the order names epoch {epoch} and this member is in epoch {term}: look again what has happened, and name that one"
        )));
    }
    let mut objection = None;
    let next = epoch.next();
    let consulted = authority.consult(true, &mut |seen| {
        let held = seen.held.map(|held| held.configuration);
        objection = match held {
            Some(held) if held.store != store => {
                Some(format!("the authority is that of another store, {}", held.store))
            }
            Some(held) if held.term > epoch => Some(format!(
                "the order names epoch {epoch} and the authority is in epoch {}: look again what has happened, and name that one",
                held.term
            )),
            _ => None,
        };
        if objection.is_some() {
            return None;
        }
        let version = held.map_or(0, |held| held.version) + 1;
        let in_sync = Membership::only([me]);
        let replaces = seen.replaces.map(str::to_owned);
        let forced = ForcedStart { member: me.to_string(), epoch: epoch.0, replaces };
        let ended = Some(epoch);
        let configuration = Configuration { store, version, term: next, primary: me, in_sync, forced: ended };
        Some(Held { configuration, forced: Some(forced) })
    });
    match (consulted, objection) {
        (_, Some(objection)) => Err(refused(objection)),
        (Ok(Consulted::Replaced), None) => Ok(ForcedStarted { ended: epoch, epoch: next }),
        (Ok(Consulted::Holds(_)), None) => unreachable!("what was not refused is replaced"),
        (Err(error), None) => Err(Failure::Unknown { detail: chain(&error) }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::{configuration, held};
    use super::super::file::FileAuthority;
    use super::super::known::Known;
    use super::super::{AuthorityError, answer};
    use super::*;
    use holdfast_engine::{Incarnation, Ordinal, Question, Verdict};

    fn order(store: u128, term: u64, epoch: u64) -> Order {
        let me = MemberId { ordinal: Ordinal(1), incarnation: Incarnation(0xabc) };
        let (reply, _) = oneshot::channel();
        Order { me, store: StoreId(store), term: Term(term), epoch: Term(epoch), reply }
    }

    #[test]
    fn an_order_works_once_and_stays_written_down() -> Result<(), AuthorityError> {
        let folder = tempfile::tempdir().expect("a folder");
        let known = Known::load(folder.path()).expect("readable");
        let mut authority = FileAuthority::at(folder.path().join("authority"), known);
        let first = Question::Change(Box::new(configuration(1)));
        assert_eq!(answer(&mut authority, &first)?, Verdict::Changed);
        assert_eq!(held(1).configuration.term, Term(3));
        let mut order_it = |order: Order| force(&mut authority, &order);
        for wrong in [order(7, 3, 2), order(7, 2, 2), order(8, 3, 3), order(7, 4, 3)] {
            assert!(matches!(order_it(wrong), Err(Failure::Refused { .. })));
        }
        let started = order_it(order(7, 2, 3)).expect("it is carried out");
        assert_eq!(started, ForcedStarted { ended: Term(3), epoch: Term(4) });
        assert!(matches!(order_it(order(7, 4, 3)), Err(Failure::Refused { .. })), "once");
        let Verdict::Holds(Some(holds)) = answer(&mut authority, &Question::Read)? else {
            panic!("it holds")
        };
        assert_eq!((holds.version, holds.term, holds.in_sync.len()), (2, Term(4), 1));
        assert_eq!(holds.forced, Some(Term(3)), "who has committed more in it learns that");
        // What follows keeps the order in sight.
        let next = Question::Change(Box::new(Configuration { version: 3, term: Term(5), ..*holds }));
        assert_eq!(answer(&mut authority, &next)?, Verdict::Changed);
        let text = std::fs::read_to_string(folder.path().join("authority")).expect("readable");
        assert!(text.contains("\"forced\"") && text.contains("\"epoch\": 3"), "{text}");
        Ok(())
    }
}

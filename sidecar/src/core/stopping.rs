//! The end of a member that is told to stop: hand over, finish what is under way, answer what cannot be finished, and
//! take leave of the others.
//!
//! Taking leave is for requests that were passed on to this member at the last moment, when it did not lead any more or
//! had answered already: a connection that just ends may take an answer with it, or bring a request to nobody, and then
//! nobody could tell what became of it.

use std::time::Duration;

use holdfast_engine::{Input, MEMBERS_MAX, Moment, Ordinal};
use holdfast_wire::Frame;
use tokio::sync::oneshot;

use super::Core;
use super::disk::Left;
use super::handle::Failure;
use super::held::Request;
use crate::peers::Pushed;

/// How long, beyond an election timeout, a hand-over may take before the member stops as the leader that it is.
const HAND_OVER_MARGIN: Duration = Duration::from_millis(300);

/// How long requests that are under way may hold up the end. Kubernetes gives a pod 30 s altogether, and whoever
/// started this member closes its listeners within them too.
const FINISH_TIME_MAX: Duration = Duration::from_secs(5);

/// How long the last checkpoint of a store without a log may hold up the end: without it everything since the one
/// before is lost.
const LAST_CHECKPOINT_TIME_MAX: Duration = Duration::from_secs(15);

/// How long the others may take to say farewell. They have nothing to do but answer.
const FAREWELL_TIME_MAX: Duration = Duration::from_millis(500);

/// How often to look whether everything is done.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// A member that has been told to stop.
#[derive(Debug)]
pub(super) struct Stopping {
    replies: Vec<oneshot::Sender<()>>,
    hand_over_until: Moment,
    finish_until: Moment,
    checkpoint_until: Moment,
    leave: Option<Leave>,
}

/// A member that takes leave.
#[derive(Debug)]
struct Leave {
    /// Who has not said farewell, by ordinal.
    waits_for: [bool; MEMBERS_MAX],
    until: Moment,
}

impl Stopping {
    pub(super) fn next_look(&self, now: Moment) -> Moment {
        now + LOOK_PAUSE
    }
}

impl Core {
    /// Begin to stop.
    pub(super) fn stop(&mut self, reply: oneshot::Sender<()>) {
        if let Some(stopping) = &mut self.stopping {
            return stopping.replies.push(reply);
        }
        tracing::info!(role = self.role.name(), "stopping");
        self.stopping = Some(Stopping {
            replies: vec![reply],
            hand_over_until: self.now + self.election_timeout + HAND_OVER_MARGIN,
            finish_until: self.now + FINISH_TIME_MAX,
            checkpoint_until: self.now + LAST_CHECKPOINT_TIME_MAX,
            leave: None,
        });
        self.watches.end();
        self.follows.end();
        self.step_aside();
    }

    /// Let another member lead, if this one does and there is one. Requests go on, over the next leader.
    pub(super) fn step_aside(&mut self) {
        if self.voters.len() > 1 {
            self.step(Input::HandOver { to: None });
        }
    }

    /// Whether a voter is connected that could lead instead of this one.
    fn has_heir(&self) -> bool {
        let mut others = self.voters.voters().filter(|voter| *voter != self.me);
        others.any(|voter| self.peers.link(voter.ordinal).is_connected())
    }

    /// Whether the member has stopped being needed, or has no more time.
    pub(super) fn is_over(&mut self) -> bool {
        let Some(stopping) = &self.stopping else { return false };
        let now = self.now;
        // When all members are told to stop at once, nobody is left to wait for.
        let has_time = now < stopping.hand_over_until && self.has_heir();
        let hands_over = self.engine.role().is_leader() && has_time;
        let waits_for_leader = self.held.count() > 0 && has_time;
        let finishes = self.writes.count() + self.forwarded.count() + self.reads.count() > 0
            && now < stopping.finish_until;
        if hands_over || waits_for_leader || finishes || !self.has_taken_leave() {
            return false;
        }
        let Some(stopping) = &self.stopping else { return false };
        let (checkpoint_until, committed) = (stopping.checkpoint_until, self.committed_position());
        if !self.log_kept && self.members == 1 && now < checkpoint_until {
            // What was written until now is in it, and nothing is written any more.
            self.checkpoints.want_one(committed);
            return !self.checkpoints.is_busy();
        }
        true
    }

    /// Whether nobody passes anything on to this member any more, or has had the time to say so. Tells them when it is
    /// asked for the first time.
    fn has_taken_leave(&mut self) -> bool {
        let now = self.now;
        let Some(stopping) = &self.stopping else { return true };
        if let Some(Leave { waits_for, until }) = &stopping.leave {
            let connected = |ordinal: usize| self.peers.link(Ordinal(ordinal as u8)).is_connected();
            return now >= *until
                || !(0..MEMBERS_MAX).any(|ordinal| waits_for[ordinal] && connected(ordinal));
        }
        let mut waits_for = [false; MEMBERS_MAX];
        // Those without a vote pass their clients' requests on, too.
        let others: Vec<Ordinal> = self.other_ordinals().collect();
        for other in others {
            let ordinal = usize::from(other.0);
            waits_for[ordinal] = self.peers.link(other).push(&Frame::Leaving) == Pushed::Sent;
            self.unflushed[ordinal] = true;
        }
        if let Some(stopping) = &mut self.stopping {
            stopping.leave = Some(Leave { waits_for, until: now + FAREWELL_TIME_MAX });
        }
        self.flush();
        !waits_for.contains(&true)
    }

    /// A peer is about to end.
    pub(super) fn peer_leaves(&mut self, from: Ordinal) {
        let ordinal = usize::from(from.0);
        self.leaving[ordinal] = true;
        self.peers.link(from).push(&Frame::Farewell);
        self.unflushed[ordinal] = true;
    }

    /// A peer has heard that this member is about to end.
    pub(super) fn farewell_heard(&mut self, from: Ordinal) {
        if let Some(Stopping { leave: Some(leave), .. }) = &mut self.stopping {
            leave.waits_for[usize::from(from.0)] = false;
        }
    }

    /// Answer everybody who still waits, and end the writer's thread; what is on the disk is left so.
    pub(super) fn finish(mut self, left: &Left) {
        self.watches.end();
        self.follows.end();
        let mut done = std::mem::take(&mut self.done);
        self.writes.abandon(&mut done);
        for (write, _) in &mut done {
            write.deadline = self.now; // nobody is left to ask again
        }
        self.done = done;
        self.answer_done();
        let proposals = std::mem::take(&mut self.proposals);
        for write in self.held.take().into_iter().chain(proposals) {
            self.answer_write(write, Err(Failure::stopping()));
        }
        for request in self.forwarded.abandon() {
            let detail = "the member stopped before the leader answered".to_owned();
            match request {
                Request::Write(write) => self.answer_write(write, Err(Failure::Unknown { detail })),
                Request::HandOver(hand_over) => {
                    self.answer_hand_over(hand_over.asker, Err(Failure::Unknown { detail }));
                }
            }
        }
        for hand_over in std::mem::take(&mut self.hand_overs) {
            self.answer_hand_over(hand_over.asker, Err(Failure::stopping()));
        }
        for read in self.reads.abandon() {
            read.client.answer(Err(Failure::stopping()), &mut self.unsent);
        }
        self.flush();
        self.queue.close();
        self.disk.stop(left);
        for reply in self.stopping.into_iter().flat_map(|stopping| stopping.replies) {
            let _ = reply.send(());
        }
    }
}

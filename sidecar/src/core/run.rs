//! The core's loop: take what happened, let the engine decide, carry out what it says, once per round.
//!
//! A round takes everything that waits, so that under load one write to the disk, one message to each peer and one
//! look at the waiting requests serve hundreds of clients. The loop waits for nothing but its queue.

use std::time::{Duration, Instant};

use holdfast_engine::{Input, Moment, Ordinal};
use holdfast_wire::REPAIR_BYTES_MAX;
use tokio::runtime::Runtime;

use super::Core;
use super::asking::{Asker, Client, HandOver, Write};
use super::disk::Left;
use super::event::Event;
use super::handle::{WriteRequest, Written};
use super::member_error::Broken;
use crate::native::{Asked, Wish};

/// The core looks around at least so often, although nothing is due; clocks of suspended machines jump.
const NAP_MAX: Duration = Duration::from_millis(500);

/// How a core that did not break ended.
enum End {
    /// As it was told to.
    Stopped,
    /// As a crash would end it.
    Crashed,
}

impl Core {
    /// Run until the member is told to stop or something breaks.
    ///
    /// `runtime` is the core's own: while the core waits, its thread serves the connections that were given to it.
    pub(crate) fn run(mut self, runtime: &Runtime) -> Result<(), Broken> {
        let result = self.run_rounds(runtime);
        match &result {
            Ok(End::Stopped) => {
                self.finish(&Left::AsItIs);
                tracing::info!("stopped");
            }
            Ok(End::Crashed) => {}
            Err(error) => {
                tracing::error!(reason = crate::listener::chain(error), "the member cannot go on");
                let left = match error {
                    Broken::OldDisk { .. } => Left::Renounced,
                    Broken::Overruled { .. } => Left::PutAside(error.to_string()),
                    _ => Left::AsItIs,
                };
                self.finish(&left);
            }
        }
        result.map(|_| ())
    }

    fn run_rounds(&mut self, runtime: &Runtime) -> Result<End, Broken> {
        let mut events = Vec::new();
        loop {
            runtime.block_on(self.queue.arrival(self.nap()));
            self.queue.take(&mut events);
            self.now = self.clock.now();
            if self.now >= self.engine.deadline() {
                self.step(Input::Tick);
            }
            for event in events.drain(..) {
                if matches!(event, Event::Crash) {
                    return Ok(End::Crashed);
                }
                self.handle(event)?;
            }
            self.deliver_held_back();
            self.ask_for_reads();
            self.carry_out()?;
            self.expire();
            if self.leavers_until.is_some_and(|until| until <= self.now) {
                self.wait_for_no_leavers();
            }
            if self.disk.is_full() {
                self.checkpoints.want_for_space();
            }
            self.begin_checkpoint_if_due();
            self.watches.catch_up(&self.store, self.committed_revision(), self.now, &self.metrics);
            self.follows.publish(&self.store);
            self.carry_out()?;
            if self.is_over() {
                return Ok(End::Stopped);
            }
        }
    }

    /// How long the core may sleep if nothing happens.
    fn nap(&self) -> Duration {
        let deadlines = [
            Some(self.engine.deadline()),
            self.writes.deadline(),
            self.held.deadline(),
            self.forwarded.deadline(),
            self.leaderless.deadline(),
            self.reads.deadline(),
            self.watches.deadline(),
            self.leavers_until,
            self.delays.deadline(),
            self.checkpoints.deadline(),
            self.hand_overs.iter().map(|hand_over| hand_over.deadline).min(),
            self.stopping.as_ref().map(|stopping| stopping.next_look(self.now)),
        ];
        let now = self.clock.now();
        deadlines.into_iter().flatten().min().map_or(NAP_MAX, |deadline| (deadline - now).min(NAP_MAX))
    }

    fn handle(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Write { request, reply } => self.client_writes(request, Client::Task(reply)),
            Event::Read { request, reply } => self.read(request, Client::Task(reply)),
            Event::Asked { outbox, asked } => {
                for Asked { id, bytes, wish } in asked {
                    let outbox = outbox.clone();
                    match wish {
                        Wish::Write(request) => {
                            let repeatable = request.retryable;
                            self.client_writes(request, Client::Connection { outbox, id, bytes, repeatable });
                        }
                        Wish::Read(request) => {
                            self.read(request, Client::Connection { outbox, id, bytes, repeatable: true });
                        }
                    }
                }
            }
            Event::Watch { from, prefix, reply } => {
                let revision = self.committed_revision();
                let _ = reply.send(self.watches.begin(&self.store, revision, from, prefix, self.now));
            }
            Event::Follow { log, reply } => {
                let _ = reply.send(self.follows.begin(&self.store, log));
            }
            Event::Status { reply } => {
                let _ = reply.send(self.status());
            }
            Event::Figures { reply } => {
                let _ = reply.send(self.figures());
            }
            Event::History { reply } => {
                let _ = reply.send(self.history.happenings(self.now));
            }
            Event::Checkpoint { reply } => self.checkpoint_wanted(reply),
            Event::VerifyCheckpoint { position, reply } => self.checkpoints.verify(position, reply),
            Event::HandOver { to, timeout, reply } => {
                let deadline = self.now + timeout;
                self.hand_over(HandOver { to, deadline, asker: Asker::Client(Client::Task(reply)) });
            }
            Event::Retime { timing, reply } => {
                self.retime(timing);
                let _ = reply.send(());
            }
            Event::Resize { members, peers, reply } => {
                self.resize(members, peers);
                let _ = reply.send(());
            }
            Event::ForceStart { epoch, reply } => self.force_start(epoch, reply),
            Event::Faults { change, reply } => {
                let _ = reply.send(self.change_faults(change));
            }
            Event::StepAside => self.step_aside(),
            Event::ShutDown { reply } => self.stop(reply),
            Event::Durable { result } => {
                let ticket = result.map_err(Broken::Log)?;
                self.step(Input::Durable { ticket });
                self.disk.submit(Vec::new())?;
            }
            Event::Authority { token, verdict } => self.step(Input::Authority { token, verdict }),
            Event::Damaged { damage } => return Err(Broken::Damaged(damage)),
            Event::CheckpointWritten { result } => self.checkpoint_written(result),
            Event::CheckpointFetched { transfer, result } => self.checkpoint_fetched(transfer, result),
            other => self.hear(other)?,
        }
        Ok(())
    }

    fn client_writes(&mut self, request: WriteRequest, client: Client<Written>) {
        let WriteRequest { command, concern, timeout, retryable } = request;
        let deadline = self.now + timeout;
        let asker = Asker::Client(client);
        self.write(Write { command, concern, deadline, retryable, uncertain: false, asker });
    }

    /// What peers say, and what happens to the connections with them.
    fn hear(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Message { from, message } => {
                self.heard[usize::from(from.ordinal.0)] = Some((from, self.now));
                self.receive(from, message);
            }
            Event::Forwarded { from, id, concern, timeout_ms, command } => {
                let deadline = self.now + Duration::from_millis(timeout_ms.into());
                let asker = Asker::Member { ordinal: from, id };
                self.write(Write { command, concern, deadline, retryable: false, uncertain: false, asker });
            }
            Event::HandOverForwarded { from, id, to, timeout_ms } => {
                let deadline = self.now + Duration::from_millis(timeout_ms.into());
                self.hand_over(HandOver { to, deadline, asker: Asker::Member { ordinal: from, id } });
            }
            Event::ForwardReplied { from, id, body } => self.forward_replied(from, id, &body),
            Event::Leaving { from } => self.peer_leaves(from),
            Event::Farewell { from } => self.farewell_heard(from),
            Event::Fingerprint { from, fingerprint } => self.compare(from, fingerprint)?,
            Event::LostEntries { anchor, after, reply } => {
                let _ = reply.send(self.engine.give(anchor, after, REPAIR_BYTES_MAX));
            }
            Event::Reachable { peer } => {
                self.leaving[usize::from(peer.ordinal.0)] = false;
                self.step(Input::Connected { peer });
                self.history.link(self.now, self.term(), peer.ordinal, true);
                // What was asked over the connection before this one may be lost.
                self.reads.ask_again();
                self.release_held();
            }
            Event::Unreachable { peer } => {
                self.history.link(self.now, self.term(), peer, false);
                self.link_lost(peer);
            }
            Event::Lost { peer } => {
                let left = self.leaving[usize::from(peer.ordinal.0)];
                self.step(Input::ConnectionLost { peer, left });
                self.link_lost(peer.ordinal);
            }
            _ => unreachable!("the other events are handled before"),
        }
        Ok(())
    }

    /// Let the engine decide; what it wants done collects until the round's end.
    pub(super) fn step(&mut self, input: Input) {
        self.engine.step(self.now, input, &mut self.effects);
    }

    /// A connection with `peer` ended, in one direction at least: what it was asked may never be answered.
    fn link_lost(&mut self, peer: Ordinal) {
        self.delays.forget(peer);
        for request in self.forwarded.lost(peer) {
            self.forward_lost(request, "the connection to the leader was lost before its answer came");
        }
    }

    /// Everything whose time is up.
    fn expire(&mut self) {
        let mut done = std::mem::take(&mut self.done);
        self.writes.expire(self.now, &mut done);
        self.done = done;
        self.answer_done();
        self.turn_read_only();
        for write in self.held.expire(self.now) {
            self.refuse_without_leader(write);
        }
        for request in self.forwarded.expire(self.now) {
            self.forward_expired(request);
        }
        for read in self.reads.expire(self.now) {
            self.read_expired(read);
        }
        self.expire_hand_overs();
        if self.held.is_due(self.now) {
            self.release_held();
        }
    }
}

/// Moments are counted from the core's start.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    pub(super) fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    pub(super) fn now(&self) -> Moment {
        Moment(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

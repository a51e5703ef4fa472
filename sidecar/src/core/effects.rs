//! Carrying out what the engine wants done, in the order that [`Effects`] demands: to the disk, to the peers, to the
//! state, to those who asked.

use holdfast_engine::{Apply, Checkpoint, Effects, Entry, Index, Input, MemberId, Role, Ticket, Write};
use holdfast_store::Store;
use holdfast_wire::{Fingerprint, Frame};

use super::Core;
use super::fingerprints::Fingerprints;
use super::member_error::Broken;
use super::terms::Terms;
use crate::peers::{self, FetchError, Fetched, Transfer};

impl Core {
    /// Carry out everything that collected, and what follows from it.
    pub(super) fn carry_out(&mut self) -> Result<(), Broken> {
        loop {
            self.propose_collected();
            if is_empty(&self.effects) {
                break;
            }
            let mut effects = std::mem::take(&mut self.effects);
            let durable = self.persist(&mut effects)?;
            self.send(&mut effects);
            for (token, question) in effects.questions.drain(..) {
                if let Some(authority) = &self.authority {
                    authority.ask(token, question);
                }
            }
            self.leave_former_terms(&effects);
            for apply in effects.apply.drain(..) {
                self.apply(apply)?;
            }
            self.answer(&mut effects);
            if let Some(outcast) = effects.outcast {
                return Err(outcast.into());
            }
            if let Some((source, checkpoint)) = effects.fetch.take() {
                self.fetch(source, checkpoint);
            }
            effects.clear();
            if is_empty(&self.effects) {
                self.effects = effects; // with the memory that it has
            }
            if let Some(ticket) = durable {
                self.step(Input::Durable { ticket });
            }
        }
        // A fetched state that the engine has no use for any more.
        self.fetched = None;
        self.answer_done();
        self.serve_reads();
        self.flush();
        Ok(())
    }

    /// Hand the writes to the disk. A member without a log has nothing more durable than its memory, apart from how
    /// its store began: what is durable at once is the last ticket.
    fn persist(&mut self, effects: &mut Effects) -> Result<Option<Ticket>, Broken> {
        let Some(last) = effects.persist.last().map(|persist| persist.ticket) else { return Ok(None) };
        let mut forms = false;
        for persist in &effects.persist {
            if let Write::Formation(formation) = &persist.write {
                tracing::info!(store = %formation.store, voters = formation.voters.len(), "the store is formed");
                self.peers.set_store_id(formation.store);
                self.formation = Some(formation.clone());
                self.wait_for_no_leavers();
                forms = true;
            }
        }
        if self.log_kept || forms {
            self.disk.submit(std::mem::take(&mut effects.persist))?;
            return Ok(None);
        }
        Ok(Some(last))
    }

    /// Hand the messages to the connections. What does not get through is dropped: replication repeats itself.
    fn send(&mut self, effects: &mut Effects) {
        for (to, message) in effects.send.drain(..) {
            self.peers.link(to).push(&Frame::Message(message));
            self.unflushed[usize::from(to.0)] = true;
        }
        self.flush_peers();
    }

    /// Write what was put into the connections' buffers: first to the members, whom others wait for.
    pub(super) fn flush(&mut self) {
        self.flush_peers();
        self.unsent.flush();
    }

    fn flush_peers(&mut self) {
        for (unflushed, ordinal) in self.unflushed.iter_mut().zip(0..) {
            if std::mem::take(unflushed) {
                self.peers.link(holdfast_engine::Ordinal(ordinal)).flush();
            }
        }
    }

    /// Writes of a term that this member does not lead any more wait for their entries to be committed, and watch
    /// from now on what is executed in their places.
    fn leave_former_terms(&mut self, effects: &Effects) {
        if effects.role.is_some_and(|role| role != Role::Leader { term: self.writes.term() }) {
            self.writes.orphan();
        }
    }

    fn apply(&mut self, apply: Apply) -> Result<(), Broken> {
        match apply {
            Apply::Execute(entry) => self.execute(&entry),
            Apply::Rollback(index) => {
                let entries = self.store.executed().0 - index.0;
                self.store.rollback(index);
                self.terms.rolled_back(index);
                self.follows.rolled_back();
                let acknowledged = self.writes.rolled_back(index);
                self.metrics.proposals_rolled_back.add(entries);
                self.metrics.acknowledged_rolled_back.add(acknowledged as u64);
                if acknowledged > 0 {
                    // Whoever asked for a concern of 1 has agreed to this; here it is said that it happened.
                    tracing::warn!(%index, entries, acknowledged, "a failover dropped writes that had been acknowledged with concern 1");
                } else {
                    tracing::info!(%index, entries, "undid writes that were not committed");
                }
            }
            Apply::Commit(index) => self.commit(index),
            Apply::Restore(checkpoint) => self.restore(checkpoint)?,
        }
        Ok(())
    }

    fn execute(&mut self, entry: &Entry) {
        let outcome = self.store.execute(entry);
        self.terms.executed(entry.position());
        self.writes.executed(entry.position(), outcome);
        self.checkpoints.log_grew(entry.record_bytes());
        self.metrics.proposals_applied.increment();
    }

    fn commit(&mut self, index: Index) {
        while let Some(next) = Fingerprints::next(self.store.committed(), index) {
            self.commit_in_store(next);
            let fingerprint = Fingerprint { index: next, hash: self.store.hash() };
            self.fingerprints.take(fingerprint);
            self.peers.set_fingerprint(fingerprint);
        }
        if self.store.committed() < index {
            self.commit_in_store(index);
        }
        let membership = self.engine.membership_at(index);
        if std::mem::replace(&mut self.voters, membership) != membership {
            let voters: Vec<String> = membership.voters().map(|voter| voter.to_string()).collect();
            tracing::info!(%index, voters = voters.join(" "), "the voters have changed");
        }
        self.writes.committed(index, membership.majority() as u8, &mut self.done);
        self.terms.forget_before(index);
    }

    fn commit_in_store(&mut self, index: Index) {
        if self.watches.is_empty() {
            return self.store.commit_unwatched(index);
        }
        let events = self.store.commit(index);
        self.watches.publish(&events, self.now, &self.metrics);
    }

    fn restore(&mut self, checkpoint: Checkpoint) -> Result<(), Broken> {
        let fetched = self.fetched.take().filter(|(fetched, _)| *fetched == checkpoint);
        let (_, store) = fetched.ok_or(Broken::NoSuchCheckpoint { position: checkpoint.position })?;
        self.checkpoints.give_up();
        let before: Store = std::mem::replace(&mut self.store, *store);
        // Taking a large state apart takes a while; nobody has to wait for it.
        let _ = std::thread::Builder::new().name("old-state".to_owned()).spawn(move || drop(before));
        tracing::info!(position = %checkpoint.position, "the state was replaced by a fetched checkpoint");
        self.terms = Terms::after(checkpoint.position);
        self.fingerprints.clear();
        self.writes.restored(checkpoint.position.index, &mut self.done);
        self.watches.restored(self.now);
        self.follows.rolled_back();
        Ok(())
    }

    /// Tell those who asked what has become known.
    fn answer(&mut self, effects: &mut Effects) {
        if let Some(progress) = effects.progress {
            self.writes.progressed(progress, self.now, &self.metrics, &mut self.done);
        }
        for (token, index) in effects.reads.drain(..) {
            self.reads.answered(token, index, self.now);
        }
        if let Some(role) = effects.role {
            self.role_changed(role);
        }
        self.answer_done();
    }

    fn role_changed(&mut self, role: Role) {
        let after = role.leader(self.me);
        self.leaderless.look(after.is_some(), self.now);
        let term = self.term();
        if matches!(role, Role::Candidate { .. }) && !matches!(self.role, Role::Candidate { .. }) {
            self.metrics.campaigns.increment();
        }
        if after.is_some_and(|leader| self.last_leader.replace((leader, term)) != Some((leader, term))) {
            self.metrics.leader_changes.increment();
        }
        let leader = after.map(|leader| leader.to_string());
        self.history.leader(self.now, term, after.map(|leader| leader.ordinal));
        // Without a majority members campaign again and again; what matters is who leads.
        if after != self.role.leader(self.me) {
            tracing::info!(role = role.name(), term = term.0, leader, "the leader has changed");
        } else {
            tracing::debug!(role = role.name(), term = term.0, leader, "the role has changed");
        }
        if after != self.role.leader(self.me) {
            self.reads.ask_again();
        }
        self.role = role;
        self.checkpoints.lead(after == Some(self.me));
        let Some(leader) = after else { return };
        self.reads.ask_now();
        if leader == self.me {
            self.delays.clear();
        } else {
            self.handed_over(leader.ordinal, term);
        }
        self.forward_again(leader.ordinal);
        self.release_held();
    }

    /// Fetch a checkpoint beside everything else. A newer wish replaces an older one.
    fn fetch(&mut self, source: MemberId, checkpoint: Checkpoint) {
        tracing::info!(%source, position = %checkpoint.position, "fetching a checkpoint");
        self.fetching = Some(peers::fetch(self.peers.clone(), source, checkpoint));
    }

    pub(super) fn checkpoint_fetched(&mut self, transfer: u64, result: Result<Fetched, FetchError>) {
        if self.fetching.take_if(|fetching: &mut Transfer| fetching.id() == transfer).is_none() {
            return; // replaced by a newer wish
        }
        match result {
            Ok(Fetched { checkpoint, file, store }) => {
                tracing::info!(position = %checkpoint.position, bytes = file.bytes, "fetched a checkpoint");
                self.checkpoints.fetched(file);
                self.fetched = Some((checkpoint, store));
                self.step(Input::CheckpointFetched { checkpoint });
            }
            Err(error) => {
                tracing::warn!(reason = crate::listener::chain(&error), "could not fetch a checkpoint");
                self.step(Input::CheckpointFailed);
            }
        }
    }
}

fn is_empty(effects: &Effects) -> bool {
    effects.persist.is_empty()
        && effects.send.is_empty()
        && effects.apply.is_empty()
        && effects.accepted.is_empty()
        && effects.refused.is_empty()
        && effects.reads.is_empty()
        && effects.fetch.is_none()
        && effects.questions.is_empty()
        && effects.progress.is_none()
        && effects.role.is_none()
        && effects.outcast.is_none()
}

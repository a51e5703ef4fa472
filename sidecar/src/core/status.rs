//! What a member says of itself.

use std::time::Duration;

use holdfast_api::Strategy;
use holdfast_api::http::{
    CheckpointStatus, InSync, LOG_DEFAULT, PeerStatus, Positions, Role as RoleName, StateHash, Status,
};
use holdfast_engine::{Ordinal, Role, Term};
use holdfast_store::View;
use holdfast_wire::Fingerprint;
use tokio::sync::oneshot;

use super::Core;
use super::handle::{Failure, Figures, RefusalCode, Timing};
use super::member_error::Broken;
use crate::authority::{ForcedStarted, Order};

impl Core {
    /// This member, and the others as it sees them.
    pub(super) fn status(&self) -> Status {
        let engine = self.engine.status(self.now);
        let last = engine.written.index.0;
        let leads = engine.role.is_leader();
        let peers = self.other_ordinals().map(|ordinal| {
            let known = engine.peers.iter().find(|peer| peer.ordinal == ordinal);
            let heard = self.heard[usize::from(ordinal.0)];
            let member = known.and_then(|peer| peer.member).or(heard.map(|(member, _)| member));
            let link = self.peers.link(ordinal);
            PeerStatus {
                ordinal: ordinal.0,
                incarnation: member.map(|member| member.incarnation.to_string()),
                connected: link.is_connected(),
                match_: known.map(|peer| peer.written.0),
                durable: known.map(|peer| peer.durable.0),
                lag: known.map(|peer| last.saturating_sub(peer.written.0)),
                round_trip_ms: link.round_trip().map(|time| time.as_secs_f64() * 1e3),
                last_heartbeat_ms_ago: heard.map(|(_, at)| millis(self.now - at)),
            }
        });
        Status {
            store: self.store_name.clone(),
            store_id: engine.formation.as_ref().map(|formation| formation.store.to_string()),
            strategy: self.strategy(),
            member: self.me.ordinal.0,
            incarnation: self.me.incarnation.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            role: role_name(&engine.role),
            leader: engine.role.leader(self.me).map(|leader| leader.ordinal.0),
            term: self.term().0,
            voters: self.all_voters(&engine.membership),
            replicas: self.members,
            positions: Positions {
                written: last,
                durable: engine.durable.0,
                commit: engine.commit.0,
                applied: engine.executed.0,
            },
            revision: self.committed_revision().0,
            state_hash: Some(StateHash {
                index: self.store.committed().0,
                hash: format!("{:016x}", self.store.hash()),
            }),
            peers: peers.collect(),
            last_checkpoint: self.last_checkpoint(),
            note: self.note_now(leads),
            faults: self.delays.status(),
            in_sync: self.authority.as_ref().map(|authority| InSync {
                members: self.all_voters(&engine.membership),
                min: authority.min(),
                authority: authority.status(),
            }),
        }
    }

    /// A person wants to start from this member, although it may have lost writes.
    pub(super) fn force_start(&self, epoch: Term, reply: oneshot::Sender<Result<ForcedStarted, Failure>>) {
        let refuse = |detail: String| {
            let code = RefusalCode::ForceRefused;
            Err(Failure::Refused { code, detail, retryable: false, retry_after: None })
        };
        let Some(authority) = &self.authority else {
            let detail = "no authority decides in this store: a majority of its members has every write, or nobody can say who has";
            let _ = reply.send(refuse(detail.to_owned()));
            return;
        };
        let Some(formation) = &self.formation else {
            let _ = reply.send(refuse("this member holds nothing of any store".to_owned()));
            return;
        };
        if let Some(leader) = self.engine.role().leader(self.me) {
            let _ = reply.send(refuse(format!("member {} leads, and has every write", leader.ordinal)));
            return;
        }
        let (me, store, term) = (self.me, formation.store, self.term());
        authority.order(Order { me, store, term, epoch, reply });
    }

    /// What its state and queues come to.
    pub(super) fn figures(&self) -> Figures {
        Figures {
            statistics: self.store.statistics(),
            writes_pending: self.writes.count() + self.held.count() + self.forwarded.count(),
            reads_pending: self.reads.count(),
            messages: self
                .store
                .log(LOG_DEFAULT.as_bytes(), View::Executed)
                .map_or(0, |log| log.next.0 - log.first.0),
            log_bytes: self.engine.status(self.now).log_bytes,
            disk_full: self.disk.is_full(),
            disk_waits: self.disk.waiting_for(),
        }
    }

    /// The settings have changed.
    pub(super) fn retime(&mut self, timing: Timing) {
        self.engine.retime(timing.heartbeat_interval, timing.heartbeat_timeout);
        self.election_timeout = timing.heartbeat_timeout;
        self.peers.set_heartbeat_timeout(timing.heartbeat_timeout);
        self.checkpoints.retime(&timing, self.now);
    }

    /// This member's term.
    pub(super) fn term(&self) -> Term {
        match self.engine.role() {
            Role::Unformed => Term(0),
            Role::Learner { term, .. }
            | Role::Follower { term, .. }
            | Role::Candidate { term }
            | Role::Leader { term } => term,
        }
    }

    /// Another member says what its state was.
    pub(super) fn compare(&mut self, from: Ordinal, theirs: Fingerprint) -> Result<(), Broken> {
        let Some(disagreeing) = self.fingerprints.compare(from, theirs) else { return Ok(()) };
        let disagree = self.voters.voters().filter(|voter| disagreeing.contains(&voter.ordinal)).count();
        let index = theirs.index;
        tracing::error!(peer = %from, %index, disagree, "a member's state differs from this one's");
        // One against one, nobody can tell who is right; against most voters, this member is wrong.
        if disagree > self.voters.len() / 2 {
            return Err(Broken::Diverged { index });
        }
        Ok(())
    }

    fn strategy(&self) -> Strategy {
        match (self.log_kept || self.members > 1, self.checkpoints.interval()) {
            (false, None) => Strategy::Baseline,
            (false, Some(_)) => Strategy::Checkpointing,
            (true, None) => Strategy::Replication,
            (true, Some(_)) => Strategy::Hybrid,
        }
    }

    fn last_checkpoint(&self) -> Option<CheckpointStatus> {
        let file = self.checkpoints.newest()?;
        Some(CheckpointStatus {
            index: file.position.index.0,
            term: file.position.term.0,
            revision: None,
            time: file.modified.and_then(|time| jiff::Timestamp::try_from(time).ok()).unwrap_or_default(),
            bytes: file.bytes,
        })
    }

    fn note_now(&self, leads: bool) -> Option<String> {
        if let Some(full_for) = self.disk.full_for() {
            return Some(format!(
                "the disk has been full for {} s; a leader takes only deletes and compaction until there is space",
                full_for.as_secs()
            ));
        }
        // Before everything that may follow from it.
        if let Some(faults) = self.delays.status().filter(|faults| faults.is_on()) {
            let note = self.note.as_ref().map_or_else(String::new, |note| format!("; {note}"));
            return Some(format!("{}{note}", faults.words()));
        }
        let behind = (leads && self.disk.is_behind()).then(|| "the disk is behind".to_owned());
        behind.or_else(|| self.note.clone())
    }
}

fn role_name(role: &Role) -> RoleName {
    match role {
        Role::Unformed => RoleName::Unformed,
        Role::Learner { .. } => RoleName::Learner,
        Role::Follower { .. } => RoleName::Follower,
        Role::Candidate { .. } => RoleName::Candidate,
        Role::Leader { .. } => RoleName::Leader,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

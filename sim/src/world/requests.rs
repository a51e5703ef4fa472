//! Clients in the world: what they ask, and what reaches them.

use std::time::Duration;

use holdfast_engine::Role;

use super::{Event, World};
use crate::clients::{self, Next, PATIENCE, What};
use crate::history::Operation;
use crate::invariants::Broken;
use crate::member::{Answer, Member, RequestId};

impl World {
    pub(super) fn client_acts(&mut self, client: usize) -> Result<(), Broken> {
        if !self.clients[client].is_busy() {
            self.order += 1;
            let (order, members) = (self.order, self.scenario.members);
            let reads = if self.scenario.reads_much() { 0.6 } else { 0.35 };
            self.clients[client].invent(order, members, reads, &mut self.random);
        }
        let Some((request, what)) = self.clients[client].attempt(client) else { return Ok(()) };
        self.after(PATIENCE, Event::ClientGivesUp { request });
        // A client that stays with the member it knows may ask a leader that is none any more.
        let near = if self.scenario.reads_much() { 0.4 } else { 0.7 };
        let to = match self.leader() {
            Some(leader) if self.random.chance(near) => leader,
            _ => self.random.below(self.members.len() as u64) as usize,
        };
        let member = &mut self.members[to];
        let Some(process) = &mut member.process else { return Ok(()) };
        let input = match what {
            What::Write { payload, concern, .. } => {
                if process.engine.role().is_leader() {
                    self.write_asked.get_or_insert(self.now);
                }
                process.propose(request, concern, payload)
            }
            What::Read { key } => process.ask(request, key),
            What::List(query) => {
                let answer = process.list(&query, &self.invariants)?;
                self.report.lists += 1;
                self.after(Duration::from_micros(100), Event::Answered { request, answer });
                return Ok(());
            }
        };
        self.step(to, input)
    }

    pub(super) fn client_hears(&mut self, request: RequestId, answer: Option<Answer>) -> Result<(), Broken> {
        let client = request.client;
        if !self.clients[client].awaits(request) {
            return Ok(());
        }
        self.order += 1;
        match self.clients[client].hear(answer, self.order) {
            Next::Again => {}
            Next::New(operation) => {
                // What was asked before a forced start may have been answered from what it gave up.
                let counts = |operation: &Operation| self.forced.is_none_or(|(at, _)| operation.invoked > at);
                self.history.extend(operation.filter(counts));
            }
        }
        let pause = clients::pause(&mut self.random);
        self.after(pause, Event::ClientActs { client });
        Ok(())
    }

    /// Who leads in the highest term, seen from outside.
    pub(super) fn leader(&self) -> Option<usize> {
        let leading = |(at, member): (usize, &Member)| match member.process.as_ref()?.engine.role() {
            Role::Leader { term } => Some((term, at)),
            _ => None,
        };
        self.members.iter().enumerate().filter_map(leading).max().map(|(_, at)| at)
    }
}

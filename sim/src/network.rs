//! The network between members: delay, loss, duplication, reordering and cuts, each way by itself.

use std::collections::VecDeque;
use std::time::Duration;

use holdfast_engine::{MEMBERS_MAX, Message, Moment, Position, Random, Term};

/// How the network behaves now.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// `cut[from][to]`: nothing arrives.
    cut: [[bool; MEMBERS_MAX]; MEMBERS_MAX],
    pub(crate) loss: f64,
    pub(crate) duplication: f64,
    pub(crate) delay: (Duration, Duration),
    /// Votes take so much longer: they come when their candidate has gone on.
    pub(crate) votes_late: Duration,
    /// Messages on one link overtake each other, as if there were no connections that keep them in order.
    pub(crate) reorders: bool,
    /// When the last message on each link arrives.
    last: [[Moment; MEMBERS_MAX]; MEMBERS_MAX],
    /// Now and then a message takes up to this long, and others overtake it.
    pub(crate) straggling: (f64, Duration),
    /// Entries for these members come so much later; what a message says beside them does not.
    held_back: [Duration; MEMBERS_MAX],
    /// Entries that are on their way so: when they arrive, the leader's term, and what they come after.
    holding: [[VecDeque<(Moment, Term, Position)>; MEMBERS_MAX]; MEMBERS_MAX],
}

impl Network {
    /// A network in order: 50 to 300 µs, nothing lost.
    pub(crate) fn calm() -> Network {
        Network {
            cut: Default::default(),
            votes_late: Duration::ZERO,
            reorders: false,
            last: Default::default(),
            loss: 0.0,
            duplication: 0.0,
            delay: (Duration::from_micros(50), Duration::from_micros(300)),
            straggling: (0.0, Duration::ZERO),
            held_back: [Duration::ZERO; MEMBERS_MAX],
            holding: Default::default(),
        }
    }

    /// Entries for this member come so much later from now on.
    pub(crate) fn hold_back(&mut self, member: usize, delay: Duration) {
        self.held_back[member] = delay;
    }

    /// What arrives in time of a message that was to arrive at `arrives`, and what later, as a member does it that
    /// holds entries back on purpose: a heartbeat goes on, but speaks of a place that the receiver knows.
    pub(crate) fn hold(
        &mut self,
        from: usize,
        to: usize,
        arrives: Moment,
        message: &Message,
    ) -> Vec<(Moment, Message)> {
        let (delay, holding) = (self.held_back[to], &mut self.holding[from][to]);
        let Message::Append { term, previous, entries, .. } = message else {
            return vec![(arrives, message.clone())];
        };
        holding.retain(|(due, of, _)| *due > arrives && of == term);
        if holding.is_empty() && (delay.is_zero() || entries.is_empty()) {
            return vec![(arrives, message.clone())];
        }
        let known = holding.front().map_or(*previous, |(.., known)| *known);
        let mut heartbeat = message.clone();
        if let Message::Append { previous, entries, .. } = &mut heartbeat {
            (*previous, *entries) = (known, Vec::new());
        }
        let mut parts = vec![(arrives, heartbeat)];
        if !entries.is_empty() {
            let last = holding.back().map_or(arrives, |(due, ..)| *due);
            let due = last.max(arrives + delay);
            holding.push_back((due, *term, *previous));
            parts.push((due, message.clone()));
        }
        parts
    }

    /// A network with faults as `random` has them.
    pub(crate) fn troubled(random: &mut Random) -> Network {
        let mut network = Network::calm();
        network.reorders = random.chance(0.3);
        if random.chance(0.3) {
            network.votes_late = Duration::from_millis(5 + random.below(300));
        }
        if random.chance(0.5) {
            network.loss = random.below(30) as f64 / 100.0;
        }
        if random.chance(0.5) {
            network.duplication = random.below(20) as f64 / 100.0;
        }
        if random.chance(0.5) {
            network.delay.1 = Duration::from_millis(1 + random.below(20));
        }
        if random.chance(0.5) {
            network.straggling =
                (random.below(40) as f64 / 100.0, Duration::from_millis(50 + random.below(2500)));
        }
        network
    }

    /// When a message that is sent now arrives: never, once or twice. Copies and stragglers keep no order.
    pub(crate) fn transit(
        &mut self,
        from: usize,
        to: usize,
        now: Moment,
        random: &mut Random,
    ) -> Vec<Moment> {
        if self.cut[from][to] || random.chance(self.loss) {
            return Vec::new();
        }
        let copies = if random.chance(self.duplication) { 2 } else { 1 };
        let last = &mut self.last[from][to];
        (0..copies)
            .map(|copy| {
                let straggles = random.chance(self.straggling.0);
                let to = if straggles { self.straggling.1 } else { self.delay.1 };
                let arrives = now + random.between(self.delay.0, to);
                if straggles || copy > 0 || self.reorders {
                    return arrives;
                }
                *last = arrives.max(*last);
                *last
            })
            .collect()
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut[from][to]
    }

    /// Keep what is cut in another state of the network.
    pub(crate) fn keep_cuts_of(&mut self, other: &Network) {
        self.cut = other.cut;
        self.holding.clone_from(&other.holding);
        self.last = other.last;
    }

    /// Go on holding back what another state of the network did.
    pub(crate) fn keep_delays_of(&mut self, other: &Network) {
        self.held_back = other.held_back;
    }

    pub(crate) fn heal(&mut self) {
        self.cut = Default::default();
    }

    /// Cut one direction of one link.
    pub(crate) fn cut_one_way(&mut self, from: usize, to: usize) {
        self.cut[from][to] = true;
    }

    /// Cut one link both ways: both ends may still reach everybody else.
    pub(crate) fn cut_link(&mut self, a: usize, b: usize) {
        self.cut[a][b] = true;
        self.cut[b][a] = true;
    }

    /// Cut everything between members of `side` and the rest.
    pub(crate) fn split(&mut self, side: impl Fn(usize) -> bool) {
        for from in 0..MEMBERS_MAX {
            for to in 0..MEMBERS_MAX {
                self.cut[from][to] |= side(from) != side(to);
            }
        }
    }
}

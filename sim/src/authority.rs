//! The authority of in-sync mode: one object that changes by compare-and-set, behind a network of its own.

use std::time::Duration;

use holdfast_engine::{Configuration, MEMBERS_MAX, MemberId, Membership, Question, Random, Term, Verdict};

/// What it holds, and how it can be reached.
#[derive(Debug)]
pub(crate) struct Authority {
    holds: Option<Configuration>,
    /// The first that it held.
    first: Option<Configuration>,
    /// Changes that were asked for and have not come through, or were lost.
    under_way: Vec<Configuration>,
    /// By member: nothing gets through.
    cut: [bool; MEMBERS_MAX],
    down: bool,
    loss: f64,
    delay: (Duration, Duration),
    /// Now and then a request takes up to this long, far beyond anybody's patience.
    straggling: (f64, Duration),
}

impl Authority {
    /// One that holds nothing yet and answers in a few milliseconds.
    pub(crate) fn calm() -> Authority {
        Authority {
            holds: None,
            first: None,
            under_way: Vec::new(),
            cut: Default::default(),
            down: false,
            loss: 0.0,
            delay: (Duration::from_millis(1), Duration::from_millis(5)),
            straggling: (0.0, Duration::ZERO),
        }
    }

    /// Other delays and losses from now on.
    pub(crate) fn change_weather(&mut self, random: &mut Random) {
        self.loss = if random.chance(0.5) { random.below(50) as f64 / 100.0 } else { 0.0 };
        self.delay.1 = Duration::from_millis([5, 5, 50, 500][random.below(4) as usize]);
        self.straggling = (random.below(40) as f64 / 100.0, Duration::from_millis(100 + random.below(4000)));
    }

    /// Everything gets through again; what is under way stays so.
    pub(crate) fn mend(&mut self) {
        let calm = Authority::calm();
        (self.cut, self.down, self.loss) = (calm.cut, calm.down, calm.loss);
        (self.delay, self.straggling) = (calm.delay, calm.straggling);
    }

    pub(crate) fn cut(&mut self, member: usize, cut: bool) {
        self.cut[member] = cut;
    }

    pub(crate) fn take_down(&mut self, down: bool) {
        self.down = down;
    }

    /// How long one way takes; `None`: nothing arrives.
    pub(crate) fn way(&self, member: usize, random: &mut Random) -> Option<Duration> {
        if self.cut[member] || self.down || random.chance(self.loss) {
            return None;
        }
        let to = if random.chance(self.straggling.0) { self.straggling.1 } else { self.delay.1 };
        Some(random.between(self.delay.0, to))
    }

    pub(crate) fn holds(&self) -> Option<&Configuration> {
        self.holds.as_ref()
    }

    /// What it holds, or may hold soon.
    pub(crate) fn may_hold(&self) -> impl Iterator<Item = &Configuration> {
        self.holds.iter().chain(&self.under_way)
    }

    /// A request is under way.
    pub(crate) fn asked(&mut self, question: &Question) {
        if let Question::Change(to) = question {
            self.under_way.push(**to);
        }
    }

    /// A request is here.
    pub(crate) fn answer(&mut self, question: &Question) -> Verdict {
        let Question::Change(to) = question else { return self.verdict() };
        if let Some(at) = self.under_way.iter().position(|under_way| *under_way == **to) {
            self.under_way.swap_remove(at);
        }
        if self.holds.map_or(0, |holds| holds.version) + 1 != to.version {
            return self.verdict();
        }
        self.holds = Some(**to);
        self.first.get_or_insert(**to);
        Verdict::Changed
    }

    fn verdict(&self) -> Verdict {
        Verdict::Holds(self.holds.map(Box::new))
    }

    /// A person has a member start from what it has, and ends the epoch of `term` and all before it.
    pub(crate) fn force(&mut self, member: MemberId, term: Term) {
        let Some(holds) = &mut self.holds else { return };
        let ended = holds.term.max(term);
        let in_sync = Membership::only([member]);
        let (version, next) = (holds.version + 1, ended.next());
        *holds =
            Configuration { version, term: next, primary: member, in_sync, forced: Some(ended), ..*holds };
    }

    /// Somebody deletes what it holds, or puts the first back that it ever held.
    pub(crate) fn tamper(&mut self, delete: bool) {
        self.holds = self.first.filter(|_| !delete);
    }
}

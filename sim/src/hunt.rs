//! Looking for every mistake of the catalogue, each within a budget of seeds.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Failure, Flaw, run};

/// What became of the search for one mistake.
#[derive(Clone, Debug)]
pub struct Hunted {
    /// The mistake.
    pub flaw: Flaw,
    /// The first seed that shows it, and how; `None` if none of them did.
    pub found: Option<Failure>,
}

/// Look for `flaws`, each with `seeds_max` seeds of its mode, on two threads; `found` hears of each as soon as its search ends.
///
/// A seed counts only if it holds without the mistake. A panic is a way to be found; who does not want to see the
/// messages of all of them sets a hook.
pub fn hunt(flaws: &[Flaw], seeds_max: u64, found: impl Fn(&Hunted) + Sync) {
    let next = AtomicUsize::new(0);
    let worker = || {
        while let Some(&flaw) = flaws.get(next.fetch_add(1, Ordering::Relaxed)) {
            let shows = |seed| run(seed, Some(flaw), false).err().filter(|_| run(seed, None, false).is_ok());
            let first = flaw.first_seed();
            found(&Hunted { flaw, found: (first..first + seeds_max).find_map(shows) });
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(worker);
        scope.spawn(worker);
    });
}

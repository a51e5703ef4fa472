//! Whose turn it is: `FaultExperiment`s and the requests over HTTP use the same nodes, so one waits for the other. An experiment waits in its
//! queue; a request is refused, because an experiment takes longer than any client waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// An experiment begins when no request has used the lab's own store for so long, so that it does not come between two requests of a script.
const QUIET: Duration = Duration::from_secs(10);

/// What both ask.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The experiment that is measured.
    experiment: Option<String>,
    /// Requests that are under way, and recoveries that are measured for them.
    requests: usize,
    /// When the last of them ended.
    ended: Option<Instant>,
}

/// A request's turn, while it lasts.
#[derive(Debug)]
pub(crate) struct RequestTurn(Turns);

/// An experiment's turn, while it lasts.
#[derive(Debug)]
pub(super) struct ExperimentTurn(Turns);

impl Turns {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request's turn. Requests wait for each other elsewhere.
    ///
    /// # Errors
    /// An experiment is measured; the text says which.
    pub(super) fn request(&self) -> Result<RequestTurn, String> {
        let mut state = self.state();
        if let Some(name) = &state.experiment {
            return Err(format!(
                "the FaultExperiment {name} is measured, and two measurements at once would disturb each other; try again when it is over \
                 (kubectl get hfe), or delete it"
            ));
        }
        state.requests += 1;
        drop(state);
        Ok(RequestTurn(self.clone()))
    }

    /// The turn of an experiment of this name.
    ///
    /// # Errors
    /// Requests use the lab's own store, or did a moment ago.
    pub(super) fn experiment(&self, name: &str) -> Result<ExperimentTurn, String> {
        self.experiment_at(name, Instant::now())
    }

    fn experiment_at(&self, name: &str, now: Instant) -> Result<ExperimentTurn, String> {
        let mut state = self.state();
        let quiet = state.ended.is_none_or(|ended| now.saturating_duration_since(ended) >= QUIET);
        if state.requests > 0 || !quiet {
            return Err(format!(
                "requests over HTTP use the lab's own store; it begins when there was none for {} s",
                QUIET.as_secs()
            ));
        }
        state.experiment = Some(name.to_owned());
        drop(state);
        Ok(ExperimentTurn(self.clone()))
    }
}

impl Drop for RequestTurn {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests = state.requests.saturating_sub(1);
        state.ended = Some(Instant::now());
    }
}

impl Drop for ExperimentTurn {
    fn drop(&mut self) {
        self.0.state().experiment = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_refused_while_an_experiment_is_measured() {
        let turns = Turns::default();
        let turn = turns.experiment("shop/strategies").expect("nobody else is there");
        let refused = turns.request().expect_err("it would disturb");
        assert!(refused.contains("FaultExperiment shop/strategies is measured"), "{refused}");
        drop(turn);
        turns.request().expect("it is over");
    }

    #[test]
    fn an_experiment_waits_for_all_requests_and_a_while_longer() {
        let turns = Turns::default();
        let (first, second) = (turns.request().expect("a turn"), turns.request().expect("another"));
        drop(first);
        let late = Instant::now() + 2 * QUIET;
        turns.experiment_at("a", late).expect_err("one is under way");
        drop(second);
        let refused = turns.experiment("a").expect_err("a moment ago");
        assert!(refused.contains("none for 10 s"), "{refused}");
        turns.experiment_at("a", late + QUIET).expect("it is quiet");
    }
}

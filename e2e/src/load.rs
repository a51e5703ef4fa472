//! Writers that write as fast as they are answered, and remember every answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinHandle;

use crate::history::{Attempt, History};
use crate::http::{Http, Outcome};
use crate::runtime;

/// How long a writer rests after a write that was not acknowledged, before it tries the next member. It keeps a writer
/// whose member is down from turning in a circle, and is short beside what a failover takes.
const REST: Duration = Duration::from_millis(1);

/// A running load. Dropping it stops its writers and forgets what they were told.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<Vec<Attempt>>>,
}

#[derive(Debug)]
struct Shared {
    http: Http,
    /// Every key begins so.
    prefix: String,
    /// Members to write to.
    bases: Vec<String>,
    stopped: AtomicBool,
    acknowledged: AtomicU64,
    /// When the first write of each term was acknowledged.
    terms: Mutex<BTreeMap<u64, Instant>>,
}

impl Load {
    /// Start `writers` writers, each of which begins at another of the members `bases`. Keys begin with `prefix`, which
    /// must be as new as the load.
    pub fn start(bases: &[String], prefix: &str, writers: usize) -> Load {
        let shared = Arc::new(Shared {
            http: Http::default(),
            prefix: prefix.to_owned(),
            bases: bases.to_vec(),
            stopped: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            terms: Mutex::default(),
        });
        let writers =
            (0..writers).map(|writer| runtime().spawn(write(Arc::clone(&shared), writer))).collect();
        Load { shared, writers }
    }

    /// How many writes were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// The highest term in which a write was acknowledged; 0 before the first.
    pub fn term(&self) -> u64 {
        self.terms().last_key_value().map_or(0, |(term, _)| *term)
    }

    /// When the first write of a term later than `term` was acknowledged.
    pub fn acknowledged_after(&self, term: u64) -> Option<Instant> {
        self.terms().range(term + 1..).next().map(|(_, moment)| *moment)
    }

    /// Stop the writers, wait for their last answers and return all of them.
    ///
    /// # Errors
    ///
    /// If a writer panicked.
    pub fn stop(mut self) -> anyhow::Result<History> {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let mut history = History::default();
        for writer in std::mem::take(&mut self.writers) {
            history.0.extend(runtime().block_on(writer).context("a writer panicked")?);
        }
        Ok(history)
    }

    fn terms(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Instant>> {
        self.shared.terms.lock().expect("no writer panics while it holds this")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.writers.iter().for_each(JoinHandle::abort);
    }
}

async fn write(shared: Arc<Shared>, writer: usize) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    let mut member = writer % shared.bases.len();
    let mut term_seen = 0;
    while !shared.stopped.load(Ordering::Relaxed) {
        let key = format!("{}{writer}-{}", shared.prefix, attempts.len());
        let begin = Instant::now();
        let outcome = shared.http.put(&shared.bases[member], &key, key.clone()).await;
        let end = Instant::now();
        if let Outcome::Acknowledged { term, .. } = outcome {
            shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            if term > term_seen {
                term_seen = term;
                let mut terms = shared.terms.lock().expect("no writer panics while it holds this");
                let first = terms.entry(term).or_insert(end);
                *first = end.min(*first);
            }
        } else {
            member = (member + 1) % shared.bases.len();
            tokio::time::sleep(REST).await;
        }
        attempts.push(Attempt { key, begin, end, outcome });
    }
    attempts
}

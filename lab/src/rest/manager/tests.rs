//! The manager on a place whose stores are only counted. What real stores do to it is in `e2e`.

use std::sync::atomic::AtomicBool;

use holdfast_client::NativeClient;
use tokio::sync::Notify;

use super::super::place::{Sample, Struck};
use super::*;
use crate::Measurement;
use crate::experiment::fault::Fault;
use crate::experiment::recovery::Recovered;

/// What a test sees and sets.
#[derive(Default)]
struct Seen {
    made: AtomicU32,
    discarded: AtomicU32,
    turns: AtomicU32,
    fails_to_make: AtomicBool,
    occupied: AtomicBool,
    /// Somebody serves again.
    back: Notify,
}

/// Three members that can be killed and come back by themselves.
struct Counted(Arc<Seen>);

/// A turn, counted while it lasts.
struct Turn(Arc<Seen>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.turns.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Place for Counted {
    type Store = Counted;
    type Turn = Turn;

    fn kinds(&self) -> Vec<FailureKind> {
        vec![FailureKind::Default, FailureKind::Total]
    }

    fn turn(&self) -> Result<Turn, String> {
        if self.0.occupied.load(Ordering::SeqCst) {
            return Err("somebody is measured".to_owned());
        }
        self.0.turns.fetch_add(1, Ordering::SeqCst);
        Ok(Turn(self.0.clone()))
    }

    async fn make(&self, _: &Configuration, _: bool) -> Result<Counted, TestbedError> {
        if self.0.fails_to_make.load(Ordering::SeqCst) {
            return Err(TestbedError::new("making the store", "no room"));
        }
        self.0.made.fetch_add(1, Ordering::SeqCst);
        Ok(Counted(self.0.clone()))
    }
}

impl SharedStore for Counted {
    type How = ();

    fn client(&self) -> NativeClient {
        NativeClient::new(["127.0.0.1:9"]).expect("an address")
    }

    async fn measure(&self, _: &Configuration, _: &Protocol, _: u32) -> Result<Measurement, TestbedError> {
        Ok(Measurement::default())
    }

    async fn fail(&self, kind: FailureKind, count: u8, chance: u64) -> Result<Struck<()>, TestbedError> {
        Ok(Struck { fault: Fault::among(3, Some(0), kind, count, chance)?, how: (), returns: true })
    }

    async fn watch(&self, _: &Struck<()>, _: Sample) -> Recovered {
        self.0.back.notified().await;
        Recovered { took: Duration::from_millis(250), found: Found::Data }
    }

    async fn mend(&self, _: &Struck<()>) -> Result<(), TestbedError> {
        Ok(())
    }

    async fn mend_and_watch(&self, _: &Struck<()>, _: Sample) -> Result<Recovered, TestbedError> {
        Err(TestbedError::new("mending the failure", "who comes back by himself is only watched"))
    }

    async fn is_whole(&self) -> bool {
        true
    }

    async fn discard(&self) -> Result<(), TestbedError> {
        self.0.discarded.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

fn manager() -> (Arc<Seen>, Manager<Counted>) {
    let seen = Arc::new(Seen::default());
    let manager = Manager::new(Counted(seen.clone()), Metrics::alone().expect("metrics"));
    (seen, manager)
}

fn count(count: &AtomicU32) -> u32 {
    count.load(Ordering::SeqCst)
}

#[tokio::test]
async fn a_store_is_made_by_the_first_request_that_needs_it() {
    let (seen, manager) = manager();
    let status = manager.status();
    assert_eq!((&status["strategy"], &status["is_healthy"]), (&json!("baseline"), &json!(true)));
    assert_eq!((count(&seen.made), &status["store"]), (0, &json!("made when it is needed")));
    manager.recover().await.expect("recovered");
    assert_eq!((count(&seen.made), &manager.status()["store"]), (1, &json!("ready")));
    manager.configure(Configuration::replication(3)).await.expect("configured");
    assert_eq!((count(&seen.made), count(&seen.discarded)), (2, 1));
    manager.close(Duration::ZERO).await;
    assert_eq!(count(&seen.discarded), 2);
    assert_eq!(count(&seen.turns), 0, "nobody keeps a turn");
}

#[tokio::test]
async fn a_failure_that_cannot_be_had_here_is_refused_with_those_that_can() {
    let (seen, manager) = manager();
    let protocol = Protocol { failure_type: FailureKind::Disk, ..Protocol::default() };
    for refused in [
        manager.fail(FailureKind::Partition, 1).await.expect_err("refused"),
        manager.experiment(Configuration::baseline(), protocol).await.expect_err("refused"),
    ] {
        let Refused::Conflict(text) = refused else { panic!("{refused:?}") };
        assert!(text.ends_with("cannot be had here; write one of default, total"), "{text}");
    }
    assert_eq!(count(&seen.made), 0, "and no store is made for it");
}

#[tokio::test]
async fn a_store_that_could_not_be_made_is_made_by_the_next_request() {
    let (seen, manager) = manager();
    seen.fails_to_make.store(true, Ordering::SeqCst);
    let refused = manager.configure(Configuration::hybrid(30, 3)).await.expect_err("no room");
    assert!(matches!(&refused, Refused::Failed(text) if text.contains("no room")), "{refused:?}");
    let answer = manager.store("a".to_owned(), json!(1)).await.expect("an answer");
    assert_eq!(answer["success"], false, "{answer}");
    seen.fails_to_make.store(false, Ordering::SeqCst);
    let recovered = manager.recover().await.expect("recovered");
    assert_eq!(recovered["strategy"], "hybrid", "what was asked for is remembered");
    assert_eq!(count(&seen.made), 1);
}

#[tokio::test]
async fn whoever_would_disturb_a_measurement_is_refused() {
    let (seen, manager) = manager();
    seen.occupied.store(true, Ordering::SeqCst);
    let check = |answer: Result<Value, Refused>| {
        assert!(
            matches!(&answer, Err(Refused::Occupied(text)) if text == "somebody is measured"),
            "{answer:?}"
        );
    };
    check(manager.configure(Configuration::baseline()).await);
    check(manager.store("a".to_owned(), json!(1)).await);
    check(manager.retrieve("a".to_owned()).await);
    check(manager.fail(FailureKind::Default, 1).await);
    check(manager.recover().await);
    check(manager.experiment(Configuration::baseline(), Protocol::default()).await);
    assert_eq!(count(&seen.made), 0);
    assert_eq!(manager.status()["is_healthy"], true, "questions are answered");
}

#[tokio::test]
async fn who_comes_back_alone_is_watched_from_the_failure_on() {
    let (seen, manager) = manager();
    let failed = manager.fail(FailureKind::Total, 1).await.expect("failed");
    assert_eq!(failed["is_healthy"], false);
    assert_eq!(count(&seen.turns), 1, "nobody else measures while somebody is watched");
    seen.back.notify_one();
    let recovered = manager.recover().await.expect("recovered");
    assert_eq!(recovered["recovery_time_seconds"], 0.25);
    assert_eq!(
        recovered["note"],
        "who failed was started again: measured from the failure to the first verified read"
    );
    assert_eq!((count(&seen.turns), &manager.status()["is_healthy"]), (0, &json!(true)));
}

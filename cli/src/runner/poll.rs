//! Asks one member again and again how it is.
//!
//! Refuses to be asked for a member that does not run: the answer might come from somebody else on its port.

use std::time::Duration;

use holdfast_client::Client;
use holdfast_client::reply::Status;
use holdfast_laptop::supervisor::{Phase, Report};
use tokio::sync::watch;
use tokio::time::sleep;

/// How often a member is asked: often enough that a change of leader shows at once to a person.
const INTERVAL: Duration = Duration::from_millis(200);
/// How long it may take to answer before it counts as silent.
const ANSWER_MAX: Duration = Duration::from_millis(800);

/// Asks the member at `endpoint` while `report` says that it runs. What it said last is in the returned channel,
/// `None` while it does not answer. Ends when nobody listens, or its supervisor is gone.
pub fn spawn(endpoint: &str, mut report: watch::Receiver<Report>) -> watch::Receiver<Option<Status>> {
    let client = Client::new([endpoint]).expect("a loopback address").with_deadline(ANSWER_MAX);
    let (said, hear) = watch::channel(None);
    tokio::spawn(async move {
        while !said.is_closed() {
            let running = report.borrow_and_update().phase == Phase::Running;
            let status = if running { client.status().await.ok() } else { None };
            // A member that died meanwhile said it in an earlier life.
            if report.has_changed().unwrap_or(true) && report.borrow().phase != Phase::Running {
                said.send_replace(None);
            } else {
                said.send_replace(status);
            }
            tokio::select! {
                () = sleep(INTERVAL) => {}
                changed = report.changed() => if changed.is_err() {
                    said.send_replace(None);
                    return;
                },
            }
        }
    });
    hear
}

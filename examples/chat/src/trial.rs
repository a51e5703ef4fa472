//! Is the chat well? Accounts alice and bob, alice logs in and sends bob a message, bob finds it: each step with its time.
//!
//! Refuses to call well what did not happen within the time.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::caller::{CallError, Caller};
use crate::limits::PAGE_MAX;

/// Callers have so long to say what kept them.
const GRACE: Duration = Duration::from_millis(500);
/// The password of both, which guards nothing.
const PASSWORD: &str = "holdfast-trial";

/// Runs the steps; each that is done is said.
///
/// # Errors
/// The first step that failed, and why.
pub async fn run(
    servers: &[String],
    deadline: Duration,
    mut say: impl FnMut(&str, Duration),
) -> Result<(), TrialError> {
    let until = Instant::now() + deadline;
    let alice = Caller::new(servers).map_err(|error| TrialError::of("servers", error))?;
    let mut alice = alice.with_deadline(deadline).with_end(until);
    let mut bob = alice.clone();
    for (name, caller) in [("alice", &mut alice), ("bob", &mut bob)] {
        let step = format!("account {name}");
        let what = async {
            match caller.create_account(name, PASSWORD).await {
                Ok(text) => Ok(text),
                Err(CallError::Refused(text)) if text == crate::texts::TAKEN => Ok(format!("{name} exists")),
                Err(error) => Err(error),
            }
        };
        one(&step, until, what, &mut say).await?;
    }
    one("login alice", until, alice.log_in("alice", PASSWORD), &mut say).await?;
    let text = format!("hello bob, {}", alice.name().unwrap_or_default());
    let sent = async { alice.send("bob", &text).await.map(|(id, text)| format!("{text} (number {id})")) };
    let sent = one("send to bob", until, sent, &mut say).await?;
    one("login bob", until, bob.log_in("bob", PASSWORD), &mut say).await?;
    let id = sent.rsplit_once("(number ").and_then(|(_, id)| id.trim_end_matches(')').parse::<i32>().ok());
    let found = async {
        for page in 1.. {
            let reply = bob.read("", PAGE_MAX as i32, page, &[]).await?;
            if reply.messages.iter().any(|message| Some(message.id) == id) {
                bob.read("", 1, 1, &id.into_iter().collect::<Vec<_>>()).await?;
                return Ok("bob has it".to_owned());
            }
            if reply.remaining == 0 || reply.messages.is_empty() {
                break;
            }
        }
        Err(CallError::Refused("the message was acknowledged, and bob does not have it".to_owned()))
    };
    one("bob reads", until, found, &mut say).await?;
    // Sessions that nobody uses any more; the trial is over either way.
    let _ = alice.log_out().await;
    let _ = bob.log_out().await;
    Ok(())
}

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {why}")]
pub struct TrialError {
    step: String,
    why: String,
}

impl TrialError {
    fn of(step: &str, why: impl ToString) -> TrialError {
        TrialError { step: step.to_owned(), why: why.to_string() }
    }
}

async fn one(
    step: &str,
    until: Instant,
    what: impl Future<Output = Result<String, CallError>>,
    say: &mut impl FnMut(&str, Duration),
) -> Result<String, TrialError> {
    let began = Instant::now();
    // The callers end by themselves, and know more then.
    match timeout(until.saturating_duration_since(began) + GRACE, what).await {
        Ok(Ok(text)) => {
            say(&text, began.elapsed());
            Ok(text)
        }
        Ok(Err(error)) => Err(TrialError::of(step, error)),
        Err(_) => {
            Err(TrialError::of(step, format!("no answer within {:.1} s", began.elapsed().as_secs_f64())))
        }
    }
}

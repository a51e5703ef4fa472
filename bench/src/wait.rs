//! Waiting until something is so, and saying why it is not. It refuses to wait without an end.

use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Look again and again, `pause` apart, until a look succeeds; return what it saw.
///
/// # Errors
///
/// The last look's, if none succeeded within `patience`.
pub(crate) fn until<T>(
    what: &str,
    patience: Duration,
    pause: Duration,
    mut look: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let begin = Instant::now();
    loop {
        match look() {
            Ok(seen) => return Ok(seen),
            Err(error) if begin.elapsed() > patience => {
                return Err(error).with_context(|| format!("waited {patience:?} in vain: {what}"));
            }
            Err(_) => std::thread::sleep(pause),
        }
    }
}

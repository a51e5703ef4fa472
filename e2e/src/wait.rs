//! Waiting until something is so, and saying why it is not.

use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Time between two looks. A look costs milliseconds at least.
const PAUSE: Duration = Duration::from_millis(25);

/// Look again and again until a look succeeds; return what it saw, and how long it took from the first look.
///
/// # Errors
///
/// The last look's, if none succeeded within `patience`.
pub fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<(T, Duration)> {
    let begin = Instant::now();
    loop {
        match look() {
            Ok(seen) => return Ok((seen, begin.elapsed())),
            Err(error) if begin.elapsed() > patience => {
                return Err(error).with_context(|| format!("waited {patience:?} in vain: {what}"));
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_look_says_why_the_wait_was_in_vain() {
        let mut looks = 0;
        let ((), took) = until("three looks", Duration::from_secs(60), || {
            looks += 1;
            anyhow::ensure!(looks == 3, "only {looks}");
            Ok(())
        })
        .expect("the third look succeeds");
        assert!(took >= 2 * PAUSE);
        let error =
            until("for ever", Duration::ZERO, || anyhow::bail!("no") as anyhow::Result<()>).unwrap_err();
        assert_eq!(format!("{error:#}"), "waited 0ns in vain: for ever: no");
    }
}

//! Passwords at rest: what a client sends (a hexadecimal SHA-256 of what was typed) is hashed again, by Argon2id.
//!
//! Refuses to hash without bound: so many at a time, so many that wait, the rest is told to come back.

use std::sync::Arc;

use argon2::password_hash::{PasswordHash, SaltString};
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use tokio::sync::Semaphore;

use crate::limits::{HASHES_AT_ONCE, HASHES_WAITING_MAX};

/// Memory of one hash in KiB, passes over it, lanes: OWASP's first recommendation for Argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Drawn for each account.
const SALT_BYTES: usize = 16;

/// Hashes passwords, a few at a time.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    /// Those that work and those that wait.
    admitted: Arc<Semaphore>,
    /// Those that work.
    at_work: Arc<Semaphore>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    /// As many wait as may.
    #[error("too many passwords are being hashed")]
    Busy,
    /// The system gives no random numbers.
    #[error("cannot draw a salt: {0}")]
    Salt(getrandom::Error),
    /// What is kept of a password cannot be read.
    #[error("the password that is kept cannot be used: {0}")]
    Kept(argon2::password_hash::Error),
}

impl Passwords {
    pub(crate) fn new() -> Passwords {
        Passwords {
            admitted: Arc::new(Semaphore::new(HASHES_AT_ONCE + HASHES_WAITING_MAX)),
            at_work: Arc::new(Semaphore::new(HASHES_AT_ONCE)),
        }
    }

    /// What to keep of a password.
    pub(crate) async fn hash(&self, password: String) -> Result<String, PasswordError> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(PasswordError::Salt)?;
        let salt = SaltString::encode_b64(&salt).map_err(PasswordError::Kept)?;
        self.work(move || {
            let hash = hasher().hash_password(password.as_bytes(), &salt).map_err(PasswordError::Kept)?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether this is the password of which `kept` was kept.
    pub(crate) async fn verify(&self, password: String, kept: String) -> Result<bool, PasswordError> {
        self.work(move || {
            let kept = PasswordHash::new(&kept).map_err(PasswordError::Kept)?;
            match hasher().verify_password(password.as_bytes(), &kept) {
                Ok(()) => Ok(true),
                Err(argon2::password_hash::Error::Password) => Ok(false),
                Err(error) => Err(PasswordError::Kept(error)),
            }
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let _admitted = self.admitted.try_acquire().map_err(|_| PasswordError::Busy)?;
        let _at_work = self.at_work.acquire().await.map_err(|_| PasswordError::Busy)?;
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(PasswordError::Busy))
    }
}

fn hasher() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("recommended parameters are valid");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_same_password_fits_and_the_parameters_are_kept() {
        let passwords = Passwords::new();
        let kept = passwords.hash("secret".into()).await.expect("hashed");
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(passwords.verify("secret".into(), kept.clone()).await.expect("verified"));
        assert!(!passwords.verify("Secret".into(), kept.clone()).await.expect("verified"));
        assert_ne!(passwords.hash("secret".into()).await.expect("hashed"), kept, "salts differ");
    }

    #[tokio::test]
    async fn more_than_may_wait_are_sent_away() {
        let passwords = Passwords::new();
        let _all = passwords
            .admitted
            .clone()
            .try_acquire_many_owned((HASHES_AT_ONCE + HASHES_WAITING_MAX) as u32)
            .expect("free");
        let error = passwords.hash("secret".into()).await.expect_err("nobody may wait any more");
        assert!(matches!(error, PasswordError::Busy), "{error}");
    }
}

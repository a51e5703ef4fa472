//! Accounts and the logins of them.
//!
//! Refuses to keep a password, or a session's token: hashes of both.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{State, StateError, delete, delete_all, exists, names, now, parse_item, pattern, put, unchanged};
use crate::limits::{ACCOUNTS_MAX, NAME_BYTES_MAX, PAGED_MAX, PASSWORD_BYTES_MAX, SESSIONS_MAX};
use crate::{hexadecimal, keys, texts};

/// A session's token: so many random bytes, as hexadecimal digits.
const TOKEN_BYTES: usize = 16;

/// An account as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// What Argon2 made of the password. Accounts of the packet protocol have none, and no password fits.
    pub(crate) password: Option<String>,
    /// Seconds since 1970.
    pub(crate) created: i64,
}

/// One login as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    /// Seconds since 1970.
    pub(super) since: i64,
    /// The number that the client gave the last message that it sent; 0 before the first.
    pub(super) number: u64,
    /// The number that this message got.
    pub(super) id: i32,
    /// What its sender was told.
    pub(super) text: String,
}

/// A login that succeeded.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) token: String,
    pub(crate) unread: u64,
}

impl State {
    /// Makes an account. `password: None` is an account of the packet protocol.
    pub(crate) async fn create_account(&self, name: &str, password: Option<&str>) -> Result<(), StateError> {
        check_name(name)?;
        // Before the work: most refusals are because the name is taken.
        if self.account(name).await?.is_some() {
            return Err(StateError::refused(texts::TAKEN));
        }
        if self.count(keys::ACCOUNTS).await? >= ACCOUNTS_MAX {
            return Err(StateError::refused(format!(
                "There are {ACCOUNTS_MAX} accounts, which is the most."
            )));
        }
        let password = match password {
            Some(password) => Some(self.passwords.hash(checked_password(password)?).await?),
            None => None,
        };
        let account = Account { password, created: now() };
        let key = keys::account(name);
        let reply = self.write(vec![unchanged(key.clone(), 0)], vec![put(key, &account)], vec![]).await?;
        if reply.succeeded { Ok(()) } else { Err(StateError::refused(texts::TAKEN)) }
    }

    /// The account of this name, if there is one.
    pub(crate) async fn account(&self, name: &str) -> Result<Option<Account>, StateError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Ok(None);
        }
        Ok(self.read(&keys::account(name)).await?.map(|(account, _)| account))
    }

    /// Checks a password and begins a session.
    pub(crate) async fn log_in(&self, name: &str, password: &str) -> Result<Login, StateError> {
        let Some(account) = self.account(name).await? else {
            return Err(StateError::refused(texts::NO_SUCH_USER));
        };
        let fits = match account.password {
            Some(kept) => self.passwords.verify(checked_password(password)?, kept).await?,
            None => false,
        };
        if !fits {
            return Err(StateError::refused(texts::WRONG_PASSWORD));
        }
        let token = draw_token()?;
        let session = Session { since: now(), number: 0, id: 0, text: String::new() };
        let mut operations = vec![put(session_key(name, &token), &session)];
        let mut sessions = Vec::new();
        for item in self.list(&keys::sessions(name), 2 * SESSIONS_MAX).await?.0 {
            sessions.push((parse_item::<Session>(&item)?.since, item.key));
        }
        sessions.sort();
        let surplus = (sessions.len() + 1).saturating_sub(SESSIONS_MAX);
        operations.extend(sessions.into_iter().take(surplus).map(|(_, key)| delete(key)));
        let reply = self.write(vec![exists(keys::account(name))], operations, vec![]).await?;
        if !reply.succeeded {
            return Err(StateError::refused(texts::NO_SUCH_USER));
        }
        Ok(Login { token, unread: self.unread_count(name).await? })
    }

    /// Whether this token is of a session of this account.
    pub(crate) async fn is_session(&self, name: &str, token: &str) -> Result<bool, StateError> {
        Ok(self.read::<Session>(&session_key(name, token)).await?.is_some())
    }

    /// Ends a session. That there is none is no error.
    pub(crate) async fn log_out(&self, name: &str, token: &str) -> Result<(), StateError> {
        self.write(vec![], vec![delete(session_key(name, token))], vec![]).await.map(drop)
    }

    /// Messages that this account has not read.
    pub(crate) async fn unread_count(&self, name: &str) -> Result<u64, StateError> {
        self.count(&keys::unread_all(name)).await
    }

    /// Every name that fits, sorted.
    pub(crate) async fn accounts(&self, fits: &str) -> Result<Vec<String>, StateError> {
        let pattern = pattern(fits)?;
        self.accounts_where(|name| pattern.matches(name)).await
    }

    /// Every name that fits, sorted.
    pub(crate) async fn accounts_where(
        &self,
        fits: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, StateError> {
        let (items, _) = self.list(keys::ACCOUNTS, PAGED_MAX).await?;
        Ok(names(&items).into_iter().filter(|name| fits(name)).collect())
    }

    /// Removes an account with its messages and sessions. What it sent stays with those who got it.
    pub(crate) async fn delete_account(&self, name: &str) -> Result<(), StateError> {
        check_name(name).map_err(|_| StateError::refused(texts::NO_USER))?;
        let key = keys::account(name);
        let operations =
            vec![delete(key.clone()), delete_all(keys::own(name)), delete_all(keys::sessions(name))];
        let reply = self.write(vec![exists(key)], operations, vec![]).await?;
        if reply.succeeded { Ok(()) } else { Err(StateError::refused(texts::NO_USER)) }
    }

    /// The session of this token as it is now, and since which revision.
    pub(super) async fn session(
        &self,
        name: &str,
        token: &str,
    ) -> Result<Option<(Session, u64)>, StateError> {
        self.read(&session_key(name, token)).await
    }
}

/// Where a session is kept: under a hash, so that what is in the store opens nothing.
pub(super) fn session_key(name: &str, token: &str) -> String {
    format!("{}{}", keys::sessions(name), hexadecimal(&<[u8; 32]>::from(Sha256::digest(token.as_bytes()))))
}

fn draw_token() -> Result<String, StateError> {
    let mut token = [0; TOKEN_BYTES];
    getrandom::fill(&mut token).map_err(|error| StateError::Foreign {
        key: "the system's random numbers".to_owned(),
        detail: error.to_string(),
    })?;
    Ok(hexadecimal(&token))
}

fn check_name(name: &str) -> Result<(), StateError> {
    if name.is_empty() {
        return Err(StateError::refused(texts::NOT_PROVIDED));
    }
    if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(StateError::refused(format!(
            "A username has at most {NAME_BYTES_MAX} bytes and no control characters."
        )));
    }
    Ok(())
}

fn checked_password(password: &str) -> Result<String, StateError> {
    match password.len() {
        0 => Err(StateError::refused(texts::NOT_PROVIDED)),
        length if length > PASSWORD_BYTES_MAX => {
            Err(StateError::refused(format!("A password has at most {PASSWORD_BYTES_MAX} bytes.")))
        }
        _ => Ok(password.to_owned()),
    }
}

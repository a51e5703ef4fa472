//! Messages on their way: each draws a number from a log of the store, and is in its boxes with one write after that.
//!
//! The log gives numbers to all servers at once without any of them waiting for another; a number whose message was not
//! written is never used again. Refuses to send twice: with a session, a message that was sent is answered as it was the
//! first time.

use std::collections::BTreeMap;

use holdfast_client::AppendOptions;
use holdfast_client::reply::{Compare, Deduplication, LogSettings, TxnOperation};
use tokio::time::sleep;

use super::accounts::{Session, session_key};
use super::{Message, State, StateError, exists, get, is_pattern, items_of, now, put, unchanged};
use crate::limits::{
    CONFLICTS_MAX, CONTENT_BYTES_MAX, NAME_BYTES_MAX, NUMBERS_KEPT, PULSE_INTERVAL, RECIPIENTS_MAX,
    UNREAD_MAX,
};
use crate::{hexadecimal, keys, texts};

/// A message that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Its number.
    pub(crate) id: i32,
    /// What the sender is told.
    pub(crate) text: String,
}

/// By which its sender knows a message, should it be sent again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp<'a> {
    pub(crate) token: &'a str,
    pub(crate) number: u64,
}

impl State {
    /// Sends a message to one account, or to every account that fits a pattern: to all or none.
    pub(crate) async fn send(
        &self,
        from: &str,
        to: &str,
        content: &str,
        stamp: Option<Stamp<'_>>,
    ) -> Result<Sent, StateError> {
        if to.is_empty() || content.is_empty() {
            return Err(StateError::refused(texts::MISSING));
        }
        if content.len() > CONTENT_BYTES_MAX {
            return Err(StateError::refused(format!("A message has at most {CONTENT_BYTES_MAX} bytes.")));
        }
        if to.len() > NAME_BYTES_MAX || from.len() > NAME_BYTES_MAX {
            return Err(StateError::refused(texts::NO_RECIPIENT));
        }
        for _ in 0..CONFLICTS_MAX {
            let (session, recipients) = tokio::join!(self.stamped(from, stamp), self.recipients(to));
            let session = match session? {
                Stamped::Before(sent) => return Ok(sent),
                Stamped::Now(session) => session,
            };
            let recipients = recipients?;
            let text = match recipients.len() {
                1 => texts::sent(&recipients[0], content),
                count => texts::sent(&format!("{to} ({count} accounts)"), content),
            };
            let id = self.draw_number().await?;
            let mut compare = vec![exists(keys::account(from))];
            compare.extend(recipients.iter().map(|name| exists(keys::account(name))));
            compare.extend(recipients.iter().map(|name| absent(keys::id(name, id))));
            let mut success = copies(id, from, &recipients, content);
            if let Some((key, mut record, revision, number)) = session {
                compare.push(unchanged(key.clone(), revision));
                (record.number, record.id, record.text) = (number, id, text.clone());
                success.push(put(key, &record));
            }
            let reply = self.write(compare, success, vec![get(keys::account(from))]).await?;
            if reply.succeeded {
                return Ok(Sent { id, text });
            }
            if items_of(reply.results.first()).is_empty() {
                return Err(StateError::refused(texts::NOT_LOGGED_IN));
            }
        }
        Err(StateError::Conflicts)
    }

    /// The session under which a message is sent, and whether it was sent before.
    async fn stamped(&self, from: &str, stamp: Option<Stamp<'_>>) -> Result<Stamped, StateError> {
        let Some(stamp) = stamp else { return Ok(Stamped::Now(None)) };
        let Some((before, revision)) = self.session(from, stamp.token).await? else {
            return Err(StateError::refused(texts::LOG_IN_FIRST));
        };
        if stamp.number < before.number {
            return Err(StateError::refused("A later message was sent already."));
        }
        if stamp.number == before.number {
            return Ok(Stamped::Before(Sent { id: before.id, text: before.text }));
        }
        Ok(Stamped::Now(Some((session_key(from, stamp.token), before, revision, stamp.number))))
    }

    /// A number that no other message has.
    async fn draw_number(&self) -> Result<i32, StateError> {
        // What is in the log says nothing, but must differ: a log that is new compares contents.
        let mut ticket = [0; 16];
        getrandom::fill(&mut ticket).map_err(|error| StateError::Foreign {
            key: "the system's random numbers".to_owned(),
            detail: error.to_string(),
        })?;
        let options = AppendOptions { concern: Some(holdfast_client::WriteConcern::Majority), key: None };
        let reply = self.client.log(keys::NUMBERS).append(hexadecimal(&ticket), options).await?;
        if !reply.committed {
            // A number that may be undone may be another message's later.
            return Err(StateError::Conflicts);
        }
        i32::try_from(reply.id).map_err(|_| StateError::refused("All numbers of messages are used up."))
    }

    /// Has the log of numbers keep only the last ones, as soon as the store can be told so.
    pub(crate) async fn keep_few_numbers(&self) {
        let settings = LogSettings {
            deduplication: Some(Deduplication::None),
            retain_messages: Some(NUMBERS_KEPT),
            ..LogSettings::default()
        };
        while let Err(error) = self.client.log(keys::NUMBERS).configure(&settings, None).await {
            tracing::debug!("the log of numbers cannot be set up yet: {error}");
            sleep(PULSE_INTERVAL).await;
        }
    }

    /// Who gets it. A name that is a pattern too is the name.
    async fn recipients(&self, to: &str) -> Result<Vec<String>, StateError> {
        let recipients = if self.account(to).await?.is_some() {
            vec![to.to_owned()]
        } else if is_pattern(to) {
            self.accounts(to).await?
        } else {
            Vec::new()
        };
        if recipients.is_empty() {
            return Err(StateError::refused(texts::NO_RECIPIENT));
        }
        if recipients.len() > RECIPIENTS_MAX {
            return Err(StateError::refused(format!(
                "'{to}' fits {} accounts; a message goes to {RECIPIENTS_MAX} at most.",
                recipients.len()
            )));
        }
        for name in &recipients {
            if self.unread_count(name).await? >= UNREAD_MAX {
                return Err(StateError::refused(format!(
                    "'{name}' has {UNREAD_MAX} unread messages, which is the most."
                )));
            }
        }
        Ok(recipients)
    }
}

/// Whether a message was sent before, or under which session it is sent now: its key, what it holds, since when, and the message's
/// number in it.
enum Stamped {
    Before(Sent),
    Now(Option<(String, Session, u64, u64)>),
}

fn absent(key: String) -> Compare {
    unchanged(key, 0)
}

/// The copies of one message. No key is written twice, also when somebody writes to themselves.
fn copies(id: i32, from: &str, recipients: &[String], content: &str) -> Vec<TxnOperation> {
    let mut copies = BTreeMap::new();
    let timestamp = now();
    copies.insert(keys::id(from, id), put(keys::id(from, id), &recipients));
    for to in recipients {
        let message =
            Message { id, from: from.to_owned(), to: to.clone(), content: content.to_owned(), timestamp };
        copies.insert(keys::talk(from, to, id), put(keys::talk(from, to, id), &message));
        copies.insert(keys::talk(to, from, id), put(keys::talk(to, from, id), &message));
        copies.insert(keys::unread(to, id), put(keys::unread(to, id), &message));
        if to != from {
            copies.insert(keys::id(to, id), put(keys::id(to, id), &[from]));
        }
    }
    copies.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_message_is_one_transaction() {
        let recipients: Vec<String> = (0..RECIPIENTS_MAX).map(|number| format!("user{number}")).collect();
        let operations = copies(0, "from", &recipients, &"x".repeat(CONTENT_BYTES_MAX));
        // And the number and the session.
        assert!(operations.len() + 2 <= 128, "{}", operations.len());
        let bytes: usize =
            operations.iter().map(|operation| serde_json::to_vec(operation).expect("plain data").len()).sum();
        assert!(bytes < 1024 * 1024, "{bytes}");
    }

    #[test]
    fn who_writes_to_themselves_has_one_copy() {
        assert_eq!(copies(4, "a", &["a".to_owned()], "hi").len(), 3);
    }
}

//! Messages that one of the two ends deletes: they go from both boxes, and whoever waits for messages hears of it.
//!
//! Refuses to delete what is between others.

use std::collections::BTreeSet;

use super::{State, StateError, delete, exists, get, items_of, parse_item};
use crate::limits::{DELETED_AT_ONCE, DELETED_MAX};
use crate::{keys, texts};

/// Deletes in one transaction, as the store has it. One message to many has half as many at most.
const DELETES_MAX: usize = 128;

impl State {
    /// Deletes these messages of `name`, and says how many there were.
    pub(crate) async fn delete_messages(&self, name: &str, ids: &[i32]) -> Result<usize, StateError> {
        if self.account(name).await?.is_none() {
            return Err(StateError::refused(texts::NO_USER));
        }
        if ids.len() > DELETED_MAX {
            return Err(StateError::refused(format!("At most {DELETED_MAX} messages are deleted at once.")));
        }
        let ids: Vec<i32> = ids.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let mut count = 0;
        for ids in ids.chunks(DELETED_AT_ONCE) {
            count += self.delete_some(name, ids).await?;
        }
        Ok(count)
    }

    async fn delete_some(&self, name: &str, ids: &[i32]) -> Result<usize, StateError> {
        let whose =
            self.write(vec![], ids.iter().map(|id| get(keys::id(name, *id))).collect(), vec![]).await?;
        let mut doomed = BTreeSet::new();
        let mut count = 0;
        for (id, result) in ids.iter().zip(&whose.results) {
            let Some(item) = items_of(Some(result)).first() else { continue };
            let partners: Vec<String> = parse_item(item)?;
            count += 1;
            for partner in &partners {
                for (one, other) in [(name, partner.as_str()), (partner.as_str(), name)] {
                    doomed.insert(keys::unread(one, *id));
                    doomed.insert(keys::talk(one, other, *id));
                    doomed.insert(keys::id(one, *id));
                }
            }
            if doomed.len() > DELETES_MAX / 2 {
                self.delete_keys(name, std::mem::take(&mut doomed)).await?;
            }
        }
        self.delete_keys(name, doomed).await?;
        Ok(count)
    }

    async fn delete_keys(&self, name: &str, doomed: BTreeSet<String>) -> Result<(), StateError> {
        if doomed.is_empty() {
            return Ok(());
        }
        let operations = doomed.into_iter().map(delete).collect();
        let reply = self.write(vec![exists(keys::account(name))], operations, vec![]).await?;
        if reply.succeeded { Ok(()) } else { Err(StateError::refused(texts::NO_USER)) }
    }
}

//! Pages of messages, and which of them are read.
//!
//! Refuses to mark what it does not return, or was not told to.

use super::{Message, State, StateError, delete, deleted_by, exists, get, items_of, page, parse_item};
use crate::limits::PAGE_MAX;
use crate::{keys, texts};

/// What a read does to the messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Marking {
    /// What is returned counts as read.
    Returned,
    /// These count as read, because their reader has seen them; what is returned does not yet. An answer that is lost on its way
    /// loses no message so.
    Seen(Vec<i32>),
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Messages in the order of their numbers, and whether their recipient had read them before.
    pub(crate) messages: Vec<(Message, bool)>,
    /// Of all pages together.
    pub(crate) total: u64,
    /// After this page.
    pub(crate) remaining: u64,
    /// Unread by this account, before.
    pub(crate) total_unread: u64,
    /// And after.
    pub(crate) remaining_unread: u64,
}

impl State {
    /// A page of the conversation with `partner`, or of what is unread if that is empty.
    pub(crate) async fn messages(
        &self,
        name: &str,
        partner: &str,
        size: i32,
        number: i32,
        marking: &Marking,
    ) -> Result<Page, StateError> {
        if self.account(name).await?.is_none() {
            return Err(StateError::refused(texts::LOG_IN_FIRST));
        }
        if let Marking::Seen(ids) = marking {
            self.mark(name, ids).await?;
        }
        let total_unread = self.unread_count(name).await?;
        let (before, size) = page(size, number);
        let prefix = if partner.is_empty() { keys::unread_all(name) } else { keys::talk_all(name, partner) };
        let (items, total) = self.list(&prefix, before + size).await?;
        let mut messages = Vec::new();
        for item in items.iter().skip(before) {
            messages.push(parse_item::<Message>(item)?);
        }
        let (messages, marked) = self.marked(name, messages, *marking == Marking::Returned).await?;
        let seen = (before as u64 + messages.len() as u64).min(total);
        Ok(Page {
            messages,
            total,
            remaining: total - seen,
            total_unread,
            remaining_unread: total_unread.saturating_sub(marked),
        })
    }

    /// Marks these as read.
    pub(crate) async fn mark(&self, name: &str, ids: &[i32]) -> Result<(), StateError> {
        for ids in ids.chunks(PAGE_MAX) {
            let operations = ids.iter().map(|id| delete(keys::unread(name, *id))).collect();
            self.write(vec![exists(keys::account(name))], operations, vec![]).await?;
        }
        Ok(())
    }

    /// Tells which messages were read, marking those to `name` if told so; and how many of these were not.
    async fn marked(
        &self,
        name: &str,
        messages: Vec<Message>,
        mark: bool,
    ) -> Result<(Vec<(Message, bool)>, u64), StateError> {
        if messages.is_empty() {
            return Ok((Vec::new(), 0));
        }
        let operation = |message: &Message| {
            let key = keys::unread(&message.to, message.id);
            if mark && message.to == name { delete(key) } else { get(key) }
        };
        let reply = self.write(vec![], messages.iter().map(operation).collect(), vec![]).await?;
        let mut marked = 0;
        let mut told = Vec::new();
        for (message, result) in messages.into_iter().zip(&reply.results) {
            let removed = deleted_by(Some(result));
            marked += removed;
            let unread = removed > 0 || !items_of(Some(result)).is_empty();
            told.push((message, !unread));
        }
        Ok((told, marked))
    }
}

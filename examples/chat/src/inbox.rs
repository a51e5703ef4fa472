//! Every message for one account, each once and in order, whichever servers come and go.
//!
//! It subscribes first and asks for what is unread then, so that nothing falls between. Messages count as read only after they
//! were handed out. Refuses to forget what it handed out as long as that could come again.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tonic::Streaming;

use crate::caller::{CallError, Caller, by_number};
use crate::limits::PAGE_MAX;
use crate::messages::{ChatMessage, PushEvent};

/// So many are marked as read with one call.
const SEEN_MAX: usize = PAGE_MAX;
/// Or after so long without another message.
const SEEN_AFTER: Duration = Duration::from_millis(200);
/// Numbers of messages that are remembered: far more than can be on the way.
const REMEMBERED_MAX: usize = 10 * crate::limits::EVENTS_WAITING_MAX;
/// The pause after nobody could be subscribed to.
const PAUSE: Duration = Duration::from_millis(100);

/// The messages of the account that a caller is logged in to.
#[derive(Debug)]
pub struct Inbox {
    caller: Caller,
    stream: Option<Streaming<PushEvent>>,
    waiting: VecDeque<ChatMessage>,
    handed_out: BTreeSet<i32>,
    /// Handed out, and still unread for the servers.
    seen: Vec<i32>,
}

impl Inbox {
    /// Of the account that `caller` is logged in to. Does not connect yet.
    pub fn new(caller: &Caller) -> Inbox {
        Inbox {
            caller: caller.clone(),
            stream: None,
            waiting: VecDeque::new(),
            handed_out: BTreeSet::new(),
            seen: Vec::new(),
        }
    }

    /// Waits for the next message, however long that takes. May be given up and called again: nothing is lost by that.
    ///
    /// # Errors
    /// [`CallError::Refused`]: the session is over, or the account is gone.
    pub async fn next(&mut self) -> Result<ChatMessage, CallError> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                if self.hand_out(message.id) {
                    return Ok(message);
                }
                continue;
            }
            if self.seen.len() >= SEEN_MAX {
                self.mark().await?;
                continue;
            }
            let Some(stream) = &mut self.stream else {
                self.connect().await?;
                continue;
            };
            let event = match self.seen.is_empty() {
                true => stream.message().await,
                false => match timeout(SEEN_AFTER, stream.message()).await {
                    Ok(event) => event,
                    Err(_) => {
                        self.mark().await?;
                        continue;
                    }
                },
            };
            match event {
                Ok(Some(PushEvent { new_message: Some(new), .. })) => {
                    self.waiting.push_back(ChatMessage {
                        id: new.id,
                        from_: new.from_,
                        to: new.to,
                        content: new.content,
                        read: false,
                        timestamp: new.timestamp,
                    });
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => self.stream = None,
            }
        }
    }

    /// Marks what was handed out as read, at once.
    ///
    /// # Errors
    /// As [`Inbox::next`].
    pub async fn flush(&mut self) -> Result<(), CallError> {
        while !self.seen.is_empty() {
            self.mark().await?;
        }
        Ok(())
    }

    fn hand_out(&mut self, id: i32) -> bool {
        if !self.handed_out.insert(id) {
            return false;
        }
        self.seen.push(id);
        if self.handed_out.len() > REMEMBERED_MAX {
            self.handed_out.pop_first();
        }
        true
    }

    async fn connect(&mut self) -> Result<(), CallError> {
        let stream = match self.caller.subscribe().await {
            Ok(stream) => stream,
            Err(CallError::NoAnswer { .. }) => {
                sleep(PAUSE).await;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        // Everything that is unread, before the first event: all that was committed before the subscription.
        let mut unread = Vec::new();
        for page in 1.. {
            match self.caller.read("", PAGE_MAX as i32, page, &[]).await {
                Ok(reply) => {
                    let last = reply.remaining == 0 || reply.messages.is_empty();
                    unread.extend(reply.messages);
                    if last {
                        break;
                    }
                }
                Err(CallError::NoAnswer { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        by_number(&mut unread);
        self.waiting.extend(unread);
        self.stream = Some(stream);
        Ok(())
    }

    /// Marks the first of those that were handed out.
    async fn mark(&mut self) -> Result<(), CallError> {
        let count = self.seen.len().min(SEEN_MAX);
        match self.caller.read("", 1, 1, &self.seen[..count]).await {
            Ok(_) => {
                self.seen.drain(..count);
                Ok(())
            }
            // Then later; it does no harm to mark them twice.
            Err(CallError::NoAnswer { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

//! One client of the packet protocol: its requests one after the other, and messages for it in between.
//!
//! A message counts as delivered when it is written to the connection; the protocol has no acknowledgement. Refuses to lose one: until
//! then it is queued in the store, and comes again after a failover.

use std::collections::BTreeSet;
use std::sync::Arc;

use regex::RegexBuilder;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::{Instant, sleep_until};

use super::room::Room;
use super::{HEAD_BYTES, PACKET_GAP, Packet, PacketError, READ_BYTES, operation};
use crate::limits::PAGE_MAX;
use crate::push::{Event, Subscription};
use crate::state::{Marking, Message, StateError};
use crate::texts;

/// What a pattern may take when it is compiled: a person's pattern needs a few KiB.
const PATTERN_BYTES_MAX: usize = 64 * 1024;
/// Numbers of messages that were delivered here: an event that comes late does not deliver one again.
const REMEMBERED_MAX: usize = 1024;

struct Connection {
    room: Arc<Room>,
    number: u64,
    output: OwnedWriteHalf,
    /// Not before this a packet may follow the last one.
    next: Instant,
    /// Who it is, and what happens to them.
    user: Option<(String, Subscription)>,
    delivered: BTreeSet<i32>,
}

/// Serves one connection until it breaks, is of no more use, or the member does not lead any more.
pub(super) async fn serve(stream: TcpStream, room: Arc<Room>) -> Result<(), PacketError> {
    stream.set_nodelay(true)?;
    let (input, output) = stream.into_split();
    let number = room.number();
    let mut connection = Connection {
        room: room.clone(),
        number,
        output,
        next: Instant::now(),
        user: None,
        delivered: BTreeSet::new(),
    };
    if !room.look().await {
        return connection.write(operation::NOT_ME, "Server is not leader").await;
    }
    connection.write(operation::SAYS, "Server is the leader").await?;
    // A packet that is half read must not be forgotten when an event comes in between.
    let (packets_in, mut packets) = tokio::sync::mpsc::channel(1);
    let reader = tokio::spawn(async move {
        let mut input = tokio::io::BufReader::new(input);
        loop {
            let packet = Packet::read(&mut input).await;
            let last = packet.is_err();
            if packets_in.send(packet).await.is_err() || last {
                return;
            }
        }
    });
    let result = tokio::select! {
        () = room.deposed() => Ok(()),
        result = connection.talk(&mut packets) => result,
    };
    reader.abort();
    if let Some((name, _)) = connection.user.take() {
        room.leave(&name, number);
    }
    result
}

impl Connection {
    async fn talk(
        &mut self,
        packets: &mut tokio::sync::mpsc::Receiver<Result<Packet, PacketError>>,
    ) -> Result<(), PacketError> {
        loop {
            let event = async {
                match &mut self.user {
                    Some((_, subscription)) => subscription.events.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                packet = packets.recv() => match packet {
                    Some(packet) => self.answer(packet?).await?,
                    None => return Ok(()),
                },
                event = event => match event {
                    Some(Event::New(message)) => {
                        if !self.still_here() {
                            return Ok(());
                        }
                        self.deliver(&message).await?;
                    }
                    Some(Event::Deleted(_)) => {}
                    // Something may be missing: the client comes again, and gets it.
                    None => return Ok(()),
                },
            }
        }
    }

    /// Whether no other connection took the name over.
    fn still_here(&self) -> bool {
        self.user.as_ref().is_none_or(|(name, _)| self.room.has(name, self.number))
    }

    async fn answer(&mut self, packet: Packet) -> Result<(), PacketError> {
        let said = match packet.operation {
            operation::LIST => self.list(&packet.data).await,
            operation::CREATE => self.create(&packet.data).await,
            operation::LOG_IN => self.log_in(&packet.data).await,
            operation::ATTACH => return self.attach(&packet.name).await,
            _ => match self.user.as_ref().map(|(name, _)| name.clone()) {
                None => Ok("<server> Operation not permitted. You are not logged in.".to_owned()),
                Some(name) => match packet.operation {
                    operation::LOG_OUT => {
                        self.leave();
                        Ok(format!("<server> Account \"{name}\" logged out."))
                    }
                    operation::DELETE => self.delete(&name).await,
                    operation::SEND => self.send(&name, &packet.data).await,
                    operation::DELIVER => return self.deliver_queued(true).await,
                    other => Ok(format!("<server> {other} is not a valid operation code.")),
                },
            },
        };
        let text = said.unwrap_or_else(|error| format!("<server> {error}"));
        self.write(operation::SAYS, &text).await
    }

    async fn list(&self, expression: &str) -> Result<String, StateError> {
        let pattern = RegexBuilder::new(&format!("^(?:{expression})")).size_limit(PATTERN_BYTES_MAX).build();
        let Ok(pattern) = pattern else {
            return Ok(format!("<server> {expression} is not a valid regex pattern."));
        };
        let names = self.room.state.accounts_where(|name| pattern.is_match(name)).await?;
        let room = READ_BYTES - HEAD_BYTES - self.name().len();
        Ok(listed(&names, room))
    }

    async fn create(&mut self, name: &str) -> Result<String, StateError> {
        let failed = |why: &str| Ok(format!("<server> Failed to create account. {why}"));
        if name.contains([' ', '|']) {
            return failed("Username cannot have \" \" or \"|\".");
        }
        if name.is_empty() {
            return failed("Username cannot be empty.");
        }
        match self.room.state.create_account(name, None).await {
            Ok(()) => {}
            Err(StateError::Refused(text)) if text == texts::TAKEN => {
                return failed(&format!("Username \"{name}\" is already in use."));
            }
            Err(StateError::Refused(text)) => return failed(&text),
            Err(error) => return Err(error),
        }
        self.room.take_over(name, self.number);
        Ok(match self.become_user(name).await {
            true => format!("<server> Account created with username \"{name}\"."),
            false => format!("<server> Account created with username \"{name}\". Log in to go on."),
        })
    }

    async fn log_in(&mut self, name: &str) -> Result<String, StateError> {
        let failed = |why: String| Ok(format!("<server> Failed to login. Account \"{name}\" {why}"));
        match self.room.state.account(name).await? {
            None => return failed("not found.".to_owned()),
            Some(account) if account.password.is_some() => {
                return failed("has a password, which this protocol cannot check.".to_owned());
            }
            Some(_) => {}
        }
        let is_own = self.user.as_ref().is_some_and(|(own, _)| own == name);
        if is_own || !self.room.enter(name, self.number) {
            return failed(
                "is already logged in. You cannot log in to the same account from multiple clients."
                    .to_owned(),
            );
        }
        Ok(match self.become_user(name).await {
            true => format!("<server> Account \"{name}\" logged in."),
            false => format!("<server> {}", texts::NO_LEADER),
        })
    }

    /// The client was connected elsewhere, and goes on here: what came for it meanwhile is delivered.
    async fn attach(&mut self, name: &str) -> Result<(), PacketError> {
        if name.is_empty() {
            return Ok(());
        }
        let account = self.room.state.account(name).await;
        if !account.is_ok_and(|account| account.is_some_and(|account| account.password.is_none())) {
            return Ok(());
        }
        self.room.take_over(name, self.number);
        if self.become_user(name).await { self.deliver_queued(false).await } else { Ok(()) }
    }

    /// From now on this is `name`'s connection, which it is in the room already.
    async fn become_user(&mut self, name: &str) -> bool {
        if self.user.as_ref().is_some_and(|(own, _)| own != name) {
            self.leave();
        }
        match self.room.hub.subscribe(name).await {
            Some(subscription) => {
                self.user = Some((name.to_owned(), subscription));
                true
            }
            None => {
                self.room.leave(name, self.number);
                false
            }
        }
    }

    fn leave(&mut self) {
        if let Some((name, _)) = self.user.take() {
            self.room.leave(&name, self.number);
        }
    }

    async fn delete(&mut self, name: &str) -> Result<String, StateError> {
        self.room.state.delete_account(name).await?;
        self.leave();
        Ok(format!("<server> Account \"{name}\" deleted."))
    }

    async fn send(&self, from: &str, data: &str) -> Result<String, StateError> {
        let parts = data.split_once('|').filter(|(to, text)| {
            !to.is_empty()
                && !to.contains(char::is_whitespace)
                && !text.is_empty()
                && !text.contains(char::is_control)
        });
        let Some((to, text)) = parts else { return Ok(format!("<server> Invalid input: {data}")) };
        let missing = format!("<server> Failed to send. Account \"{to}\" does not exist.");
        if self.room.state.account(to).await?.is_none() {
            return Ok(missing);
        }
        let online = self.room.is_online(to);
        match self.room.state.send(from, to, text, None).await {
            Ok(_) if online => Ok(format!("<server> Message sent to \"{to}\".")),
            Ok(_) => Ok(format!("<server> Account \"{to}\" not online. Message queued to send")),
            Err(StateError::Refused(text)) if text == texts::NO_RECIPIENT => Ok(missing),
            Err(error) => Err(error),
        }
    }

    async fn deliver_queued(&mut self, asked: bool) -> Result<(), PacketError> {
        let mut any = false;
        loop {
            let name = self.name().to_owned();
            let seen = Marking::Seen(Vec::new());
            let page = self.room.state.messages(&name, "", PAGE_MAX as i32, 1, &seen).await;
            let messages = match page {
                Ok(page) => page.messages,
                Err(error) => return self.write(operation::SAYS, &format!("<server> {error}")).await,
            };
            let fresh: Vec<Message> = messages.into_iter().map(|(message, _)| message).collect();
            if fresh.is_empty() {
                break;
            }
            any = true;
            for message in fresh {
                self.deliver(&message).await?;
            }
        }
        if asked && !any {
            self.write(operation::SAYS, "<server> No messages queued").await?;
        }
        Ok(())
    }

    /// Writes a message unless it was written here before, and has it count as read.
    async fn deliver(&mut self, message: &Message) -> Result<(), PacketError> {
        if self.delivered.insert(message.id) {
            if self.delivered.len() > REMEMBERED_MAX {
                self.delivered.pop_first();
            }
            let room = READ_BYTES - HEAD_BYTES - self.name().len() - message.from.len() - "<> ".len();
            for piece in pieces(&message.content, room) {
                self.write(operation::SAYS, &format!("<{}> {piece}", message.from)).await?;
            }
        }
        let name = self.name().to_owned();
        if let Err(error) = self.room.state.mark(&name, &[message.id]).await {
            // It stays queued, and comes again with the next connection: rather twice than never.
            tracing::info!(message.id, "a message was delivered and cannot be marked so: {error}");
            return Err(std::io::Error::other(error.to_string()).into());
        }
        Ok(())
    }

    fn name(&self) -> &str {
        self.user.as_ref().map_or("", |(name, _)| name)
    }

    async fn write(&mut self, operation: u8, text: &str) -> Result<(), PacketError> {
        let name = self.name().to_owned();
        let most = READ_BYTES - HEAD_BYTES - name.len();
        let data = pieces(text, most).next().unwrap_or_default().to_owned();
        let bytes = Packet { name, operation, data }.encode();
        sleep_until(self.next).await;
        self.output.write_all(&bytes).await?;
        self.next = Instant::now() + PACKET_GAP;
        Ok(())
    }
}

/// A text in pieces of at most so many bytes, never through a character.
fn pieces(text: &str, most: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(rest.floor_char_boundary(most));
        rest = after;
        Some(piece)
    })
}

/// Names as Python shows a list of them, as many as there is room for.
fn listed(names: &[String], room: usize) -> String {
    let mut text = "<server> List of accounts: [".to_owned();
    for (count, name) in names.iter().enumerate() {
        let quote = if name.contains('\'') && !name.contains('"') { '"' } else { '\'' };
        let name = name.replace('\\', "\\\\");
        let name = if quote == '\'' { name.replace('\'', "\\'") } else { name };
        let comma = if count == 0 { "" } else { ", " };
        let next = format!("{comma}{quote}{name}{quote}");
        if text.len() + next.len() + ", ...]".len() > room {
            text.push_str(", ...");
            break;
        }
        text.push_str(&next);
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed_as_clients_know_it() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(listed(&[], 1000), "<server> List of accounts: []");
        assert_eq!(listed(&names(&["a", "b'c"]), 1000), "<server> List of accounts: ['a', \"b'c\"]");
        let many = names(&["abcdefgh"; 200]);
        assert!(listed(&many, 500).len() <= 500 && listed(&many, 500).ends_with("', ...]"));
    }

    #[test]
    fn pieces_do_not_cut_characters() {
        let check = |text: &str, most, expected: &[&str]| {
            assert_eq!(pieces(text, most).collect::<Vec<_>>(), expected);
        };
        check("", 4, &[]);
        check("abcdef", 4, &["abcd", "ef"]);
        check("aéé", 2, &["a", "é", "é"]);
    }
}

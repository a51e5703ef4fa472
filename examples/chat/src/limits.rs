//! Every limit of the chat, and how its number was found.
//!
//! Refuses to be larger than what one transaction of the store takes: 128 operations, 1 MiB.

use std::time::Duration;

/// A name, in bytes. It is part of keys of at most 4096 bytes, up to twice, and each byte takes up to three there.
pub(crate) const NAME_BYTES_MAX: usize = 128;
/// A message's text, in bytes. It is kept three times: for both ends, and for the recipient until it is read.
pub(crate) const CONTENT_BYTES_MAX: usize = 4096;
/// What a client sends for a password: a hexadecimal SHA-256 has 64 bytes.
pub(crate) const PASSWORD_BYTES_MAX: usize = 256;
/// A pattern of names.
pub(crate) const PATTERN_BYTES_MAX: usize = NAME_BYTES_MAX;
/// Accounts in all: as many as one listing of the store returns.
pub(crate) const ACCOUNTS_MAX: u64 = 10_000;
/// Unread messages of one account. Whoever sends more is refused; three copies of 4 KiB are 120 MB then.
pub(crate) const UNREAD_MAX: u64 = 10_000;
/// Recipients of one message: four writes each and two for the sender fit into one transaction, so that all get it or none.
pub(crate) const RECIPIENTS_MAX: usize = 20;
/// Messages or names in one page: each may take a write of its own, to be marked as read.
pub(crate) const PAGE_MAX: usize = 100;
/// And if a request does not say how many.
pub(crate) const PAGE_DEFAULT: usize = 10;
/// The last message or name that pages reach.
pub(crate) const PAGED_MAX: usize = 10_000;
/// Messages in one request to delete.
pub(crate) const DELETED_MAX: usize = 100;
/// Of which so many go in one transaction: six writes each.
pub(crate) const DELETED_AT_ONCE: usize = 20;
/// Sessions of one account; a login beyond ends the oldest one.
pub(crate) const SESSIONS_MAX: usize = 16;
/// Passwords that are hashed at a time: each takes 19 MiB and a processor for some 20 ms.
pub(crate) const HASHES_AT_ONCE: usize = 2;
/// And that wait for it: two seconds' worth.
pub(crate) const HASHES_WAITING_MAX: usize = 100;
/// Tries to write while accounts come and go under it.
pub(crate) const CONFLICTS_MAX: u32 = 5;
/// Numbers that the store's log of them keeps: none is ever read.
pub(crate) const NUMBERS_KEPT: u64 = 100;
/// How long a server waits for its member: a few elections. What was on its way to a leader that was killed a member asks the next one
/// again; if nobody leads by then, or the member itself is gone, the sender asks another server, under the same number.
pub(crate) const STORE_WAIT: Duration = Duration::from_millis(1500);
/// A member that serves no read for so long has no quorum, and its server's subscribers are sent elsewhere.
pub(crate) const PULSE_WAIT: Duration = Duration::from_millis(1500);
/// How often that is looked at.
pub(crate) const PULSE_INTERVAL: Duration = Duration::from_millis(500);
/// Connections of one server: each costs some 50 KiB.
pub(crate) const CONNECTIONS_MAX: usize = 1024;
/// Calls under way on one connection.
pub(crate) const CALLS_MAX: u32 = 64;
/// A message of the protocol, in bytes: the longest request deletes a hundred messages or sends one.
pub(crate) const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// A reply, in bytes: a page of the longest messages.
pub(crate) const REPLY_BYTES_MAX: usize = 1024 * 1024;
/// Headers of one request.
pub(crate) const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// How long a new connection may be silent.
pub(crate) const FIRST_BYTE_WAIT: Duration = Duration::from_secs(10);
/// A connection that is silent for so long is asked whether somebody is there.
pub(crate) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// And closed when nobody answers for so long.
pub(crate) const KEEP_ALIVE_WAIT: Duration = Duration::from_secs(5);
/// Events that wait for one subscriber; one that is slower is cut off and fetches what it missed.
pub(crate) const EVENTS_WAITING_MAX: usize = 256;
/// Subscribers of one server.
pub(crate) const SUBSCRIBERS_MAX: usize = 4 * CONNECTIONS_MAX;
/// What is under way when the server is told to end has so long.
pub(crate) const END_WAIT: Duration = Duration::from_secs(3);

//! The texts that clients know, word for word.
//!
//! Refuses to be clever: programs compare them.

pub(crate) const NOT_PROVIDED: &str = "Username or password not provided.";
pub(crate) const TAKEN: &str = "Username already exists.";
pub(crate) const EXISTS: &str = "Username exists.";
pub(crate) const DOES_NOT_EXIST: &str = "Username does not exist.";
pub(crate) const NO_SUCH_USER: &str = "No such user.";
pub(crate) const WRONG_PASSWORD: &str = "Incorrect password.";
pub(crate) const NO_RECIPIENT: &str = "Recipient does not exist.";
pub(crate) const NOT_LOGGED_IN: &str = "Not logged in.";
pub(crate) const MISSING: &str = "Recipient or content missing.";
pub(crate) const READ_UNREAD: &str = "Read unread messages.";
pub(crate) const LOG_IN_FIRST: &str = "Please log in first.";
pub(crate) const NO_USER: &str = "User does not exist.";
/// Nobody leads. Safe to send again.
pub const NO_LEADER: &str = "No leader available. Try again later.";
/// The outcome is unknown. Sending again is safe only with a session and a message number.
pub const TIMED_OUT: &str = "Timeout waiting for command to be committed";
/// Servers of before refused so, and named who leads.
pub const NOT_LEADER: &str = "Not the leader.";
/// Too many at once. Safe to send again.
pub const BUSY: &str = "Too many logins at once. Try again later.";

pub(crate) fn created(name: &str) -> String {
    format!("New account '{name}' created.")
}

pub(crate) fn logged_in(name: &str, unread: u64) -> String {
    format!("Logged in as '{name}'. Unread messages: {unread}.")
}

pub(crate) fn sent(to: &str, content: &str) -> String {
    format!("Message sent to '{to}': {content}")
}

pub(crate) fn read_conversation(partner: &str) -> String {
    format!("Read conversation with {partner}.")
}

pub(crate) fn deleted(count: usize) -> String {
    format!("Deleted {count} messages.")
}

pub(crate) fn account_deleted(name: &str) -> String {
    format!("Account '{name}' deleted.")
}

pub(crate) fn logged_out(name: &str) -> String {
    format!("User '{name}' logged out.")
}

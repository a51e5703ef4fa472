//! A client of all servers at once: it asks one that answers, and goes on with another when that one does not.
//!
//! Refuses to send a message twice: within a session each has a number, under which every server knows whether it was sent.

mod round;

use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tonic::body::Body;

use crate::limits::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_WAIT};
use crate::messages::{
    ChatMessage, CheckUsernameRequest, CheckUsernameResponse, CreateAccountRequest, CreateAccountResponse,
    DeleteAccountRequest, DeleteAccountResponse, DeleteMessageRequest, DeleteMessageResponse,
    ListAccountsRequest, ListAccountsResponse, LoginRequest, LoginResponse, LogoutRequest, LogoutResponse,
    ReadMessagesRequest, ReadMessagesResponse, Reply, SendMessageRequest, SendMessageResponse, path,
};
use crate::{hexadecimal, metadata, texts};

/// How long a call takes at most, over all servers, unless [`Caller::with_deadline`] says otherwise.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(15);
/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// Servers that one caller knows.
const SERVERS_MAX: usize = 16;

/// Somebody who uses the chat. Clones share connections, and the session as it is when they are made.
#[derive(Clone, Debug)]
pub struct Caller {
    http: Client<HttpConnector, Body>,
    servers: Vec<Uri>,
    /// The server that answered last.
    at: usize,
    deadline: Duration,
    /// No call goes on after this.
    end: Option<Instant>,
    session: Option<Session>,
    /// What kept the last call from its answer, server by server.
    detours: Vec<String>,
}

#[derive(Clone, Debug)]
struct Session {
    name: String,
    token: String,
    /// The number of the next message.
    next: u64,
}

/// Why there is no answer of the kind that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The chat says no, in these words.
    #[error("{0}")]
    Refused(String),
    /// No server had an answer in time; whether anything happened is not known.
    #[error("no server answered within {:.1} s; {last}", .waited.as_secs_f64())]
    NoAnswer {
        /// How long was waited.
        waited: Duration,
        /// What went wrong last, and where.
        last: String,
    },
    /// A server's address is none.
    #[error("{given:?} is no server: give ADDRESS:PORT, up to 16 of them")]
    Server {
        /// What was given.
        given: String,
    },
    /// Nobody is logged in here.
    #[error("{}", texts::LOG_IN_FIRST)]
    NoSession,
}

impl Caller {
    /// Of the servers at these `ADDRESS:PORT`s. Does not connect yet.
    ///
    /// # Errors
    /// [`CallError::Server`].
    pub fn new<S: AsRef<str>>(servers: impl IntoIterator<Item = S>) -> Result<Caller, CallError> {
        let mut uris = Vec::new();
        for server in servers {
            let given = server.as_ref().trim();
            let wrong = || CallError::Server { given: given.to_owned() };
            let uri: Uri =
                format!("http://{}", given.trim_start_matches("http://")).parse().map_err(|_| wrong())?;
            if uri.port().is_none() || uris.len() == SERVERS_MAX {
                return Err(wrong());
            }
            uris.push(uri);
        }
        if uris.is_empty() {
            return Err(CallError::Server { given: String::new() });
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_MAX));
        connector.set_nodelay(true);
        let http = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .http2_keep_alive_timeout(KEEP_ALIVE_WAIT)
            .http2_keep_alive_while_idle(true)
            .build(connector);
        let (deadline, detours) = (DEADLINE_DEFAULT, Vec::new());
        Ok(Caller { http, servers: uris, at: 0, deadline, end: None, session: None, detours })
    }

    /// The same caller with another bound on every call.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Caller {
        Caller { deadline, ..self.clone() }
    }

    /// The same caller, none of whose calls goes on after `end`.
    #[must_use]
    pub fn with_end(&self, end: Instant) -> Caller {
        Caller { end: Some(end), ..self.clone() }
    }

    /// Begins with another server than the first.
    #[must_use]
    pub fn beginning_at(mut self, server: usize) -> Caller {
        self.at = server % self.servers.len();
        self
    }

    /// Who is logged in.
    pub fn name(&self) -> Option<&str> {
        self.session.as_ref().map(|session| session.name.as_str())
    }

    /// The server that is asked first.
    pub fn server(&self) -> String {
        self.servers[self.at].authority().map_or_else(String::new, ToString::to_string)
    }

    /// Which servers the last call went to in vain, for how long and why; the first of them, if there were many.
    pub fn detours(&self) -> &[String] {
        &self.detours
    }

    /// Makes an account. Says what the chat says.
    ///
    /// # Errors
    /// As [`Caller::send`].
    pub async fn create_account(&mut self, name: &str, password: &str) -> Result<String, CallError> {
        let request = CreateAccountRequest { username: name.to_owned(), password_hash: hash_of(password) };
        let (reply, in_doubt): (CreateAccountResponse, _) = self.call(path::CREATE_ACCOUNT, request).await?;
        if !reply.success && reply.message == texts::TAKEN && in_doubt {
            // Perhaps by us, when the answer was lost: then our password fits.
            let request = LoginRequest { username: name.to_owned(), password_hash: hash_of(password) };
            let (login, _): (LoginResponse, _) = self.call(path::LOGIN, request).await?;
            if login.success {
                return Ok(texts::created(name));
            }
        }
        done(&reply).map(|()| reply.message)
    }

    /// Logs in: what follows is this account's. Says what the chat says.
    ///
    /// # Errors
    /// As [`Caller::send`].
    pub async fn log_in(&mut self, name: &str, password: &str) -> Result<String, CallError> {
        self.session = None;
        let request = LoginRequest { username: name.to_owned(), password_hash: hash_of(password) };
        let (reply, _, metadata): (LoginResponse, _, _) = self.call_with(path::LOGIN, request, None).await?;
        done(&reply)?;
        if let Some(token) = metadata::text(&metadata, metadata::TOKEN) {
            self.session = Some(Session { name: name.to_owned(), token: token.to_owned(), next: 1 });
        }
        Ok(reply.message)
    }

    /// Logs out. Says what the chat says.
    ///
    /// # Errors
    /// As [`Caller::send`].
    pub async fn log_out(&mut self) -> Result<String, CallError> {
        let username = self.own_name()?;
        let (reply, _): (LogoutResponse, _) = self.call(path::LOGOUT, LogoutRequest { username }).await?;
        done(&reply)?;
        self.session = None;
        Ok(reply.message)
    }

    /// Whether there is such an account.
    ///
    /// # Errors
    /// As [`Caller::send`].
    pub async fn exists(&mut self, name: &str) -> Result<bool, CallError> {
        let request = CheckUsernameRequest { username: name.to_owned() };
        let (reply, _): (CheckUsernameResponse, _) = self.call(path::CHECK_USERNAME, request).await?;
        Ok(reply.exists)
    }

    /// A page, from 1, of the names that fit a pattern, and how many fit in all.
    ///
    /// # Errors
    /// As [`Caller::send`].
    pub async fn accounts(
        &mut self,
        pattern: &str,
        page_size: i32,
        page_num: i32,
    ) -> Result<(Vec<String>, i32), CallError> {
        let username = self.own_name()?;
        let request = ListAccountsRequest { username, pattern: pattern.to_owned(), page_size, page_num };
        let (reply, _): (ListAccountsResponse, _) = self.call(path::LIST_ACCOUNTS, request).await?;
        done(&reply).map(|()| (reply.accounts, reply.total_accounts))
    }

    /// Sends a message, once, to a name or to all that fit a pattern. Gives its number and what the chat says.
    ///
    /// # Errors
    /// [`CallError::Refused`]: it was not sent. [`CallError::NoAnswer`]: nobody knows.
    pub async fn send(&mut self, to: &str, content: &str) -> Result<(i32, String), CallError> {
        let session = self.session.as_mut().ok_or(CallError::NoSession)?;
        let number = session.next;
        session.next += 1;
        let request = SendMessageRequest {
            username: session.name.clone(),
            to: to.to_owned(),
            content: content.to_owned(),
        };
        let stamp = (metadata::NUMBER, number.to_string());
        let (reply, _, _): (SendMessageResponse, _, _) =
            self.call_with(path::SEND_MESSAGE, request, Some(stamp)).await?;
        done(&reply).map(|()| (reply.id, reply.message))
    }

    /// A page, from 1, of the conversation with a partner, or of what is unread if that is empty. `seen` counts as read from now on,
    /// and nothing else does.
    ///
    /// # Errors
    /// As [`Caller::send`].
    pub async fn read(
        &mut self,
        chat_partner: &str,
        page_size: i32,
        page_num: i32,
        seen: &[i32],
    ) -> Result<ReadMessagesResponse, CallError> {
        let username = self.own_name()?;
        let request =
            ReadMessagesRequest { username, page_size, page_num, chat_partner: chat_partner.to_owned() };
        let seen: Vec<String> = seen.iter().map(ToString::to_string).collect();
        let stamp = (metadata::SEEN, seen.join(","));
        let (reply, _, _): (ReadMessagesResponse, _, _) =
            self.call_with(path::READ_MESSAGES, request, Some(stamp)).await?;
        done(&reply).map(|()| reply)
    }

    /// Deletes messages of which this account is one end. Says what the chat says.
    ///
    /// # Errors
    /// As [`Caller::send`].
    pub async fn delete_messages(&mut self, ids: &[i32]) -> Result<String, CallError> {
        let request = DeleteMessageRequest { username: self.own_name()?, message_ids: ids.to_vec() };
        let (reply, _): (DeleteMessageResponse, _) = self.call(path::DELETE_MESSAGE, request).await?;
        done(&reply).map(|()| reply.message)
    }

    /// Deletes the account that is logged in. Says what the chat says.
    ///
    /// # Errors
    /// As [`Caller::send`].
    pub async fn delete_account(&mut self) -> Result<String, CallError> {
        let request = DeleteAccountRequest { username: self.own_name()? };
        let (reply, _): (DeleteAccountResponse, _) = self.call(path::DELETE_ACCOUNT, request).await?;
        done(&reply)?;
        self.session = None;
        Ok(reply.message)
    }

    fn own_name(&self) -> Result<String, CallError> {
        self.name().map(str::to_owned).ok_or(CallError::NoSession)
    }
}

fn done(reply: &impl Reply) -> Result<(), CallError> {
    match reply.refusal() {
        None => Ok(()),
        Some(text) => Err(CallError::Refused(text.to_owned())),
    }
}

/// What is sent for a password: its SHA-256, so that no server sees what was typed.
fn hash_of(password: &str) -> String {
    hexadecimal(&<[u8; 32]>::from(Sha256::digest(password.as_bytes())))
}

/// In the order of their numbers, which is the order in which they were sent.
pub(crate) fn by_number(messages: &mut [ChatMessage]) {
    messages.sort_by_key(|message| message.id);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_addresses_with_ports() {
        assert!(Caller::new(["127.0.0.1:50051", "http://chat:50052"]).is_ok());
        for wrong in ["", "127.0.0.1", "a b:1"] {
            assert!(matches!(Caller::new([wrong]), Err(CallError::Server { .. })), "{wrong}");
        }
        assert!(Caller::new(Vec::<String>::new()).is_err());
        assert!(Caller::new(vec!["a:1"; SERVERS_MAX + 1]).is_err());
    }

    #[tokio::test]
    async fn without_servers_a_call_ends_in_time_and_says_why() {
        let mut caller =
            Caller::new(["127.0.0.1:1"]).expect("an address").with_deadline(Duration::from_millis(200));
        let error = caller.exists("a").await.expect_err("nobody is there").to_string();
        assert!(
            error.starts_with("no server answered within 0.") && error.contains("127.0.0.1:1"),
            "{error}"
        );
        assert!(matches!(caller.send("a", "hi").await, Err(CallError::NoSession)));
    }
}

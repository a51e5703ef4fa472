//! [`Log`]: a store's message log, for programs. [`Follow`]: its messages as they are committed.
//!
//! An append is as every write: it carries a session, and is sent again when an answer is lost, so that the message is in
//! the log once. What a log refuses as a duplicate is another message with the same content or key, never a repetition
//! of the client's own. Following refuses to skip: messages that are gone before they could be read are an error.

use bytes::Bytes;
use holdfast_api::WriteConcern;
use holdfast_api::http::header::IDEMPOTENCY_KEY;
use holdfast_api::http::{
    AppendReply, AppendRequest, LOG_DEFAULT, LOG_END, LOG_STARTED, LOG_UNDONE, LogChangeReply, LogEnd,
    LogMessage, LogReply, LogSettings, LogStarted, LogUndone, LogsReply, MessagesReply, Problem, ProblemCode,
    TrimRequest, query,
};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderName, Method};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::error::Error;
use crate::event_stream::Message;
use crate::request::{Effect, Request};
use crate::streaming::Stream;
use crate::transport::Answer;

/// One log of a store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Log {
    client: Client,
    name: String,
}

/// How a message is appended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppendOptions {
    /// What the reply waits for; `None`: every member.
    pub concern: Option<WriteConcern>,
    /// The key by which a log with [`Deduplication::Key`](crate::reply::Deduplication::Key) tells messages apart.
    pub key: Option<String>,
}

/// How fresh a read of a log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogConsistency {
    /// What one member has, also what may still be undone; each message says whether it is committed.
    #[default]
    Local,
    /// What one member knows to be committed: perhaps old, never undone.
    Committed,
    /// Every message that was acknowledged at a majority before the read began.
    Linearizable,
}

/// What a [`Follow`] sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// The next message.
    Message(LogMessage),
    /// Only when following locally: messages from this one on were shown and are undone; others come in their places.
    Undone {
        /// The first of them.
        from: u64,
    },
}

impl Client {
    /// The store's message log `name`.
    pub fn log(&self, name: &str) -> Log {
        Log { client: self.clone(), name: name.to_owned() }
    }

    /// The log that other clients know as `/messages`.
    pub fn messages(&self) -> Log {
        self.log(LOG_DEFAULT)
    }

    /// All logs, as one member has them.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn logs(&self) -> Result<LogsReply, Error> {
        let request = Request::new(Method::GET, "/v1/logs", Effect::Reads).timing_out();
        let answer = self.transport.call(&request, self.until()).await?;
        self.json(&answer)
    }
}

impl Log {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Append a message, and wait until as many members have it as asked for, or the client's deadline is over. If they
    /// do not have it by then, the reply's `warning` says so: the message is in the log, and replication goes on.
    ///
    /// # Errors
    /// [`Error::Refused`], with [`ProblemCode::DuplicateMessage`] or [`ProblemCode::KeyReused`] if the log has the
    /// message, or another one with its key, already; [`Error::Unknown`].
    pub async fn append(
        &self,
        message: impl Into<Vec<u8>>,
        options: AppendOptions,
    ) -> Result<AppendReply, Error> {
        let body = AppendRequest { w: options.concern, ..AppendRequest::new(message.into()) };
        let mut request = self.request(Method::POST, "/messages", Effect::Writes)?.timing_out();
        put_json(&mut request, &body);
        if let Some(key) = &options.key {
            let key = HeaderValue::try_from(key).map_err(|_| {
                Error::refused(ProblemCode::BadRequest, format!("the key {key:?} cannot be a header's value"))
            })?;
            request.headers.insert(HeaderName::from_static(IDEMPOTENCY_KEY), key);
        }
        let deadline = self.client.until();
        // A member that is asked among several gives up early; what it says then is asked about again.
        let reached = |answer: &Answer| {
            self.client.json::<AppendReply>(answer).is_ok_and(|reply| reply.warning.is_none())
        };
        let answer = if self.client.stamps() {
            self.client.write_once(&request, deadline, reached).await?
        } else {
            self.client.transport.call(&request, deadline).await?
        };
        self.client.json(&answer).map_err(|error| Error::Unknown { detail: error.to_string(), attempts: 1 })
    }

    /// A page of messages in order, from one on; 0 is the oldest that is kept. The reply's `next` is where to go on.
    ///
    /// # Errors
    /// [`Error::Refused`], with [`ProblemCode::LogNotFound`], or [`ProblemCode::MessageTrimmed`] if the log does not keep
    /// what was asked for; [`Error::Unreachable`], [`Error::Protocol`].
    pub async fn read(
        &self,
        from: u64,
        limit: Option<u64>,
        consistency: LogConsistency,
    ) -> Result<MessagesReply, Error> {
        let mut request = self
            .request(Method::GET, "/messages", Effect::Reads)?
            .with_query(query::FROM, from)
            .with_query(query::READ, consistency.name())
            .timing_out();
        if let Some(limit) = limit {
            request = request.with_query(query::LIMIT, limit);
        }
        self.ask(&request).await
    }

    /// Follow what is committed, from a message on: 0 is the oldest that is kept, `None` the next one. Connects when it
    /// is first asked for something.
    pub fn follow(&self, from: Option<u64>) -> Follow {
        Follow { log: self.clone(), local: false, from, stream: None }
    }

    /// As [`Log::follow`], with what one member has and may still be undone.
    pub fn follow_locally(&self, from: Option<u64>) -> Follow {
        Follow { log: self.clone(), local: true, from, stream: None }
    }

    /// How far the log is, and its settings.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn state(&self, consistency: LogConsistency) -> Result<LogReply, Error> {
        let request = self.request(Method::GET, "", Effect::Reads)?;
        self.ask(&request.with_query(query::READ, consistency.name()).timing_out()).await
    }

    /// Make the log, or give it other settings; what is left out is the default.
    ///
    /// # Errors
    /// As [`Client::put`].
    pub async fn configure(
        &self,
        settings: &LogSettings,
        concern: Option<WriteConcern>,
    ) -> Result<LogChangeReply, Error> {
        let mut request = self.request(Method::PUT, "", Effect::Writes)?;
        put_json(&mut request, settings);
        self.change(request, concern).await
    }

    /// Forget the messages before this one.
    ///
    /// # Errors
    /// As [`Client::put`].
    pub async fn trim(&self, before: u64, concern: Option<WriteConcern>) -> Result<LogChangeReply, Error> {
        let mut request = self.request(Method::POST, "/trim", Effect::Writes)?;
        put_json(&mut request, &TrimRequest { before });
        self.change(request, concern).await
    }

    /// Delete the log with all its messages.
    ///
    /// # Errors
    /// As [`Client::put`].
    pub async fn delete(&self, concern: Option<WriteConcern>) -> Result<LogChangeReply, Error> {
        let request = self.request(Method::DELETE, "", Effect::Writes)?;
        self.change(request, concern).await
    }

    async fn change(&self, request: Request, concern: Option<WriteConcern>) -> Result<LogChangeReply, Error> {
        let request = request.timing_out();
        self.client
            .write(match concern {
                Some(concern) => request.with_query(query::CONCERN, concern),
                None => request,
            })
            .await
    }

    async fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Error> {
        let answer = self.client.transport.call(request, self.client.until()).await?;
        self.client.json(&answer)
    }

    fn request(&self, method: Method, below: &str, effect: Effect) -> Result<Request, Error> {
        Request::of_log(method, &self.name, below, effect)
    }
}

fn put_json(request: &mut Request, body: &impl Serialize) {
    request.body = Bytes::from(serde_json::to_vec(body).expect("the bodies are plain data"));
    request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
}

impl LogConsistency {
    fn name(self) -> &'static str {
        match self {
            LogConsistency::Local => "local",
            LogConsistency::Committed => "committed",
            LogConsistency::Linearizable => "linearizable",
        }
    }
}

/// A log's messages, in order, each once, across lost connections and members.
#[derive(Debug)]
pub struct Follow {
    log: Log,
    local: bool,
    /// The first message that was not delivered; `None` before the first member said which that is.
    from: Option<u64>,
    stream: Option<Stream>,
}

/// What an event means.
enum Meaning {
    Deliver(Followed),
    /// Nothing to deliver.
    Nothing,
    /// The member ends the stream, for a reason that does not concern the reader.
    Reconnect,
}

impl Follow {
    /// The first message that was not delivered yet, once it is known: where another one would go on.
    pub fn resume(&self) -> Option<u64> {
        self.from
    }

    /// Waits until the stream is in place: every message from then on will be delivered.
    ///
    /// # Errors
    /// As [`Follow::next`].
    pub async fn started(&mut self) -> Result<(), Error> {
        if self.stream.is_none() {
            let mut stream = Stream::connect(&self.log.client, &self.request()?).await?;
            if let Some(LogStarted { from }) = stream.take_first(LOG_STARTED) {
                self.from.get_or_insert(from);
            }
            self.stream = Some(stream);
        }
        Ok(())
    }

    /// Waits for the next message, however long that takes; a lost connection is replaced. May be given up and called
    /// again without loss.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if no member could be followed within the client's deadline; [`Error::Refused`] with
    /// [`ProblemCode::MessageTrimmed`] if messages were lost to this reader, or [`ProblemCode::LogNotFound`] if the log
    /// was deleted. Calling again goes on from [`Follow::resume`].
    pub async fn next(&mut self) -> Result<Followed, Error> {
        loop {
            self.started().await?;
            let stream = self.stream.as_mut().expect("it has started");
            let place = stream.place();
            // However the stream failed, another one goes on where it stopped.
            let meaning = match stream.message().await {
                Some(message) => self.meaning(&message, place)?,
                None => Meaning::Reconnect,
            };
            match meaning {
                Meaning::Deliver(followed) => return Ok(followed),
                Meaning::Nothing => {}
                Meaning::Reconnect => {
                    self.stream = None;
                    self.log.client.transport.endpoints.avoid(place);
                }
            }
        }
    }

    fn meaning(&mut self, message: &Message, place: usize) -> Result<Meaning, Error> {
        let endpoint = || self.log.client.transport.name(place);
        let protocol =
            |error: serde_json::Error| Error::Protocol { endpoint: endpoint(), detail: error.to_string() };
        match message.event.as_str() {
            "" | "message" => {
                let message: LogMessage = serde_json::from_str(&message.data).map_err(protocol)?;
                match self.from.filter(|from| *from > 0) {
                    // A member that repeats itself is not repeated, and one that skips is not believed.
                    Some(from) if message.sequence < from => return Ok(Meaning::Nothing),
                    Some(from) if message.sequence > from => return Ok(Meaning::Reconnect),
                    _ => {}
                }
                self.from = Some(message.sequence + 1);
                Ok(Meaning::Deliver(Followed::Message(message)))
            }
            LOG_STARTED => {
                let LogStarted { from } = serde_json::from_str(&message.data).map_err(protocol)?;
                self.from.get_or_insert(from);
                Ok(Meaning::Nothing)
            }
            LOG_UNDONE => {
                let LogUndone { from } = serde_json::from_str(&message.data).map_err(protocol)?;
                self.from = Some(from);
                Ok(Meaning::Deliver(Followed::Undone { from }))
            }
            LOG_END => {
                let end: LogEnd = serde_json::from_str(&message.data).map_err(protocol)?;
                let code = match end.code.as_str() {
                    "Trimmed" => ProblemCode::MessageTrimmed,
                    "LogDeleted" => ProblemCode::LogNotFound,
                    _ => return Ok(Meaning::Reconnect),
                };
                self.stream = None;
                self.from = Some(end.resume);
                let mut problem = Problem::new(code, end.detail, "");
                problem.id = Some(end.resume);
                Err(Error::Refused(Box::new(problem)))
            }
            // Something newer than we are.
            _ => Ok(Meaning::Nothing),
        }
    }

    /// What asks a member for the stream.
    fn request(&self) -> Result<Request, Error> {
        let consistency = if self.local { LogConsistency::Local } else { LogConsistency::Committed };
        let request = self.log.request(Method::GET, "/messages/stream", Effect::Reads)?;
        let request = request.with_query(query::READ, consistency.name());
        Ok(match self.from {
            Some(from) => request.with_query(query::FROM, from),
            None => request,
        })
    }
}

#[cfg(test)]
mod tests;

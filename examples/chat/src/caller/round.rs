//! One call of a [`Caller`], carried round the servers until one has an answer.
//!
//! Refuses to guess: a caller is told whether an earlier try may have been carried out.

use std::time::Duration;

use http::uri::PathAndQuery;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::{Instant, sleep, timeout};
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

use super::{CallError, Caller};
use crate::limits::REPLY_BYTES_MAX;
use crate::messages::{PushEvent, Reply, SubscribeRequest, path};
use crate::{metadata, texts};

/// How long one server is waited for: it asks its member a few times, and waits 1.5 s each time at most.
const ATTEMPT_MAX: Duration = Duration::from_secs(4);
/// The pause before another server is asked.
const PAUSE: Duration = Duration::from_millis(20);
/// Servers that were asked in vain and are remembered: twice round the most that there may be.
const DETOURS_MAX: usize = 32;

impl Caller {
    /// What happens to the account from now on, until the server ends it.
    ///
    /// # Errors
    /// As [`Caller::send`].
    pub async fn subscribe(&mut self) -> Result<Streaming<PushEvent>, CallError> {
        let username = self.own_name()?;
        let began = Instant::now();
        let mut last = String::new();
        self.detours.clear();
        loop {
            let mut grpc = self.grpc();
            let request = self.request(SubscribeRequest { username: username.clone() }, None);
            let call = async {
                grpc.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
                let method = PathAndQuery::from_static(path::SUBSCRIBE);
                grpc.server_streaming(request, method, ProstCodec::default()).await
            };
            let why = match timeout(ATTEMPT_MAX.min(self.left(began)), call).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) if status.code() == tonic::Code::Unauthenticated => {
                    return Err(CallError::Refused(status.message().to_owned()));
                }
                Ok(Err(status)) => Some(said(&status)),
                Err(_) => None,
            };
            self.go_on(began, why, &mut last).await?;
        }
    }

    fn grpc(&self) -> Grpc<Client<HttpConnector, Body>> {
        Grpc::with_origin(self.http.clone(), self.servers[self.at].clone())
            .max_decoding_message_size(REPLY_BYTES_MAX)
    }

    fn request<M>(&self, message: M, stamp: Option<&(&'static str, String)>) -> Request<M> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        if let Some(token) = self.session.as_ref().and_then(|session| session.token.parse().ok()) {
            metadata.insert(metadata::TOKEN, token);
        }
        if let Some((name, Ok(value))) = stamp.map(|(name, value)| (*name, value.parse())) {
            metadata.insert(name, value);
        }
        request
    }

    fn left(&self, began: Instant) -> Duration {
        let left = self.deadline.saturating_sub(began.elapsed());
        self.end.map_or(left, |end| left.min(end.saturating_duration_since(Instant::now())))
    }

    /// On to the next server, if there is time; `None` for one that was silent. What was said last is worth more than silence.
    async fn go_on(
        &mut self,
        began: Instant,
        why: Option<String>,
        last: &mut String,
    ) -> Result<(), CallError> {
        if self.detours.len() < DETOURS_MAX {
            let (until, why) = (began.elapsed().as_millis(), why.as_deref().unwrap_or("silence"));
            self.detours.push(format!("{} until {until} ms: {why}", self.server()));
        }
        match why {
            Some(why) => *last = format!("{}: {why}", self.server()),
            None if last.is_empty() => *last = format!("{}: silence", self.server()),
            None => {}
        }
        self.at = (self.at + 1) % self.servers.len();
        if self.left(began) <= PAUSE {
            return Err(CallError::NoAnswer { waited: began.elapsed(), last: last.clone() });
        }
        sleep(PAUSE).await;
        Ok(())
    }

    pub(super) async fn call<M, R>(
        &mut self,
        method: &'static str,
        message: M,
    ) -> Result<(R, bool), CallError>
    where
        M: prost::Message + Clone + 'static,
        R: prost::Message + Default + Reply + 'static,
    {
        let (reply, in_doubt, _) = self.call_with(method, message, None).await?;
        Ok((reply, in_doubt))
    }

    /// Calls one server after the other until one has an answer: the answer, whether an earlier try may have been carried out
    /// too, and what came with it.
    pub(super) async fn call_with<M, R>(
        &mut self,
        method: &'static str,
        message: M,
        stamp: Option<(&'static str, String)>,
    ) -> Result<(R, bool, MetadataMap), CallError>
    where
        M: prost::Message + Clone + 'static,
        R: prost::Message + Default + Reply + 'static,
    {
        let began = Instant::now();
        self.detours.clear();
        let mut in_doubt = false;
        let mut last = String::new();
        loop {
            let mut grpc = self.grpc();
            let request = self.request(message.clone(), stamp.as_ref());
            let call = async {
                grpc.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
                grpc.unary(request, PathAndQuery::from_static(method), ProstCodec::<M, R>::default()).await
            };
            let why = match timeout(ATTEMPT_MAX.min(self.left(began)), call).await {
                Ok(Ok(response)) => {
                    let (metadata, reply, _) = response.into_parts();
                    match reply.refusal().filter(|text| is_passing(text)) {
                        Some(text) => {
                            in_doubt |= text == texts::TIMED_OUT;
                            Some(text.to_owned())
                        }
                        None => return Ok((reply, in_doubt, metadata)),
                    }
                }
                Ok(Err(status)) => {
                    in_doubt |= !is_unsent(&status);
                    Some(said(&status))
                }
                Err(_) => {
                    in_doubt = true;
                    None
                }
            };
            self.go_on(began, why, &mut last).await?;
        }
    }
}

/// Whether a call failed before anything was sent: there was no connection.
fn is_unsent(status: &tonic::Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        cause = error.source();
    }
    false
}

/// What a status says, with its cause: "transport error" alone helps nobody.
fn said(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

/// Whether another server, or the same one later, may answer otherwise.
fn is_passing(text: &str) -> bool {
    text == texts::NO_LEADER
        || text == texts::TIMED_OUT
        || text == texts::BUSY
        || text.starts_with(texts::NOT_LEADER)
}

//! The calls of the contract: what is asked, in the words that clients know what came of it.
//!
//! Refuses to answer with a gRPC error where clients expect a text, with one exception: a CheckUsername that cannot be answered,
//! because its reply could only say that the name does not exist.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::limits::{DELETED_MAX, PAGED_MAX};
use crate::messages::{
    ChatMessage, CheckUsernameRequest, CheckUsernameResponse, CreateAccountRequest, CreateAccountResponse,
    DeleteAccountRequest, DeleteAccountResponse, DeleteMessageEvent, DeleteMessageRequest,
    DeleteMessageResponse, EventType, ListAccountsRequest, ListAccountsResponse, LoginRequest, LoginResponse,
    LogoutRequest, LogoutResponse, NewMessageEvent, PushEvent, ReadMessagesRequest, ReadMessagesResponse,
    SendMessageRequest, SendMessageResponse, SubscribeRequest,
};
use crate::push::{Event, Hub};
use crate::state::{self, Marking, Message, Stamp, State, StateError};
use crate::{metadata, texts};

/// What a subscriber receives.
pub(crate) type Events = Pin<Box<dyn Stream<Item = Result<PushEvent, Status>> + Send>>;

/// One server's answers.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) state: Arc<State>,
    pub(crate) hub: Arc<Hub>,
    /// Whether a username alone is believed, as clients of before expect.
    pub(crate) sessions_required: bool,
}

type Answer<T> = Result<Response<T>, Status>;

impl Service {
    /// Refuses a request for a name whose sender did not show that it is theirs, where that is asked for; and a token that is
    /// not of this name everywhere.
    async fn authorize(&self, name: &str, metadata: &MetadataMap) -> Result<(), StateError> {
        match metadata::text(metadata, metadata::TOKEN) {
            Some(token) => match self.state.is_session(name, token).await? {
                true => Ok(()),
                false => Err(StateError::refused(texts::LOG_IN_FIRST)),
            },
            None if self.sessions_required => Err(StateError::refused(texts::LOG_IN_FIRST)),
            None => Ok(()),
        }
    }

    pub(crate) async fn create_account(
        &self,
        request: Request<CreateAccountRequest>,
    ) -> Answer<CreateAccountResponse> {
        let CreateAccountRequest { username, password_hash } = request.into_inner();
        let created = match username.is_empty() || password_hash.is_empty() {
            true => Err(StateError::refused(texts::NOT_PROVIDED)),
            false => self.state.create_account(&username, Some(&password_hash)).await,
        };
        let (success, message) = told(created.map(|()| texts::created(&username)));
        Ok(Response::new(CreateAccountResponse { success, message }))
    }

    pub(crate) async fn check_username(
        &self,
        request: Request<CheckUsernameRequest>,
    ) -> Answer<CheckUsernameResponse> {
        match self.state.account(&request.into_inner().username).await {
            Ok(found) => {
                let message = if found.is_some() { texts::EXISTS } else { texts::DOES_NOT_EXIST };
                Ok(Response::new(CheckUsernameResponse {
                    exists: found.is_some(),
                    message: message.to_owned(),
                }))
            }
            Err(error) => Err(Status::unavailable(error.to_string())),
        }
    }

    pub(crate) async fn login(&self, request: Request<LoginRequest>) -> Answer<LoginResponse> {
        let LoginRequest { username, password_hash } = request.into_inner();
        let login = match username.is_empty() || password_hash.is_empty() {
            true => Err(StateError::refused(texts::NOT_PROVIDED)),
            false => self.state.log_in(&username, &password_hash).await,
        };
        let (unread, token) = match &login {
            Ok(login) => (login.unread, Some(login.token.clone())),
            Err(_) => (0, None),
        };
        let (success, message) = told(login.map(|login| texts::logged_in(&username, login.unread)));
        let mut response = Response::new(LoginResponse { success, message, unread_count: number(unread) });
        if let Some(token) = token.and_then(|token| token.parse().ok()) {
            response.metadata_mut().insert(metadata::TOKEN, token);
        }
        Ok(response)
    }

    pub(crate) async fn logout(&self, request: Request<LogoutRequest>) -> Answer<LogoutResponse> {
        let (metadata, _, LogoutRequest { username }) = request.into_parts();
        let out = match metadata::text(&metadata, metadata::TOKEN) {
            Some(token) => self.state.log_out(&username, token).await,
            None => Ok(()),
        };
        let (success, message) = told(out.map(|()| texts::logged_out(&username)));
        Ok(Response::new(LogoutResponse { success, message }))
    }

    pub(crate) async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Answer<ListAccountsResponse> {
        let (metadata, _, request) = request.into_parts();
        let listed = async {
            self.authorize(&request.username, &metadata).await?;
            self.state.accounts(&request.pattern).await
        };
        let (before, size) = state::page(request.page_size, request.page_num);
        let response = match listed.await {
            Ok(names) => ListAccountsResponse {
                success: true,
                message: String::new(),
                total_accounts: number(names.len() as u64),
                accounts: names.into_iter().skip(before).take(size).collect(),
            },
            Err(error) => {
                let (success, message) = told(Err(error));
                ListAccountsResponse { success, message, accounts: Vec::new(), total_accounts: 0 }
            }
        };
        Ok(Response::new(response))
    }

    pub(crate) async fn send_message(
        &self,
        request: Request<SendMessageRequest>,
    ) -> Answer<SendMessageResponse> {
        let (metadata, _, SendMessageRequest { username, to, content }) = request.into_parts();
        let sent = async {
            if username.is_empty() {
                return Err(StateError::refused(texts::NOT_LOGGED_IN));
            }
            let token = metadata::text(&metadata, metadata::TOKEN);
            let stamp = match (token, metadata::text(&metadata, metadata::NUMBER)) {
                (Some(token), Some(number)) => {
                    let number = number.parse().ok().filter(|number| *number > 0).ok_or_else(|| {
                        StateError::refused(format!("{} is a number from 1.", metadata::NUMBER))
                    })?;
                    Some(Stamp { token, number })
                }
                // A session that is not known is found out by the send itself otherwise.
                _ => {
                    self.authorize(&username, &metadata).await?;
                    None
                }
            };
            self.state.send(&username, &to, &content, stamp).await
        };
        let sent = sent.await;
        let id = sent.as_ref().map_or(-1, |sent| sent.id);
        let (success, message) = told(sent.map(|sent| sent.text));
        Ok(Response::new(SendMessageResponse { success, message, id }))
    }

    pub(crate) async fn read_messages(
        &self,
        request: Request<ReadMessagesRequest>,
    ) -> Answer<ReadMessagesResponse> {
        let (metadata, _, request) = request.into_parts();
        let ReadMessagesRequest { username, page_size, page_num, chat_partner } = request;
        let read = async {
            if username.is_empty() {
                return Err(StateError::refused(texts::LOG_IN_FIRST));
            }
            self.authorize(&username, &metadata).await?;
            let marking = match metadata::text(&metadata, metadata::SEEN) {
                Some(ids) => Marking::Seen(seen(ids)?),
                None => Marking::Returned,
            };
            self.state.messages(&username, &chat_partner, page_size, page_num, &marking).await
        };
        let response = match read.await {
            Ok(page) => ReadMessagesResponse {
                success: true,
                message: if chat_partner.is_empty() {
                    texts::READ_UNREAD.to_owned()
                } else {
                    texts::read_conversation(&chat_partner)
                },
                messages: page.messages.into_iter().map(chat_message).collect(),
                total_msgs: number(page.total),
                remaining: number(page.remaining),
                total_unread: number(page.total_unread),
                remaining_unread: number(page.remaining_unread),
            },
            Err(error) => {
                let (success, message) = told(Err(error));
                ReadMessagesResponse { success, message, ..ReadMessagesResponse::default() }
            }
        };
        Ok(Response::new(response))
    }

    pub(crate) async fn delete_message(
        &self,
        request: Request<DeleteMessageRequest>,
    ) -> Answer<DeleteMessageResponse> {
        let (metadata, _, DeleteMessageRequest { username, message_ids }) = request.into_parts();
        let deleted = async {
            self.authorize(&username, &metadata).await?;
            self.state.delete_messages(&username, &message_ids).await
        };
        let (success, message) = told(deleted.await.map(texts::deleted));
        Ok(Response::new(DeleteMessageResponse { success, message }))
    }

    pub(crate) async fn delete_account(
        &self,
        request: Request<DeleteAccountRequest>,
    ) -> Answer<DeleteAccountResponse> {
        let (metadata, _, DeleteAccountRequest { username }) = request.into_parts();
        let deleted = async {
            self.authorize(&username, &metadata).await?;
            self.state.delete_account(&username).await
        };
        let (success, message) = told(deleted.await.map(|()| texts::account_deleted(&username)));
        Ok(Response::new(DeleteAccountResponse { success, message }))
    }

    pub(crate) async fn subscribe(&self, request: Request<SubscribeRequest>) -> Answer<Events> {
        let (metadata, _, SubscribeRequest { username }) = request.into_parts();
        match self.authorize(&username, &metadata).await {
            Ok(()) => {}
            Err(StateError::Refused(text)) => return Err(Status::unauthenticated(text)),
            Err(error) => return Err(Status::unavailable(error.to_string())),
        }
        let missed = || Status::unavailable("Events may be missing here. Subscribe again, elsewhere.");
        let subscription = self.hub.subscribe(&username).await.ok_or_else(missed)?;
        let events = futures::stream::unfold(Some(subscription), move |subscription| async move {
            let mut subscription = subscription?;
            match subscription.events.recv().await {
                Some(event) => Some((Ok(push_event(event)), Some(subscription))),
                None => Some((Err(missed()), None)),
            }
        });
        Ok(Response::new(Box::pin(events)))
    }
}

/// Whether it went well, and what the client reads.
fn told(result: Result<String, StateError>) -> (bool, String) {
    match result {
        Ok(text) => (true, text),
        Err(error) => {
            if !matches!(error, StateError::Refused(_)) {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::info!(cause, "{error}");
            }
            (false, error.to_string())
        }
    }
}

/// The contract's numbers have 31 bits.
fn number(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn seen(text: &str) -> Result<Vec<i32>, StateError> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let ids: Option<Vec<i32>> = words.take(PAGED_MAX).map(|word| word.parse().ok()).collect();
    match ids {
        Some(ids) if ids.len() <= DELETED_MAX => Ok(ids),
        _ => Err(StateError::refused(format!("{} has up to {DELETED_MAX} numbers.", metadata::SEEN))),
    }
}

fn chat_message((message, read): (Message, bool)) -> ChatMessage {
    let Message { id, from, to, content, timestamp } = message;
    ChatMessage { id, from_: from, to, content, read, timestamp }
}

fn push_event(event: Event) -> PushEvent {
    match event {
        Event::New(Message { id, from, to, content, timestamp }) => PushEvent {
            event_type: EventType::NewMessage.into(),
            new_message: Some(NewMessageEvent { id, from_: from, to, timestamp, content }),
            delete_message: None,
        },
        Event::Deleted(ids) => PushEvent {
            event_type: EventType::DeleteMessage.into(),
            new_message: None,
            delete_message: Some(DeleteMessageEvent { ids }),
        },
    }
}

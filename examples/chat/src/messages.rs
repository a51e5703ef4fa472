//! The messages of `proto/chat.proto`, by hand: twenty small ones need no generator at build time
//! ([why](../../../docs/decisions/0024-a-chat-without-a-generator.md)). A test compares them with the file.
//!
//! Refuses to differ from it: field numbers and types are what other programs rely on.

#![expect(missing_docs, reason = "the contract has no more to say of a field than its name")]

/// The paths of the service's methods.
pub mod path {
    pub const LOGIN: &str = "/chat.ChatService/Login";
    pub const CREATE_ACCOUNT: &str = "/chat.ChatService/CreateAccount";
    pub const CHECK_USERNAME: &str = "/chat.ChatService/CheckUsername";
    pub const LIST_ACCOUNTS: &str = "/chat.ChatService/ListAccounts";
    pub const SEND_MESSAGE: &str = "/chat.ChatService/SendMessage";
    pub const READ_MESSAGES: &str = "/chat.ChatService/ReadMessages";
    pub const DELETE_MESSAGE: &str = "/chat.ChatService/DeleteMessage";
    pub const DELETE_ACCOUNT: &str = "/chat.ChatService/DeleteAccount";
    pub const LOGOUT: &str = "/chat.ChatService/Logout";
    pub const SUBSCRIBE: &str = "/chat.ChatService/Subscribe";
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct LoginRequest {
    #[prost(string, tag = "1")]
    pub username: String,
    #[prost(string, tag = "2")]
    pub password_hash: String,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct LoginResponse {
    #[prost(bool, tag = "1")]
    pub success: bool,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(int32, tag = "3")]
    pub unread_count: i32,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct CreateAccountRequest {
    #[prost(string, tag = "1")]
    pub username: String,
    #[prost(string, tag = "2")]
    pub password_hash: String,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct CreateAccountResponse {
    #[prost(bool, tag = "1")]
    pub success: bool,
    #[prost(string, tag = "2")]
    pub message: String,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct CheckUsernameRequest {
    #[prost(string, tag = "1")]
    pub username: String,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct CheckUsernameResponse {
    #[prost(bool, tag = "1")]
    pub exists: bool,
    #[prost(string, tag = "2")]
    pub message: String,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ListAccountsRequest {
    #[prost(string, tag = "1")]
    pub username: String,
    #[prost(string, tag = "2")]
    pub pattern: String,
    #[prost(int32, tag = "3")]
    pub page_size: i32,
    #[prost(int32, tag = "4")]
    pub page_num: i32,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ListAccountsResponse {
    #[prost(bool, tag = "1")]
    pub success: bool,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(string, repeated, tag = "3")]
    pub accounts: Vec<String>,
    #[prost(int32, tag = "4")]
    pub total_accounts: i32,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct SendMessageRequest {
    #[prost(string, tag = "1")]
    pub username: String,
    #[prost(string, tag = "2")]
    pub to: String,
    #[prost(string, tag = "3")]
    pub content: String,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct SendMessageResponse {
    #[prost(bool, tag = "1")]
    pub success: bool,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(int32, tag = "3")]
    pub id: i32,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ReadMessagesRequest {
    #[prost(string, tag = "1")]
    pub username: String,
    #[prost(int32, tag = "2")]
    pub page_size: i32,
    #[prost(int32, tag = "3")]
    pub page_num: i32,
    #[prost(string, tag = "4")]
    pub chat_partner: String,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ReadMessagesResponse {
    #[prost(bool, tag = "1")]
    pub success: bool,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub messages: Vec<ChatMessage>,
    #[prost(int32, tag = "4")]
    pub total_msgs: i32,
    #[prost(int32, tag = "5")]
    pub remaining: i32,
    #[prost(int32, tag = "6")]
    pub total_unread: i32,
    #[prost(int32, tag = "7")]
    pub remaining_unread: i32,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct DeleteMessageRequest {
    #[prost(string, tag = "1")]
    pub username: String,
    #[prost(int32, repeated, tag = "2")]
    pub message_ids: Vec<i32>,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct DeleteMessageResponse {
    #[prost(bool, tag = "1")]
    pub success: bool,
    #[prost(string, tag = "2")]
    pub message: String,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct DeleteAccountRequest {
    #[prost(string, tag = "1")]
    pub username: String,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct DeleteAccountResponse {
    #[prost(bool, tag = "1")]
    pub success: bool,
    #[prost(string, tag = "2")]
    pub message: String,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct LogoutRequest {
    #[prost(string, tag = "1")]
    pub username: String,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct LogoutResponse {
    #[prost(bool, tag = "1")]
    pub success: bool,
    #[prost(string, tag = "2")]
    pub message: String,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct SubscribeRequest {
    #[prost(string, tag = "1")]
    pub username: String,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ChatMessage {
    #[prost(int32, tag = "1")]
    pub id: i32,
    #[prost(string, tag = "2")]
    pub from_: String,
    #[prost(string, tag = "3")]
    pub to: String,
    #[prost(string, tag = "4")]
    pub content: String,
    #[prost(bool, tag = "5")]
    pub read: bool,
    #[prost(int64, tag = "6")]
    pub timestamp: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum EventType {
    Unknown = 0,
    NewMessage = 1,
    DeleteMessage = 2,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct NewMessageEvent {
    #[prost(int32, tag = "1")]
    pub id: i32,
    #[prost(string, tag = "2")]
    pub from_: String,
    #[prost(string, tag = "3")]
    pub to: String,
    #[prost(int64, tag = "4")]
    pub timestamp: i64,
    #[prost(string, tag = "5")]
    pub content: String,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct DeleteMessageEvent {
    #[prost(int32, repeated, tag = "1")]
    pub ids: Vec<i32>,
}

#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct PushEvent {
    #[prost(enumeration = "EventType", tag = "1")]
    pub event_type: i32,
    #[prost(message, optional, tag = "2")]
    pub new_message: Option<NewMessageEvent>,
    #[prost(message, optional, tag = "3")]
    pub delete_message: Option<DeleteMessageEvent>,
}

/// A reply that can say no.
pub trait Reply {
    /// Why not, if not.
    fn refusal(&self) -> Option<&str>;
}

macro_rules! reply {
    ($($name:ident),*) => {$(
        impl Reply for $name {
            fn refusal(&self) -> Option<&str> {
                (!self.success).then_some(self.message.as_str())
            }
        }
    )*};
}

reply!(
    LoginResponse,
    CreateAccountResponse,
    ListAccountsResponse,
    SendMessageResponse,
    ReadMessagesResponse,
    DeleteMessageResponse,
    DeleteAccountResponse,
    LogoutResponse
);

impl Reply for CheckUsernameResponse {
    fn refusal(&self) -> Option<&str> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;

    use super::*;

    /// `message.field type number` of every field of the contract.
    fn of_contract() -> BTreeSet<String> {
        let mut message = "";
        let mut fields = BTreeSet::new();
        for line in include_str!("../proto/chat.proto").lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["message", name, "{"] => message = name,
                ["enum", ..] | ["service", ..] => message = "",
                [type_, name, "=", number] if !message.is_empty() => {
                    fields.insert(format!("{message}.{name} {type_} {}", number.trim_end_matches(';')));
                }
                ["repeated", type_, name, "=", number] if !message.is_empty() => {
                    fields.insert(format!(
                        "{message}.{name} repeated {type_} {}",
                        number.trim_end_matches(';')
                    ));
                }
                _ => {}
            }
        }
        fields
    }

    /// The same of this file.
    fn of_code() -> BTreeSet<String> {
        let mut message = "";
        let mut attribute = "";
        let mut fields = BTreeSet::new();
        for line in include_str!("messages.rs").lines().take_while(|line| *line != "#[cfg(test)]") {
            let line = line.trim();
            if let Some(name) = line.strip_prefix("pub struct ") {
                message = name.trim_end_matches(" {");
            } else if let Some(inside) = line.strip_prefix("#[prost(") {
                attribute = inside.trim_end_matches(")]");
            } else if let Some((name, type_)) =
                line.strip_prefix("pub ").and_then(|line| line.split_once(": "))
                && line.ends_with(',')
            {
                let (kind, number) = attribute.split_once(", tag = ").expect("an attribute has a number");
                let inner = type_
                    .trim_end_matches(',')
                    .trim_start_matches("Vec<")
                    .trim_start_matches("Option<")
                    .trim_end_matches('>');
                let type_ = match kind.split(',').next().expect("a kind") {
                    "message" => inner.to_owned(),
                    kind if kind.starts_with("enumeration") => {
                        kind.trim_start_matches("enumeration = ").trim_matches('"').to_owned()
                    }
                    kind => kind.to_owned(),
                };
                let repeated = if kind.contains("repeated") { "repeated " } else { "" };
                fields.insert(format!("{message}.{name} {repeated}{type_} {}", number.trim_matches('"')));
            }
        }
        fields
    }

    #[test]
    fn the_messages_are_those_of_the_contract() {
        let (contract, code) = (of_contract(), of_code());
        assert_eq!(contract.len(), 63, "the contract is read");
        assert_eq!(code, contract);
    }

    #[test]
    fn a_push_is_what_compiled_stubs_read() {
        // Written by hand from the contract: type 1; message 2 with id 7, from "a", to "b", timestamp 2^33, content "hi".
        let bytes = [
            8, 1, 18, 18, 8, 7, 18, 1, b'a', 26, 1, b'b', 32, 0x80, 0x80, 0x80, 0x80, 0x20, 42, 2, b'h', b'i',
        ];
        let event = PushEvent {
            event_type: EventType::NewMessage.into(),
            new_message: Some(NewMessageEvent {
                id: 7,
                from_: "a".into(),
                to: "b".into(),
                timestamp: 1 << 33,
                content: "hi".into(),
            }),
            delete_message: None,
        };
        assert_eq!(event.encode_to_vec(), bytes);
        assert_eq!(PushEvent::decode(&bytes[..]), Ok(event));
    }
}

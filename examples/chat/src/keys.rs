//! Where the chat's state is in the store.
//!
//! | key | value |
//! |---|---|
//! | `chat/account/NAME` | the account |
//! | `chat/session/NAME/HASH` | one login: what was sent with it last |
//! | `chat/box/NAME/unread/ID` | a message that NAME has not read |
//! | `chat/box/NAME/talk/PARTNER/ID` | a message between the two, NAME's copy |
//! | `chat/box/NAME/id/ID` | with whom NAME shares the message |
//!
//! Numbers are those of a message log, `chat-numbers`.
//!
//! Names are escaped, so that no name reaches out of its place; numbers have ten digits, so that keys are in their order.
//! Refuses to read or write anything.

/// The message log whose numbers are those of messages.
pub(crate) const NUMBERS: &str = "chat-numbers";
/// Read to see whether the store serves; nobody writes it.
pub(crate) const PULSE: &str = "chat/pulse";
/// Every account.
pub(crate) const ACCOUNTS: &str = "chat/account/";
/// Everything that belongs to somebody.
pub(crate) const BOXES: &str = "chat/box/";

/// A name as a part of a key.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => text.push(char::from(byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// The name that is a part of a key.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                bytes.push((high * 16 + low) as u8);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

pub(crate) fn account(name: &str) -> String {
    format!("{ACCOUNTS}{}", escaped(name))
}

/// Whose account a key of [`ACCOUNTS`] is.
pub(crate) fn account_of(key: &str) -> Option<String> {
    unescaped(key.strip_prefix(ACCOUNTS)?)
}

pub(crate) fn sessions(name: &str) -> String {
    format!("chat/session/{}/", escaped(name))
}

pub(crate) fn own(name: &str) -> String {
    format!("{BOXES}{}/", escaped(name))
}

pub(crate) fn unread_all(name: &str) -> String {
    format!("{}unread/", own(name))
}

pub(crate) fn unread(name: &str, id: i32) -> String {
    format!("{}{id:010}", unread_all(name))
}

pub(crate) fn talk_all(name: &str, partner: &str) -> String {
    format!("{}talk/{}/", own(name), escaped(partner))
}

pub(crate) fn talk(name: &str, partner: &str, id: i32) -> String {
    format!("{}{id:010}", talk_all(name, partner))
}

pub(crate) fn id(name: &str, id: i32) -> String {
    format!("{}id/{id:010}", own(name))
}

/// What a key under [`BOXES`] is, as far as those who wait for messages care.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is there while the message is unread by this account.
    Unread(String),
    /// It is there while this account has the message.
    Id(String, i32),
}

/// What a key under [`BOXES`] is; `None` if nobody waits for it.
pub(crate) fn place(key: &str) -> Option<Place> {
    let mut parts = key.strip_prefix(BOXES)?.split('/');
    let name = unescaped(parts.next()?)?;
    match (parts.next()?, parts.next()?, parts.next()) {
        ("unread", _, None) => Some(Place::Unread(name)),
        ("id", number, None) => Some(Place::Id(name, number.parse().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_places() {
        for name in ["a", "a/b", "%2F", "ä ö", "..", "a*"] {
            assert_eq!(account_of(&account(name)).as_deref(), Some(name));
            assert_eq!(account(name).matches('/').count(), 2, "{name}");
            assert_eq!(place(&unread(name, 7)), Some(Place::Unread(name.to_owned())));
            assert_eq!(place(&id(name, 7)), Some(Place::Id(name.to_owned(), 7)));
            assert_eq!(place(&talk(name, name, 7)), None);
        }
        assert!(!own("ab").starts_with(&own("a")));
    }

    #[test]
    fn keys_are_in_the_order_of_their_numbers() {
        assert!(unread("a", 9) < unread("a", 10) && unread("a", 999_999_999) < unread("a", i32::MAX));
    }
}

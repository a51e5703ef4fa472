//! What clients and servers say beyond the contract, in gRPC's metadata: clients that do not know it miss nothing.
//!
//! Refuses to hold text that is not ASCII, as HTTP does.

use tonic::metadata::MetadataMap;

/// The session: in the reply of Login, and then in requests.
pub const TOKEN: &str = "session-token";
/// Of a message within its session, from 1, growing: what was sent is not sent again.
pub const NUMBER: &str = "message-number";
/// The numbers of messages that their reader has seen, separated by commas.
pub const SEEN: &str = "seen-ids";

/// A value, if it is there.
pub(crate) fn text<'a>(metadata: &'a MetadataMap, name: &str) -> Option<&'a str> {
    metadata.get(name)?.to_str().ok()
}

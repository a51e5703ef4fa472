//! Request ids: the client's own `X-Request-Id` if it is one, else one of ours.
//!
//! It refuses ids that could break a log line or fill it: those are replaced, not cut.

use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The header that carries it, both ways.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken from a client; a UUID has 36 characters, a W3C trace parent 55.
const ID_CHARACTERS_MAX: usize = 128;

/// Makes ids that no other process makes: a random beginning and a count.
#[derive(Debug)]
pub(crate) struct RequestIds {
    beginning: u64,
    count: AtomicU64,
}

impl RequestIds {
    /// Ids of this process from now on.
    pub(crate) fn new(beginning: u64) -> RequestIds {
        RequestIds { beginning, count: AtomicU64::new(0) }
    }

    /// The id of one request.
    pub(crate) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        let theirs = headers.get(REQUEST_ID).filter(|id| {
            let id = id.as_bytes();
            (1..=ID_CHARACTERS_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
        });
        theirs.cloned().unwrap_or_else(|| {
            let count = self.count.fetch_add(1, Ordering::Relaxed);
            HeaderValue::try_from(format!("{:016x}-{count:x}", self.beginning)).expect("digits")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_id_is_kept_if_it_is_harmless() {
        let ids = RequestIds::new(7);
        let of = |id: &str| {
            let headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(id).expect("a header"))]);
            ids.of(&headers).to_str().expect("text").to_owned()
        };
        assert_eq!(of("order-17/a"), "order-17/a");
        let long = "x".repeat(ID_CHARACTERS_MAX + 1);
        for bad in ["", "two words", long.as_str()] {
            assert!(of(bad).starts_with("0000000000000007-"), "{bad}");
        }
        assert_ne!(ids.of(&HeaderMap::new()), ids.of(&HeaderMap::new()));
    }
}

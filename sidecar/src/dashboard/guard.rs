//! Which requests may change something: those of the page itself, and no other page's that the same browser has open.
//!
//! A page from elsewhere cannot read an answer, but it could send an order. So an order carries a header that a browser lets no
//! other page send, and comes from the very address that it goes to. Where only this machine is served, that address is one of this
//! machine's: a name that somebody else lets point here is refused. It refuses to know users: who may connect may give orders.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{HOST, ORIGIN};

/// The header that an order carries, with any value.
pub const ORDER: &str = "x-holdfast-dashboard";

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is for another host.
    #[error("this address is not one of this machine's; open the dashboard at 127.0.0.1")]
    ForeignHost,
    /// It comes from another page.
    #[error("the request comes from a page of another origin")]
    ForeignOrigin,
    /// It is no order of the page.
    #[error("an order carries the header {ORDER}")]
    NoOrder,
}

/// Whether a request is for this machine by a name that only this machine has: a loopback address, or `localhost`.
///
/// # Errors
/// It is for another host, or for none.
pub fn is_for_this_machine(headers: &HeaderMap) -> Result<(), Refusal> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).ok_or(Refusal::ForeignHost)?;
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let ours = name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback());
    if ours { Ok(()) } else { Err(Refusal::ForeignHost) }
}

/// Whether a request that changes something comes from the page.
///
/// # Errors
/// It does not, or nobody can tell.
pub fn is_order(headers: &HeaderMap) -> Result<(), Refusal> {
    if !headers.contains_key(ORDER) {
        return Err(Refusal::NoOrder);
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).ok_or(Refusal::ForeignHost)?;
    match headers.get(ORIGIN) {
        // A program, not a browser.
        None => Ok(()),
        Some(origin) if origin.to_str().is_ok_and(|origin| is_of(origin, host)) => Ok(()),
        Some(_) => Err(Refusal::ForeignOrigin),
    }
}

/// Whether a browser says that it sends a request for a page of another site. Programs, and pages that a program of the same site passes
/// on, do not say that.
pub fn is_of_another_site(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site")
}

fn is_of(origin: &str, host: &str) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let one = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        pairs.iter().map(one).collect()
    }

    #[test]
    fn only_names_of_this_machine_are_served() {
        let of = |host| is_for_this_machine(&headers(&[("host", host)]));
        for ours in ["127.0.0.1:7403", "localhost:7403", "LOCALHOST", "[::1]:7403", "127.0.0.1"] {
            assert_eq!(of(ours), Ok(()), "{ours}");
        }
        for other in
            ["example.org", "127.0.0.1.example.org:7403", "localhost.example.org", "10.0.0.1:7403", "", ":1"]
        {
            assert_eq!(of(other), Err(Refusal::ForeignHost), "{other}");
        }
        assert_eq!(is_for_this_machine(&headers(&[])), Err(Refusal::ForeignHost));
    }

    #[test]
    fn orders_come_from_the_page() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            is_order(&headers(&[&[("host", "127.0.0.1:7403")], pairs].concat()))
        };
        assert_eq!(of(&[(ORDER, "1")]), Ok(()));
        assert_eq!(of(&[(ORDER, "1"), ("origin", "http://127.0.0.1:7403")]), Ok(()));
        for origin in ["http://127.0.0.1:7400", "http://example.org", "null", "127.0.0.1:7403"] {
            assert_eq!(of(&[(ORDER, "1"), ("origin", origin)]), Err(Refusal::ForeignOrigin), "{origin}");
        }
        assert_eq!(of(&[("origin", "http://127.0.0.1:7403")]), Err(Refusal::NoOrder));
    }
}

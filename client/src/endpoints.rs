//! The members that a client may ask, and which one to ask first.
//!
//! Refuses to remember who is dead: asking costs a refused connection, and a list of the dead would have to age.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use reqwest::Url;

/// Most addresses that one client takes: more than a store has members, for those who list names beside numbers.
pub const ENDPOINTS_MAX: usize = 64;

/// Why an address is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No address at all.
    #[error("no endpoint was given")]
    None,
    /// Too many.
    #[error("{0} endpoints were given; at most {ENDPOINTS_MAX} are taken")]
    TooMany(usize),
    /// Not a base URL of ours.
    #[error("{endpoint:?} is no endpoint; write http://HOST:PORT")]
    Invalid {
        /// What was given.
        endpoint: String,
    },
}

/// Addresses, at least one, and the place of the preferred one. Over HTTP they are base URLs.
#[derive(Debug)]
pub(crate) struct Endpoints<A = Url> {
    addresses: Vec<A>,
    /// The member that answered last, or the leader once it is known.
    preferred: AtomicUsize,
    /// Which member answers at each place, where that is known, else [`NOBODY`].
    ordinals: Vec<AtomicU8>,
}

/// No member has this ordinal.
const NOBODY: u8 = u8::MAX;

impl Endpoints {
    pub(crate) fn parse<S: AsRef<str>>(
        endpoints: impl IntoIterator<Item = S>,
    ) -> Result<Endpoints, EndpointError> {
        Endpoints::parse_each(endpoints, parse)
    }

    /// Base URL number `place`.
    pub(crate) fn url(&self, place: usize) -> &Url {
        self.address(place)
    }
}

impl<A> Endpoints<A> {
    /// Endpoints of any kind.
    pub(crate) fn parse_each<S: AsRef<str>>(
        endpoints: impl IntoIterator<Item = S>,
        parse: impl Fn(&str) -> Result<A, EndpointError>,
    ) -> Result<Endpoints<A>, EndpointError> {
        let addresses: Vec<A> =
            endpoints.into_iter().map(|endpoint| parse(endpoint.as_ref())).collect::<Result<_, _>>()?;
        match addresses.len() {
            0 => Err(EndpointError::None),
            1..=ENDPOINTS_MAX => {
                let ordinals = addresses.iter().map(|_| AtomicU8::new(NOBODY)).collect();
                Ok(Endpoints { addresses, preferred: AtomicUsize::new(0), ordinals })
            }
            many => Err(EndpointError::TooMany(many)),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Address number `place`.
    pub(crate) fn address(&self, place: usize) -> &A {
        &self.addresses[place]
    }

    /// All places, the preferred one first and the others after it in turn.
    pub(crate) fn order(&self) -> impl Iterator<Item = usize> + use<A> {
        let (first, count) = (self.preferred.load(Ordering::Relaxed), self.len());
        (0..count).map(move |step| (first + step) % count)
    }

    /// Ask this one first from now on.
    pub(crate) fn prefer(&self, place: usize) {
        self.preferred.store(place, Ordering::Relaxed);
    }

    /// The member `ordinal` answers at this place.
    pub(crate) fn learn(&self, place: usize, ordinal: u8) {
        self.ordinals[place].store(ordinal, Ordering::Relaxed);
    }

    /// The member `ordinal` leads: ask it first, if it is known where it answers.
    pub(crate) fn prefer_member(&self, ordinal: u8) {
        let known = self.ordinals.iter().position(|known| known.load(Ordering::Relaxed) == ordinal);
        if let Some(place) = known.filter(|_| ordinal != NOBODY) {
            self.prefer(place);
        }
    }

    /// The member `ordinal` leads: ask it first; while it is not known where it answers, one that nobody has seen.
    pub(crate) fn prefer_member_or_unseen(&self, ordinal: u8) {
        let place =
            |wanted: u8| self.ordinals.iter().position(|known| known.load(Ordering::Relaxed) == wanted);
        if let Some(place) = place(ordinal).or_else(|| place(NOBODY)) {
            self.prefer(place);
        }
    }

    /// This one is no good: ask the next one first, unless somebody found a better one in between.
    pub(crate) fn avoid(&self, place: usize) {
        let next = (place + 1) % self.len();
        let _ = self.preferred.compare_exchange(place, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

fn parse(endpoint: &str) -> Result<Url, EndpointError> {
    let invalid = || EndpointError::Invalid { endpoint: endpoint.to_owned() };
    let url = Url::parse(endpoint).map_err(|_| invalid())?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let ours =
        url.scheme() == "http" && url.has_host() && url.username().is_empty() && url.password().is_none();
    if bare && ours { Ok(url) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_base_urls_are_endpoints() {
        let check = |endpoint: &str, good: bool| assert_eq!(parse(endpoint).is_ok(), good, "{endpoint}");
        check("http://127.0.0.1:7400", true);
        check("http://orders-0.orders:7400/", true);
        check("http://[::1]:7400", true);
        for bad in [
            "",
            "127.0.0.1:7400",
            "localhost:7400",
            "https://a",
            "http://a/v1",
            "http://a?b",
            "http://u@a",
            "unix:/a",
        ] {
            check(bad, false);
        }
        assert_eq!(Endpoints::parse::<&str>([]).expect_err("none"), EndpointError::None);
        assert_eq!(Endpoints::parse(vec!["http://a"; 65]).expect_err("many"), EndpointError::TooMany(65));
    }

    #[test]
    fn the_preferred_one_is_first_and_all_have_their_turn() {
        let endpoints = Endpoints::parse(["http://a", "http://b", "http://c"]).expect("good");
        let order = || endpoints.order().collect::<Vec<_>>();
        assert_eq!(order(), [0, 1, 2]);
        endpoints.prefer(2);
        assert_eq!(order(), [2, 0, 1]);
        endpoints.avoid(1);
        assert_eq!(order(), [2, 0, 1]);
        endpoints.avoid(2);
        assert_eq!(order(), [0, 1, 2]);
        endpoints.prefer_member(7);
        endpoints.prefer_member(NOBODY);
        assert_eq!(order(), [0, 1, 2], "nobody knows where they are");
        endpoints.learn(1, 7);
        endpoints.prefer_member(7);
        assert_eq!(order(), [1, 2, 0]);
        endpoints.prefer_member_or_unseen(8);
        assert_eq!(order(), [0, 1, 2], "it may be any of those that nobody has seen");
        endpoints.prefer_member_or_unseen(7);
        assert_eq!(order(), [1, 2, 0]);
    }
}

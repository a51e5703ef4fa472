//! How two members find out that they mean each other, before anything else is said.
//!
//! The caller proves nothing that it could not make up: authentication is the transport's business. What is refused
//! here is every mistake: another store's member, a store of the same name formed apart, an ordinal that no member can
//! have or that is this member's own, a version that is not spoken, another protocol. An ordinal that this member does
//! not know of yet is none: its settings may be older than the caller's.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use holdfast_engine::{MEMBERS_MAX, MemberId, Ordinal, StoreId};
use holdfast_wire::{
    Greeting, GreetingError, HELLO_BYTES_MAX, Hello, Purpose, TurnedAway, VERSION, VERSION_MIN,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;

use super::Shared;

/// How long the other side has for its greeting. It has nothing to do but answer; what takes longer is no member, or
/// one that stands still and may call again.
pub(super) const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);

/// Why a connection did not come to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The connection could not be made, or broke.
    #[error("the connection failed")]
    Connection(#[from] io::Error),
    /// The other side closed the connection without a word.
    #[error("the other side closed the connection before its greeting was complete")]
    Closed,
    /// The other side said nothing for too long.
    #[error("there was no greeting within {} s", HANDSHAKE_TIME_MAX.as_secs())]
    Silent,
    /// What it said is no greeting.
    #[error("the greeting was not understood")]
    Greeting(#[from] GreetingError),
    /// It turned this member away.
    #[error("turned away: {0}")]
    TurnedAway(TurnedAway),
    /// This member turned it away.
    #[error("turned the caller away, as for the caller {0}")]
    Refused(TurnedAway),
    /// Somebody else than expected answered.
    #[error("{found} answered, of the store {store}, instead of member {expected} of this store")]
    SomebodyElse {
        /// Who was called.
        expected: Ordinal,
        /// Who answered.
        found: MemberId,
        /// Whose member answered.
        store: String,
    },
}

impl From<Elapsed> for HandshakeError {
    fn from(_: Elapsed) -> HandshakeError {
        HandshakeError::Silent
    }
}

/// Call `peer`: greet, and hear who answers. Returns what was read beyond the answer too.
pub(crate) async fn call(
    shared: &Shared,
    stream: &mut TcpStream,
    peer: Ordinal,
    purpose: Purpose,
) -> Result<(Hello, BytesMut), HandshakeError> {
    say(stream, &Greeting::Hello(hello(shared, purpose))).await?;
    let mut read = BytesMut::with_capacity(HELLO_BYTES_MAX);
    let hello = match tokio::time::timeout(HANDSHAKE_TIME_MAX, hear(stream, &mut read)).await?? {
        Greeting::Hello(hello) => hello,
        Greeting::TurnedAway(why) => return Err(HandshakeError::TurnedAway(why)),
    };
    let same_store = hello.store == shared.store && agree(hello.store_id, shared.store_id());
    if !same_store || hello.member.ordinal != peer || hello.purpose != purpose {
        return Err(HandshakeError::SomebodyElse { expected: peer, found: hello.member, store: hello.store });
    }
    Ok((hello, read))
}

/// Hear who is calling; answer only if the caller has to be turned away.
pub(super) async fn answer(
    shared: &Shared,
    stream: &mut TcpStream,
) -> Result<(Hello, BytesMut), HandshakeError> {
    let mut read = BytesMut::with_capacity(HELLO_BYTES_MAX);
    let hello = match tokio::time::timeout(HANDSHAKE_TIME_MAX, hear(stream, &mut read)).await? {
        Ok(Greeting::Hello(hello)) => hello,
        Ok(Greeting::TurnedAway(why)) => return Err(HandshakeError::TurnedAway(why)),
        Err(HandshakeError::Greeting(error @ GreetingError::Version { .. })) => {
            turn_away(stream, TurnedAway::Version { min: VERSION_MIN, max: VERSION }).await;
            return Err(error.into());
        }
        Err(error) => return Err(error),
    };
    match objection(shared, &hello) {
        None => Ok((hello, read)),
        Some(why) => {
            turn_away(stream, why.clone()).await;
            Err(HandshakeError::Refused(why))
        }
    }
}

/// Answer a caller that is welcome.
pub(super) async fn welcome(
    shared: &Shared,
    stream: &mut TcpStream,
    purpose: Purpose,
) -> Result<(), HandshakeError> {
    say(stream, &Greeting::Hello(hello(shared, purpose))).await
}

/// Tell a caller why it is turned away. It may be gone already, which changes nothing.
pub(super) async fn turn_away(stream: &mut TcpStream, why: TurnedAway) {
    let _ = say(stream, &Greeting::TurnedAway(why)).await;
    let _ = stream.shutdown().await;
}

fn hello(shared: &Shared, purpose: Purpose) -> Hello {
    Hello {
        store: shared.store.clone(),
        store_id: shared.store_id(),
        member: shared.me,
        process: shared.process,
        purpose,
    }
}

/// Why this caller has to be turned away, if it has.
fn objection(shared: &Shared, hello: &Hello) -> Option<TurnedAway> {
    let ordinal = hello.member.ordinal;
    if hello.store != shared.store {
        return Some(TurnedAway::OtherStore { store: shared.store.clone() });
    }
    if let Some(store) = shared.store_id()
        && !agree(hello.store_id, Some(store))
    {
        return Some(TurnedAway::OtherFormation { store });
    }
    if usize::from(ordinal.0) >= MEMBERS_MAX {
        return Some(TurnedAway::NoSuchOrdinal { ordinal, members: MEMBERS_MAX as u8 });
    }
    (ordinal == shared.me.ordinal).then_some(TurnedAway::OwnOrdinal { ordinal })
}

/// Who does not know yet which store it belongs to agrees with everybody.
fn agree(one: Option<StoreId>, other: Option<StoreId>) -> bool {
    one.is_none() || other.is_none() || one == other
}

async fn say(stream: &mut TcpStream, greeting: &Greeting) -> Result<(), HandshakeError> {
    let mut bytes = BytesMut::new();
    greeting.encode(&mut bytes);
    tokio::time::timeout(HANDSHAKE_TIME_MAX, stream.write_all(&bytes)).await??;
    Ok(())
}

async fn hear(stream: &mut TcpStream, read: &mut BytesMut) -> Result<Greeting, HandshakeError> {
    loop {
        if let Some(greeting) = Greeting::decode(read)? {
            return Ok(greeting);
        }
        if stream.read_buf(read).await? == 0 {
            return Err(HandshakeError::Closed);
        }
    }
}

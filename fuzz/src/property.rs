//! What many targets have in common: reading one after the other off a stream, and writing what was read.
//!
//! What it refuses to do: take two readings for the same because they look alike; they must be equal.

use std::fmt::Debug;

use bytes::BytesMut;

use crate::shape;

/// What a stream's reader does to the front of what has arrived.
pub(crate) type Decode<T, E> = fn(&mut BytesMut) -> Result<Option<T>, E>;

/// Read a stream to its end or first error. Each thing read is written, and read again, and is then the same; the bytes
/// are the same too if there is one way only to write it.
///
/// A reader that has not enough takes nothing away, and says the same when it is asked again.
pub(crate) fn check_stream<T: PartialEq + Debug, E: PartialEq + Debug>(
    bytes: &[u8],
    decode: Decode<T, E>,
    encode: impl Fn(&T, &mut BytesMut),
    canonical: bool,
) {
    let mut read = BytesMut::from(bytes);
    loop {
        let before = read.clone();
        match decode(&mut read) {
            Ok(Some(thing)) => {
                assert!(read.len() < before.len(), "something was read from nothing");
                let taken = &before[..before.len() - read.len()];
                assert_eq!(&before[taken.len()..], &read[..], "what follows is left as it was");
                check_again(&thing, taken, decode, &encode, canonical);
                shape::note(&thing);
            }
            Ok(None) => {
                assert_eq!(before, read, "nothing is taken of what is not whole");
                shape::note_size(read.len());
                break;
            }
            Err(error) => {
                assert_eq!(decode(&mut before.clone()), Err(error).inspect_err(|error| shape::note(error)));
                break;
            }
        }
    }
}

fn check_again<T: PartialEq + Debug, E: PartialEq + Debug>(
    thing: &T,
    taken: &[u8],
    decode: Decode<T, E>,
    encode: &impl Fn(&T, &mut BytesMut),
    canonical: bool,
) {
    let mut written = BytesMut::new();
    encode(thing, &mut written);
    if canonical {
        assert_eq!(&written[..], taken, "{thing:?} is written in another way than it was read");
    }
    match decode(&mut written) {
        Ok(Some(again)) => assert_eq!(&again, thing, "it was written and read again"),
        other => panic!("{thing:?} was written and cannot be read: {other:?}"),
    }
    assert!(written.is_empty(), "bytes are left of what was written");
}

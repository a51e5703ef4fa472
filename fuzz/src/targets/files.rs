//! What members say to each other about the bytes of files.

use bytes::{Bytes, BytesMut};
use holdfast_wire::files::{Copied, PIECE_BYTES_MAX, Parcel, Piece, Refusal, Upload, Words};

use super::peer::written;
use super::{SMALL, memory};
use crate::Target;
use crate::property::check_stream;

/// Parcels on an open connection.
pub(super) const PARCEL: Target = Target {
    name: "files-parcel",
    about: "pieces of files, and words about them, between members",
    samples: parcels,
    words: &[],
    mend: Some(|bytes| mend_parcels(bytes)),
    run: read_parcels,
    // A copy is some words, and may be three bytes long; `Vec` doubles; it is read twice.
    memory: memory(SMALL + super::POSTCARD, 64),
};

const KIND_PIECE: u8 = 2;

fn parcels() -> Vec<Vec<u8>> {
    let digest = [7; 32];
    let refusals = [
        Refusal::Missing,
        Refusal::Damaged,
        Refusal::DiskFull,
        Refusal::TooLarge,
        Refusal::Mismatch,
        Refusal::Busy,
        Refusal::Failed,
        Refusal::Exists,
        Refusal::TooFewCopies,
        Refusal::TooMany,
        Refusal::Invalid,
        Refusal::Unknown,
    ];
    let refused = refusals.map(|why| Words::Refused { why, text: "because".to_owned() });
    let words = [
        Words::Keep { upload: u128::MAX - 5, size: None },
        Words::Keep { upload: 5, size: Some(900) },
        Words::End { size: 900, digest },
        Words::Kept,
        Words::Send { digest, from: 1, to: u64::MAX },
        Words::Here { size: 900 },
        Words::Verify { digest },
        Words::Forget { digest, upload: 5 },
        Words::Recover,
        Words::Recovered { total: 300, success: 2, failed: 1 },
        Words::Ask,
        Words::Am { client_port: 8001, transfers: 2, free_bytes: 1 << 40 },
        Words::Take(Box::new(Upload {
            name: "name".to_owned(),
            original: "name.txt".to_owned(),
            size: Some(900),
            replicas: Some(2),
            concern: Some("majority".to_owned()),
            digest: Some(digest),
            only_if_absent: true,
        })),
        Words::Ready,
        Words::TakeEnd,
        Words::Taken {
            size: 900,
            digest,
            copies: vec![
                Copied { ordinal: 0, why_not: None },
                Copied { ordinal: 6, why_not: Some("it is down".to_owned()) },
            ],
        },
        Words::Done,
        Words::Refused { why: Refusal::Failed, text: "ö".repeat(10_000) },
    ];
    let pieces = [Bytes::from_static(b"x"), Bytes::from(vec![3; 5_000])];
    let pieces = pieces.map(Piece::new).map(Parcel::Piece);
    let all = words.into_iter().chain(refused).map(Parcel::Words).chain(pieces);
    let mut samples = all.map(|parcel| written(|out| parcel.encode(out))).collect::<Vec<_>>();
    samples.push(samples.concat());
    samples
}

/// Give each parcel the length that is there, and a piece its checksum.
fn mend_parcels(bytes: &mut [u8]) {
    super::client::mend_lengths(bytes, |body| match body.split_first_mut() {
        Some((&mut KIND_PIECE, rest)) if rest.len() > 4 => {
            let checksum = crc32c::crc32c(&rest[4..]);
            rest[..4].copy_from_slice(&checksum.to_le_bytes());
        }
        _ => {}
    });
}

fn read_parcels(bytes: &[u8]) {
    let decode = |read: &mut BytesMut| {
        Parcel::decode(read).inspect(|parcel| {
            if let Some(Parcel::Piece(piece)) = parcel {
                let length = piece.bytes().len();
                assert!((1..=PIECE_BYTES_MAX).contains(&length), "a piece of {length} bytes");
            }
        })
    };
    // Numbers of variable length can be written in several ways.
    check_stream(bytes, decode, |parcel, out| parcel.encode(out), false);
}

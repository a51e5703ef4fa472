//! Damaged checkpoints: each kind of damage is an error, and nothing panics.

use bytes::Bytes;
use holdfast_engine::Random;
use holdfast_store::{Limits, Restore, RestoreError};

use crate::checkpoints::{cut, grown, restore};
use crate::{SMALL, for_seeds};

#[test]
fn every_flipped_bit_is_found() {
    let (store, _) = grown(5, SMALL, 60, 0);
    let chunks = cut(&store);
    for number in 0..chunks.len() {
        for bit in 0..chunks[number].len() * 8 {
            let mut damaged = chunks.clone();
            let mut bytes = damaged[number].to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            damaged[number] = Bytes::from(bytes);
            assert!(restore(&damaged, SMALL).is_err(), "bit {bit} of chunk {number}");
        }
    }
}

#[test]
fn every_cut_is_found() {
    let (store, _) = grown(6, SMALL, 60, 0);
    let chunks = cut(&store);
    for number in 0..chunks.len() {
        let fewer = restore(&chunks[..number], SMALL);
        assert_eq!(fewer.err(), Some(RestoreError::Incomplete { chunks: number as u64 }));
        for length in 0..chunks[number].len() {
            let mut damaged = chunks.clone();
            damaged[number] = damaged[number].slice(..length);
            assert!(restore(&damaged, SMALL).is_err(), "{length} bytes of chunk {number}");
        }
    }
}

#[test]
fn missing_repeated_swapped_and_foreign_chunks_are_found() {
    for_seeds(10, |seed| {
        let (store, _) = grown(seed, SMALL, 80, 0);
        let chunks = cut(&store);
        let (other, _) = grown(seed + 1000, SMALL, 80, 0);
        let foreign = cut(&other);
        for number in 0..chunks.len() {
            let mut missing = chunks.clone();
            missing.remove(number);
            assert!(restore(&missing, SMALL).is_err(), "without chunk {number}");
            let mut repeated = chunks.clone();
            repeated.insert(number, chunks[number].clone());
            assert!(restore(&repeated, SMALL).is_err(), "chunk {number} twice");
            let mut mixed = chunks.clone();
            mixed[number] = foreign[number.min(foreign.len() - 1)].clone();
            assert!(restore(&mixed, SMALL).is_err(), "chunk {number} of another checkpoint");
            if number > 0 {
                let mut swapped = chunks.clone();
                swapped.swap(number - 1, number);
                assert!(restore(&swapped, SMALL).is_err(), "chunks {} and {number} swapped", number - 1);
            }
        }
    });
}

#[test]
fn after_the_footer_nothing_may_come() {
    let (store, _) = grown(7, SMALL, 40, 0);
    let chunks = cut(&store);
    for extra in [&b""[..], b"x", &chunks[0]] {
        let mut longer = chunks.clone();
        longer.push(Bytes::copy_from_slice(extra));
        assert!(restore(&longer, SMALL).is_err());
    }
}

#[test]
fn an_error_stays() {
    let (store, _) = grown(8, SMALL, 40, 0);
    let chunks = cut(&store);
    let mut restore = Restore::with_limits(SMALL);
    let error = restore.chunk(&chunks[1]).expect_err("the second chunk is not the first");
    for chunk in &chunks {
        assert_eq!(restore.chunk(chunk), Err(error.clone()));
    }
    assert_eq!(restore.finish().err(), Some(error));
}

#[test]
fn nonsense_is_refused_without_a_panic() {
    for_seeds(20, |seed| {
        let mut random = Random::new(seed);
        for _ in 0..500 {
            let length = random.below(200);
            let nonsense: Vec<u8> = (0..length).map(|_| random.draw() as u8).collect();
            assert!(restore(&[Bytes::from(nonsense)], Limits::default()).is_err());
        }
    });
}

//! Making a failing input small: what does not matter for the failure goes.
//!
//! What it refuses to do: know why the input fails. Something else says whether it still does.

/// The smallest input that was found to fail, within so many tries.
pub(crate) fn minimise(input: &[u8], tries_max: usize, mut fails: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut best = input.to_vec();
    let mut tries = 0;
    let mut attempt = |candidate: Vec<u8>, best: &mut Vec<u8>| {
        if tries >= tries_max || candidate == *best {
            return false;
        }
        tries += 1;
        let smaller = fails(&candidate);
        if smaller {
            *best = candidate;
        }
        smaller
    };
    let mut piece = best.len();
    while piece > 0 {
        let mut at = 0;
        let mut dropped = false;
        while at < best.len() {
            let mut candidate = best.clone();
            candidate.drain(at..(at + piece).min(best.len()));
            // What comes next has moved here then.
            if attempt(candidate, &mut best) {
                dropped = true;
            } else {
                at += piece;
            }
        }
        if piece > 1 || !dropped {
            piece /= 2;
        }
    }
    for at in 0..best.len() {
        let mut candidate = best.clone();
        candidate[at] = 0;
        attempt(candidate, &mut best);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_matters_is_left() {
        let input = (0..200u8).collect::<Vec<_>>();
        let fails = |candidate: &[u8]| {
            let at = |byte| candidate.iter().position(|other| *other == byte);
            matches!((at(20), at(170)), (Some(first), Some(second)) if first + 1 < second)
        };
        assert!(fails(&input));
        assert_eq!(minimise(&input, 1000, fails), [20, 0, 170]);
        assert!(minimise(&input, 12, fails).len() < input.len(), "a few tries help too");
        assert_eq!(minimise(&input, 1000, |candidate| candidate == input), input);
        assert_eq!(minimise(&input, 1000, |_| true), b"");
    }
}

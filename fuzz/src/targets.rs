//! All targets, by where the bytes come from.

mod broken;
mod checkpoint;
mod client;
mod command;
mod files;
mod folder;
mod http;
mod peer;
mod record;
mod text;

use crate::{Memory, Target};

/// What reading without claims costs: a few small buffers, and what standard collections begin with.
const SMALL: usize = 64 * 1024;

/// Postcard sets aside at most 1 MiB per list before it has seen its elements, by serde's rule; three lists at a time.
const POSTCARD: usize = 4 * 1024 * 1024;

/// The targets.
pub fn all() -> &'static [Target] {
    const ALL: &[Target] = &[
        peer::FRAME,
        peer::GREETING,
        files::PARCEL,
        client::REQUEST,
        client::REPLY,
        client::GREETING,
        record::RECORD,
        record::MEMBERSHIP,
        command::COMMAND,
        command::OUTCOME,
        checkpoint::CHECKPOINT,
        folder::FOLDER,
        http::KEY,
        http::QUERY,
        http::TRANSACTION,
        text::SETTINGS,
        text::TRANSACTION,
        text::WORDS,
    ];
    ALL
}

/// The targets of this name, or all of them; also the one that is broken on purpose, which is not among all.
pub fn named(name: &str) -> Vec<&'static Target> {
    const BROKEN: &Target = &broken::BROKEN;
    if name == BROKEN.name {
        return vec![BROKEN];
    }
    all().iter().filter(|target| name == "all" || name == target.name).collect()
}

/// Memory for a reader that keeps what it was given, about.
const fn memory(base: usize, per_byte: usize) -> Memory {
    Memory { base, per_byte }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_told_apart_and_samples_stay_the_same() {
        let names = all().iter().map(|target| target.name).collect::<BTreeSet<_>>();
        assert_eq!(names.len(), all().len());
        for target in all() {
            let samples = (target.samples)();
            assert!(!samples.is_empty(), "{}", target.name);
            assert_eq!(samples, (target.samples)(), "{}", target.name);
        }
    }

    #[test]
    fn mending_changes_no_sample_and_no_target_fails_on_one() {
        for target in all() {
            for sample in (target.samples)() {
                if let Some(mend) = target.mend {
                    let mut mended = sample.clone();
                    mend(&mut mended);
                    assert_eq!(
                        mended.escape_ascii().to_string(),
                        sample.escape_ascii().to_string(),
                        "{}",
                        target.name
                    );
                }
                (target.run)(&sample);
            }
        }
    }
}

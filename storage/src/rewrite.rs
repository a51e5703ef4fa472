//! Writing a repaired log: all of it into one new segment, which counts from the instant in which it gets its name.
//!
//! The segment begins the log anew, so its name voids all earlier ones at once; until then nothing has changed. Its
//! content is sealed in parts, so that damage to one of them is not damage to all.
//!
//! What it refuses to do: remove what it replaces before it is durable itself.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use holdfast_engine::{Entry, Position};

use crate::OpenError;
use crate::folder::Folder;
use crate::housekeeper::zeros;
use crate::identity::Identity;
use crate::mark::MARK_BYTES;
use crate::segment::{HEADER_BYTES, Header, Segment};

/// Bytes of records between two seals. A part is lost as a whole, and members may be damaged in several places each: the
/// smaller the parts, the likelier it is that some member has a good copy of each. A seal costs a hundredth of this.
const PART_BYTES: usize = 4 * 1024;

/// The log to write.
#[derive(Debug)]
pub(crate) struct Rewrite {
    /// The segment's number, higher than those of all that are there.
    pub(crate) number: u64,
    /// The position before the first entry.
    pub(crate) start: Position,
    pub(crate) entries: Vec<Entry>,
}

/// Write the log, and make it the log.
pub(crate) fn write(
    folder: &Folder,
    identity: &Identity,
    log: &Rewrite,
    segment_bytes: u64,
) -> Result<(), OpenError> {
    let records = log.entries.iter().map(|entry| entry.record().len()).sum::<usize>();
    // At most one seal per part, and what a part may exceed its length by is a part of its own.
    let seals = (records / PART_BYTES + 2) * MARK_BYTES;
    let bytes = segment_bytes.max(HEADER_BYTES + (records + seals + 2 * MARK_BYTES) as u64);
    let file = zeros(folder, bytes, &AtomicBool::new(false))?.expect("nobody stops it");
    let header = Header {
        stamp: identity.stamp.clone(),
        formed: identity.store(),
        number: log.number,
        bytes,
        previous: log.start,
        chain: 0,
        restart: true,
    };
    let mut segment = Segment::unnamed(folder, file, header)?;
    let mut end = log.start;
    for entry in &log.entries {
        segment.add(&entry.record(), end);
        end = entry.position();
        if segment.pending() >= PART_BYTES {
            segment.write_part(folder)?;
        }
    }
    segment.flush(folder)?;
    segment.seal(folder, end)?;
    Ok(segment.name(folder)?)
}

/// Remove what was replaced.
pub(crate) fn remove(folder: &Folder, segments: &[PathBuf]) -> Result<(), OpenError> {
    for path in segments {
        folder.files.remove(path)?;
    }
    Ok(folder.files.sync_folder(&folder.log())?)
}

use holdfast_wire::files::Piece;

use super::*;
use crate::files::buffers::Buffers;
use crate::files::limits::FILE_BYTES_MAX;

fn folder() -> (tempfile::TempDir, Blobs) {
    let folder = tempfile::tempdir().expect("a folder");
    let blobs = Blobs::open(folder.path().join("files")).expect("a folder");
    (folder, blobs)
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 % 251) as u8).collect()
}

fn piece(bytes: &[u8]) -> Piece {
    Piece::new(bytes::Bytes::copy_from_slice(bytes))
}

fn keep(blobs: &Blobs, bytes: &[u8], chunk: usize) -> Digest {
    let mut incoming = blobs.begin(Some(bytes.len() as u64)).expect("room");
    for chunk in bytes.chunks(chunk) {
        incoming.write(&piece(chunk)).expect("written");
    }
    let complete = incoming.complete();
    let digest = complete.digest();
    complete.keep(&digest, bytes.len() as u64).expect("kept");
    digest
}

fn read(blob: &Blob, from: u64, to: u64) -> Result<Vec<u8>, BlobError> {
    let (mut read, mut buffers) = (Vec::new(), Buffers::default());
    while from + (read.len() as u64) < to {
        read.extend_from_slice(blob.read(from + read.len() as u64, to, &mut buffers)?.bytes());
    }
    Ok(read)
}

/// All that is in the folder.
fn files(folder: &tempfile::TempDir) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

#[test]
fn any_range_of_what_was_kept_can_be_read() {
    let (_folder, blobs) = folder();
    for length in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 17] {
        let bytes = bytes(length);
        let digest = keep(&blobs, &bytes, 50_000);
        let blob = blobs.get(&digest).expect("there");
        blob.verify().expect("whole");
        assert_eq!(blob.size(), length as u64);
        let ends = [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, length];
        for from in ends {
            for to in ends.into_iter().filter(|&to| from <= to && to <= length) {
                assert_eq!(read(&blob, from as u64, to as u64).expect("readable"), bytes[from..to]);
            }
        }
    }
}

#[test]
fn a_piece_as_long_as_a_block_may_lie_in_two() {
    let (_folder, blobs) = folder();
    let bytes = bytes(3 * BLOCK_BYTES + 7);
    let mut incoming = blobs.begin(None).expect("room");
    let (first, rest) = bytes.split_at(7);
    for part in std::iter::once(first).chain(rest.chunks(BLOCK_BYTES)) {
        incoming.write(&piece(part)).expect("written");
    }
    let complete = incoming.complete();
    let digest = complete.digest();
    complete.keep(&digest, bytes.len() as u64).expect("kept");
    blobs.get(&digest).expect("there").verify().expect("whole");
}

#[test]
fn a_flipped_bit_anywhere_is_found_and_never_given() {
    let (folder, blobs) = folder();
    let bytes = bytes(2 * BLOCK_BYTES + 100);
    let digest = keep(&blobs, &bytes, BLOCK_BYTES);
    let path = files(&folder).remove(0);
    let whole = fs::read(&path).expect("readable");
    let places = [0, BLOCK_BYTES + 5, bytes.len() - 1, bytes.len(), bytes.len() + 11, whole.len() - 60];
    for at in places.into_iter().chain(whole.len() - 52..whole.len()) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, &flipped).expect("written");
        let verified = blobs.get(&digest).and_then(|blob| blob.verify());
        assert!(matches!(verified, Err(BlobError::Damaged { .. })), "byte {at}: {verified:?}");
        let given = blobs.get(&digest).and_then(|blob| read(&blob, 0, bytes.len() as u64));
        assert!(given.is_err() || given.is_ok_and(|given| given == bytes), "byte {at} was given");
    }
    fs::write(&path, &whole[..whole.len() - 1]).expect("written");
    assert!(matches!(blobs.get(&digest), Err(BlobError::Damaged { .. })), "it is too short");
}

#[test]
fn what_comes_again_takes_the_place_of_what_is_damaged_and_no_other() {
    let (folder, blobs) = folder();
    let bytes = bytes(300_000);
    let digest = keep(&blobs, &bytes, 4096);
    assert_eq!(keep(&blobs, &bytes, 777), digest);
    assert_eq!(files(&folder).len(), 1, "the same bytes are there once");
    let path = files(&folder).remove(0);
    let mut flipped = fs::read(&path).expect("readable");
    flipped[9] ^= 1;
    fs::write(&path, flipped).expect("written");
    blobs.set_aside(&digest).expect("renamed");
    assert!(!blobs.has(&digest));
    assert_eq!(blobs.list(digest[0]).expect("listed"), [(digest, true)]);
    keep(&blobs, &bytes, 4096);
    blobs.get(&digest).expect("there").verify().expect("whole again");
    assert_eq!(blobs.list(digest[0]).expect("listed"), [(digest, false)]);
    blobs.remove(&digest).expect("removed");
    assert_eq!(files(&folder), Vec::<PathBuf>::new());
}

#[test]
fn what_is_not_finished_leaves_nothing() {
    let (folder, blobs) = folder();
    let mut incoming = blobs.begin(None).expect("room");
    incoming.write(&piece(b"half")).expect("written");
    assert_eq!(files(&folder).len(), 1);
    drop(incoming);
    assert_eq!(files(&folder), Vec::<PathBuf>::new());
    let mut other = blobs.begin(None).expect("room");
    other.write(&piece(b"something else")).expect("written");
    let mismatch = other.complete().keep(&[1; 32], 14);
    assert!(matches!(mismatch, Err(BlobError::Mismatch(_))), "{mismatch:?}");
    assert_eq!(files(&folder), Vec::<PathBuf>::new());
    // A member that was killed had no time to clean up.
    fs::write(folder.path().join("files/17.part"), b"half").expect("written");
    Blobs::open(folder.path().join("files")).expect("opened again");
    assert_eq!(files(&folder), Vec::<PathBuf>::new());
}

#[test]
fn what_is_too_large_is_refused_before_it_is_written() {
    let (folder, blobs) = folder();
    let too_large = blobs.begin(Some(FILE_BYTES_MAX + 1));
    assert!(matches!(too_large, Err(BlobError::TooLarge { .. })), "{too_large:?}");
    let full = blobs.check_room(u64::MAX);
    assert!(matches!(full, Err(BlobError::Full { .. })), "{full:?}");
    assert_eq!(files(&folder), Vec::<PathBuf>::new());
}

#[test]
fn digests_are_written_in_digits() {
    let digest: Digest = std::array::from_fn(|at| at as u8 * 8);
    assert_eq!(from_hex(&to_hex(&digest)), Some(digest));
    for wrong in ["", "00", &"g".repeat(64), &"0".repeat(65)] {
        assert_eq!(from_hex(wrong), None, "{wrong}");
    }
}

/// A file system in memory that ends with the mount.
struct Small(tempfile::TempDir);

impl Small {
    /// Nothing if this process may not mount.
    fn mount(bytes: u64) -> Option<Small> {
        let folder = tempfile::tempdir().expect("a folder");
        let size = std::ffi::CString::new(format!("size={bytes}")).expect("no zero");
        let flags = rustix::mount::MountFlags::empty();
        if let Err(error) = rustix::mount::mount("tmpfs", folder.path(), "tmpfs", flags, size.as_c_str()) {
            assert!(std::env::var_os("CI").is_none(), "left out, because nothing can be mounted: {error}");
            return None;
        }
        Some(Small(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_keeps_room_for_the_log_and_nothing_of_the_file() {
    let Some(disk) = Small::mount(24 * 1024 * 1024) else { return };
    let blobs = Blobs::open(disk.0.path().join("files")).expect("a folder");
    let (before, kept) = blobs.free().expect("a volume");
    assert!(kept > 1024 * 1024 && before > 23 * 1024 * 1024, "{before} free, {kept} kept");
    let too_large = blobs.begin(Some(before));
    assert!(matches!(too_large, Err(BlobError::Full { .. })), "{too_large:?}");
    let mut incoming = blobs.begin(None).expect("room for some");
    let full = (0..192).find_map(|_| incoming.write(&piece(&[7; BLOCK_BYTES])).err());
    assert!(matches!(full, Some(BlobError::Full { .. })), "{full:?}");
    assert!(blobs.free().expect("a volume").0 >= kept, "the log's room was taken");
    drop(incoming);
    // Somebody else takes the room while it is written.
    let mut incoming = blobs.begin(None).expect("room again");
    let ballast = fs::write(disk.0.path().join("ballast"), vec![1; before as usize - 512 * 1024]);
    ballast.expect("it has so much");
    let full = (0..48).find_map(|_| incoming.write(&piece(&[7; BLOCK_BYTES])).err());
    assert!(matches!(full, Some(BlobError::Full { .. })), "{full:?}");
    drop(incoming);
    fs::remove_file(disk.0.path().join("ballast")).expect("removed");
    assert_eq!(blobs.free().expect("a volume").0, before, "something is left");
}

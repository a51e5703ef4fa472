//! How much of everything files may take, in one place.

use std::time::Duration;

/// Largest file. Its block checksums, which are in memory while it arrives, are 1 MiB then.
pub(crate) const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;

/// Longest name. Names are hashed for the catalogue's keys, so that this is only what people and headers can bear.
pub(crate) const NAME_BYTES_MAX: usize = 4096;

/// Most files. Each takes about 1 KiB of every member's memory, in the replicated state: a tenth of a GiB.
pub(crate) const FILES_MAX: u64 = 100_000;

/// Most items of the queue. What is missing is known without it, from the files' records: an item is for people, and a
/// missing copy that finds no room for one is made all the same.
pub(crate) const QUEUE_ITEMS_MAX: usize = 10_000;

/// Uploads that a member takes at a time. Each holds about 2 MiB: pieces on their way to the disk and to the others.
pub(crate) const UPLOADS_MAX: usize = 8;

/// Downloads that a member serves at a time. Each holds some blocks of 256 KiB.
pub(crate) const DOWNLOADS_MAX: usize = 32;

/// Connections of other members about files that are answered at a time; each holds about 1 MiB while bytes arrive.
pub(crate) const CALLS_MAX: usize = 32;

/// How long an upload or a download waits for one of these places before it is refused.
pub(crate) const PLACE_TIME_MAX: Duration = Duration::from_secs(30);

/// Copies that a member fetches at a time when it recovers. Two hide one another's waits; more would only take the disk
/// and the network from clients.
pub(crate) const FETCHES_MAX: usize = 2;

/// How long a client may take for the next piece of an upload.
pub(crate) const BODY_STALL_MAX: Duration = Duration::from_secs(30);

/// How long another member may keep an upload waiting for room in its buffer. Then it is left out, and gets its copy by the
/// queue. Longer than a disk's flush of what is buffered, shorter than a client's patience.
pub(crate) const PEER_STALL_MAX: Duration = Duration::from_secs(3);

/// How long another member may take to make the last pieces durable and say so.
pub(crate) const PEER_FINISH_MAX: Duration = Duration::from_secs(10);

/// How long another member may take until an upload that was passed on to it is a file: its own flush, that of the others,
/// and the catalogue, with room.
pub(crate) const TAKE_FINISH_MAX: Duration = Duration::from_secs(60);

/// How often members ask each other how they are: what is free, and what is under way.
pub(crate) const ASK_INTERVAL: Duration = Duration::from_secs(5);

/// How long another member may take for the next piece, or for an answer that it need not work for.
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a caller may have nothing to ask before its connection is closed.
pub(crate) const IDLE_TIME_MAX: Duration = Duration::from_secs(60);

/// How long reading a whole file again may take: 64 GiB at 100 MB/s, with room.
pub(crate) const VERIFY_TIME_MAX: Duration = Duration::from_secs(30 * 60);

/// How long a question to the catalogue may take: several elections.
pub(crate) const CATALOGUE_TIME_MAX: Duration = Duration::from_secs(10);

/// For so long after a member has said that it keeps some bytes it does not remove them, whatever the catalogue says: the
/// record that refers to them may be on its way. Longer than an upload may take from there to its record.
pub(crate) const PROMISE_TIME: Duration = Duration::from_secs(60);

/// Bytes without a record, which a client has put on one member to register them, stay there for so long.
pub(crate) const REGISTER_TIME: Duration = Duration::from_secs(600);

/// How often a copy is tried before its item is called failed. With the pauses between, that is about two minutes.
pub(crate) const TRIES_MAX: u32 = 6;

/// The pause after the first failed try; twice as long after each further one.
pub(crate) const PAUSE_FIRST: Duration = Duration::from_secs(2);

/// No pause is longer. After so long an item that has failed is tried again, too.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Items that are done stay visible for so long.
pub(crate) const COMPLETED_KEPT: Duration = Duration::from_secs(600);

/// Of the volume's bytes, one in so many stays free for the log and the checkpoints.
pub(crate) const SPACE_KEPT_PART: u64 = 20;

/// And never more than this: what a log of the usual length and a checkpoint need.
pub(crate) const SPACE_KEPT_MAX: u64 = 512 * 1024 * 1024;

/// Uploads in parts that a member keeps at a time.
pub(crate) const PARTIALS_MAX: usize = 64;

/// For so long after its last part an upload in parts stays.
pub(crate) const PARTIAL_TIME: Duration = Duration::from_secs(24 * 3600);

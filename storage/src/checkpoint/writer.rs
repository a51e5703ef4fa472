//! Writing one checkpoint beside the running store.
//!
//! What it refuses to do: have a name before it is whole and durable.

use std::fs;
use std::sync::Arc;

use holdfast_engine::Checkpoint;

use super::{
    CHECKPOINT_CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, CheckpointFile, Compression, END_BYTES, Header, KIND,
    KIND_COMPRESSED, checksum, compression, path, seed,
};
use crate::CheckpointError;
use crate::block;
use crate::files::OpenFile;
use crate::folder::Folder;

/// Bytes after which the file is flushed while it grows. The log's next flush waits behind what the disk was given
/// before, so that this is a writer's longest wait for a checkpoint: some milliseconds of a slow disk.
const FLUSH_BYTES: u64 = 1024 * 1024;

/// Writes one checkpoint. Dropped before [`CheckpointWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct CheckpointWriter {
    folder: Arc<Folder>,
    checkpoint: Checkpoint,
    compression: Compression,
    file: OpenFile,
    seed: u32,
    end: u64,
    flushed: u64,
    chunks: u64,
    bytes: u64,
    finished: bool,
}

impl CheckpointWriter {
    pub(super) fn create(
        folder: Arc<Folder>,
        checkpoint: Checkpoint,
        compression: Compression,
    ) -> Result<CheckpointWriter, CheckpointError> {
        let identity = folder.identity();
        let header = Header { stamp: identity.stamp, formation: identity.formation, checkpoint };
        let kind = if compression == Compression::None { KIND } else { KIND_COMPRESSED };
        let header = block::encode(kind, &header);
        let file = folder.files.create(&folder.unfinished(&path(&folder, checkpoint.position)))?;
        let mut writer = CheckpointWriter {
            folder,
            checkpoint,
            compression,
            file,
            seed: seed(&header),
            end: 0,
            flushed: 0,
            chunks: 0,
            bytes: 0,
            finished: false,
        };
        writer.write(&header)?;
        Ok(writer)
    }

    /// Add the next chunk.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Chunk`] if it does not have `[1, CHECKPOINT_CHUNK_BYTES_MAX]` bytes; else
    /// [`CheckpointError::Io`], after which the checkpoint can only be dropped.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), CheckpointError> {
        if bytes.is_empty() || bytes.len() > CHECKPOINT_CHUNK_BYTES_MAX {
            return Err(CheckpointError::Chunk { bytes: bytes.len() });
        }
        let compressed = match self.compression {
            Compression::None => None,
            Compression::Lz4 => compression::compressed(bytes),
        };
        let (length, stored) = match &compressed {
            Some((length, stored)) => (*length, &stored[..]),
            None => (bytes.len() as u32, bytes),
        };
        let mut chunk = Vec::with_capacity(CHUNK_HEADER_BYTES + stored.len());
        chunk.extend_from_slice(&length.to_le_bytes());
        chunk.extend_from_slice(&checksum(self.seed, self.chunks, length, stored).to_le_bytes());
        chunk.extend_from_slice(stored);
        self.write(&chunk)?;
        self.chunks += 1;
        self.bytes += bytes.len() as u64;
        if self.end - self.flushed >= FLUSH_BYTES {
            self.folder.files.sync(&self.file)?;
            self.flushed = self.end;
        }
        Ok(())
    }

    /// How many chunks there are so far.
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// How many bytes the chunks so far have together, before they are compressed.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Make the checkpoint durable and give it its name, in place of one of the same position.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`]. If flushing the folder failed, the checkpoint may be there or not after a crash; it
    /// must not be counted on.
    pub fn finish(mut self) -> Result<CheckpointFile, CheckpointError> {
        let mut totals = self.chunks.to_le_bytes().to_vec();
        totals.extend_from_slice(&self.bytes.to_le_bytes());
        let mut end = vec![0; 4];
        end.extend_from_slice(&checksum(self.seed, self.chunks, 0, &totals).to_le_bytes());
        end.extend_from_slice(&totals);
        debug_assert_eq!(end.len(), END_BYTES);
        self.write(&end)?;
        self.folder.files.sync(&self.file)?;
        let path = path(&self.folder, self.checkpoint.position);
        self.folder.files.rename(&mut self.file, path)?;
        self.finished = true;
        self.folder.files.sync_folder(&self.folder.checkpoints())?;
        let modified = fs::metadata(self.file.path()).and_then(|found| found.modified()).ok();
        Ok(CheckpointFile { position: self.checkpoint.position, bytes: self.end, modified })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), CheckpointError> {
        self.folder.files.write_at(&self.file, self.end, bytes)?;
        self.end += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        // If it stays, the next start removes it.
        if !self.finished {
            let _ = self.folder.files.remove(self.file.path());
        }
    }
}

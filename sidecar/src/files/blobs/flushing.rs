//! Flushing a file that grows while more is written to it: [`Flushing`].
//!
//! One flush is on its way to the disk while the next bytes are hashed and written; whoever is faster than the disk waits
//! for it. What it refuses to do: lose a flush's error, which the system reports only once.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// Bytes after which a file is flushed while it grows. The log's next flush waits behind what the disk was given before,
/// which is twice that at most.
pub(super) const FLUSH_BYTES: u64 = 8 * 1024 * 1024;

/// What is not flushed yet of a file, and a thread that flushes it once there is enough. When it is dropped nobody holds the
/// file for it any more.
#[derive(Debug, Default)]
pub(crate) struct Flushing {
    unflushed: u64,
    flusher: Option<Flusher>,
}

#[derive(Debug)]
struct Flusher {
    orders: SyncSender<()>,
    flushed: JoinHandle<io::Result<()>>,
}

impl Flushing {
    /// So many bytes more were written. If they are enough, begins to flush them, once the flush before has ended; whether
    /// it did.
    pub(crate) fn wrote(&mut self, file: &File, bytes: usize) -> io::Result<bool> {
        self.unflushed += bytes as u64;
        if self.unflushed < FLUSH_BYTES {
            return Ok(false);
        }
        self.unflushed = 0;
        let flusher = match self.flusher.take() {
            Some(flusher) => flusher,
            None => Flusher::of(file)?,
        };
        match flusher.orders.send(()) {
            Ok(()) => self.flusher = Some(flusher),
            Err(_) => flusher.end()?,
        }
        Ok(true)
    }

    /// Wait for the flush that is under way; whether all of them succeeded. What was written after it is not flushed.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.flusher.take().map_or(Ok(()), Flusher::end)
    }
}

impl Drop for Flushing {
    fn drop(&mut self) {
        // A file that is removed gives its room back.
        let _ = self.end();
    }
}

impl Flusher {
    fn of(file: &File) -> io::Result<Flusher> {
        let file = file.try_clone()?;
        // Without a place to wait in: an order is taken when the flush before it has ended.
        let (orders, taken) = sync_channel(0);
        let flush = move || taken.iter().try_for_each(|()| file.sync_data());
        let flushed = thread::Builder::new().name("flush of a file".to_owned()).spawn(flush)?;
        Ok(Flusher { orders, flushed })
    }

    fn end(self) -> io::Result<()> {
        drop(self.orders);
        self.flushed.join().expect("a flush does not panic")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_flush_begins_when_enough_was_written() {
        let mut file = tempfile::tempfile().expect("a file");
        let mut flushing = Flushing::default();
        let mut begun = 0;
        for _ in 0..40 {
            file.write_all(&[1; 1024 * 1024]).expect("room");
            begun += usize::from(flushing.wrote(&file, 1024 * 1024).expect("flushed"));
        }
        assert_eq!(begun, 5);
        flushing.end().expect("flushed");
    }

    #[test]
    fn an_error_of_a_flush_is_told() {
        // Nothing that is written there can be flushed.
        let (_reader, writer) = io::pipe().expect("a pipe");
        let pipe = File::from(std::os::fd::OwnedFd::from(writer));
        let mut flushing = Flushing::default();
        assert!(flushing.wrote(&pipe, FLUSH_BYTES as usize).expect("begun"));
        flushing.end().expect_err("a pipe has no disk");
    }
}

//! Memory for pieces that is used again: [`Buffers`].
//!
//! A piece goes to other tasks, which drop it soon; asking the system for new memory each time costs more than filling it.

use bytes::BytesMut;
use holdfast_wire::files::PIECE_BYTES_MAX;

/// Pieces of one transfer that are in memory at a time, usually: those that wait, and those that are being sent and written.
const BUFFERS: usize = 8;

/// Buffers that take turns, each as long as the longest piece. Memory is taken when it is needed for the first time.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    ring: [BytesMut; BUFFERS],
    at: usize,
}

impl Buffers {
    /// An empty buffer with room for a piece: the one whose turn was longest ago if nobody has any of its bytes any more, and
    /// new memory else.
    pub(crate) fn take(&mut self) -> BytesMut {
        self.at = (self.at + 1) % BUFFERS;
        let buffer = &mut self.ring[self.at];
        buffer.reserve(PIECE_BYTES_MAX);
        // What stays here is empty, and knows when the other part is dropped.
        buffer.split_off(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_when_nobody_has_it() {
        let mut buffers = Buffers::default();
        let mut fill = |byte: u8| {
            let mut buffer = buffers.take();
            buffer.resize(PIECE_BYTES_MAX, byte);
            buffer.freeze()
        };
        let held = fill(1);
        let mut places: Vec<_> = (0..BUFFERS - 1).map(|_| fill(2).as_ptr()).collect();
        let fresh = fill(3);
        assert_ne!(fresh.as_ptr(), held.as_ptr(), "somebody has it");
        assert!(held.iter().all(|&byte| byte == 1));
        let mut again: Vec<_> = (0..BUFFERS - 1).map(|_| fill(4).as_ptr()).collect();
        places.sort_unstable();
        again.sort_unstable();
        assert_eq!(places, again);
    }
}

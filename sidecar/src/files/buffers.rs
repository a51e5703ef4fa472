//! Memory for pieces that is used again: [`Buffers`].
//!
//! A piece goes to other tasks, which drop it soon; asking the system for new memory each time costs more than filling it.

use bytes::BytesMut;
use holdfast_wire::files::PIECE_BYTES_MAX;

/// Buffers of one transfer that are kept. It needs as many as it has pieces on their way, which are fewer.
const KEPT_MAX: usize = 8;

/// Buffers, each as long as the longest piece; no more than are in use at a time.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    kept: Vec<BytesMut>,
}

impl Buffers {
    /// An empty buffer with room for a piece: one of whose bytes nobody has any more, or else new memory.
    pub(crate) fn take(&mut self) -> BytesMut {
        // What stays here is empty, and knows when the other part is dropped.
        if let Some(buffer) =
            self.kept.iter_mut().find_map(|kept| kept.try_reclaim(PIECE_BYTES_MAX).then_some(kept))
        {
            return buffer.split_off(0);
        }
        let mut fresh = BytesMut::with_capacity(PIECE_BYTES_MAX);
        let taken = fresh.split_off(0);
        if self.kept.len() < KEPT_MAX {
            self.kept.push(fresh);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_when_nobody_has_it_and_no_more_than_is_in_use() {
        let mut buffers = Buffers::default();
        let mut fill = |byte: u8| {
            let mut buffer = buffers.take();
            buffer.resize(PIECE_BYTES_MAX, byte);
            buffer.freeze()
        };
        let held = fill(1);
        let place = fill(2).as_ptr();
        for _ in 0..2 * KEPT_MAX {
            assert_eq!(fill(3).as_ptr(), place, "nobody has it");
        }
        let many: Vec<_> = (0..2 * KEPT_MAX).map(|_| fill(4)).collect();
        assert!(held.iter().all(|&byte| byte == 1), "somebody has it");
        drop(many);
        assert_eq!(buffers.kept.len(), KEPT_MAX);
    }
}

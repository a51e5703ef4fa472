//! Log segments, checkpoint files and member identity on disk.

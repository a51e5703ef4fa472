//! Whole clusters under seeded faults, in virtual time.

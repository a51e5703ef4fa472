//! The ReplicatedStore kind, its rules, and the names and data that operator, sidecar and clients share.

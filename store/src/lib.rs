//! The replicated state: a multi-version keyspace and its sessions, deterministic.

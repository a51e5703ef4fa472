//! The Rust client: finds the leader, retries what is safe, says unknown when it is.

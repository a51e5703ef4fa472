//! Real members, three in one process: their threads, their disks, their connections.

mod bad_peers;
mod checkpoints;
mod cluster;
mod failover;
mod membership;
mod one_member;
mod serving;

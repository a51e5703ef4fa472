//! Real members, three in one process: their threads, their disks, their connections.

mod bad_peers;
mod checkpoints;
mod cluster;
mod delays;
mod failover;
mod full;
mod load;
mod membership;
mod one_member;
mod outside;
mod repair;
mod scaling;
mod serving;

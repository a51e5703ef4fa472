//! A member's folder from outside: what is written is found again, what is damaged is said to be, and nothing else is
//! opened. Every test has a folder of its own on a real disk.

mod checkpoints;
mod damage;
mod folder;
mod full;
mod log;
mod member;
mod outside;
mod repair;
mod scrub;

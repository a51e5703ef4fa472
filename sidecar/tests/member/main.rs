//! Real members, as processes, asked over real connections: every route, how a member starts, changes and stops, and
//! what its answers say when others are gone.

mod cluster;
mod dashboard;
mod files;
mod lifecycle;
mod native;
mod process;
mod repairing;
mod routes;

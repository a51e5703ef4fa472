//! One real member, as a process, asked over real connections: every route, and how it starts, changes and stops.

mod lifecycle;
mod process;
mod routes;

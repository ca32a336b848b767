//! The REST interface, over loopback against the built program.

mod contract;
mod control;
mod dashboard;
mod limits;
mod security;

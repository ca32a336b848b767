//! The REST interface, over loopback against the built program.

mod contract;
mod control;
mod limits;
mod security;

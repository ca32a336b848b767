//! The REST interface, over loopback against the built program.

mod contract;
mod limits;
mod security;

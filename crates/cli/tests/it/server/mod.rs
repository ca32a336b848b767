//! The REST interface, over loopback against the built program.

mod all_events;
mod contract;
mod control;
mod dashboard;
mod errors;
mod killed;
mod limits;
mod openapi;
mod progress;
mod raw;
mod security;
mod socket;
mod workflows;

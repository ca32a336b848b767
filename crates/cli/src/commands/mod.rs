//! The commands: one file each, with its arguments and one function.

pub mod agents;
pub mod approve;
pub mod cancel;
pub mod completions;
pub mod config;
pub mod fork;
pub mod graph;
pub mod inspect;
pub mod list;
pub mod logs;
pub mod lsp;
pub mod man;
pub mod pause;
pub mod resume;
pub mod run;
pub mod schema;
#[cfg(feature = "server")]
pub mod server;
pub mod signal;
pub mod sim;
pub mod status;
pub mod test;
pub mod upgrade_check;
pub mod validate;
pub mod version;
pub mod why;

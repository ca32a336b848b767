//! The commands: one file each, with its arguments and one function.

pub mod agents;
pub mod approve;
pub mod cancel;
pub mod completions;
pub mod config;
pub mod create;
pub mod fork;
pub mod graph;
pub mod init;
pub mod inspect;
mod install;
pub mod list;
pub mod logs;
pub mod lsp;
pub mod man;
#[cfg(feature = "server")]
pub mod mcp;
pub mod pause;
#[cfg(feature = "server")]
pub mod restart;
pub mod resume;
pub mod run;
pub mod schema;
#[cfg(feature = "server")]
pub mod server;
pub mod signal;
pub mod sim;
#[cfg(feature = "server")]
pub mod start;
pub mod status;
pub mod stop;
pub mod test;
pub mod upgrade_check;
pub mod validate;
pub mod version;
pub mod why;

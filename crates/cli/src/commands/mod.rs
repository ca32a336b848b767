//! The commands: one file each, with its arguments and one function.

pub mod graph;
pub mod inspect;
pub mod lsp;
pub mod resume;
pub mod run;
pub mod schema;
#[cfg(feature = "server")]
pub mod server;
pub mod validate;
pub mod version;

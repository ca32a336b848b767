//! The application around the engine: commands, REST server, configuration, telemetry export.
//!
//! The program is [`run`], or a [`Program`] with agents of one's own; everything that it prints follows a few rules: data goes to
//! standard output and talk to standard error, errors carry a hint, and the exit code says what kind of end it was. Each command is
//! a file in [`commands`].
//!
//! The REST server stands on its own: [`server::router`] makes an [`axum::Router`] of any engine, without command line or
//! listener.
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `server` | yes | the commands `server` and `mcp serve`, and the module [`server`] |
//! | `otel` | yes | export of traces over OTLP/HTTP when `telemetry.endpoint` or `OTEL_EXPORTER_OTLP_ENDPOINT` is set, and `traceparent` of requests |

pub mod agents;
pub mod args;
mod asking;
mod assignment;
#[cfg(feature = "server")]
mod browser;
pub mod catalogue;
pub mod client;
pub mod commands;
mod completion;
mod context;
pub mod data;
pub mod error;
mod execution_name;
mod files_below;
mod following;
pub mod graph;
mod inline_prompts;
mod install;
pub mod interrupt;
mod log_files;
pub mod lsp;
#[cfg(feature = "server")]
mod mcp;
mod models;
mod placeholder;
mod private_file;
mod program;
pub mod progress;
pub mod render;
#[cfg(feature = "server")]
pub mod server;
mod server_address;
mod server_process;
pub mod settings;
mod sleep;
pub mod telemetry;
pub mod ui;
pub mod wording;
pub mod workflow_file;
mod workflow_folder;
mod xml;

pub use self::{
    error::{Error, ErrorKind, Exit},
    program::{Program, run},
};

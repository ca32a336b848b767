//! The built program, as its users meet it: one binary of tests, one module per topic.

#[cfg(target_os = "linux")]
mod asking;
mod bad_input;
#[cfg(target_os = "linux")]
mod bad_store;
mod bench;
mod book;
#[cfg(all(unix, feature = "server"))]
mod both_ways;
#[cfg(feature = "server")]
mod canary;
mod completion;
mod config;
mod crash;
mod examples;
#[cfg(feature = "otel")]
mod export;
mod graph;
#[cfg(all(feature = "server", feature = "otel"))]
mod help;
#[cfg(all(unix, feature = "server"))]
mod inspect;
mod install;
#[cfg(unix)]
mod interrupt;
mod lsp;
#[cfg(feature = "server")]
mod mcp;
mod mistakes;
mod models;
mod plans;
mod prompts;
mod readme;
#[cfg(feature = "server")]
mod remote;
mod replay;
mod run;
#[cfg(feature = "server")]
mod server;
#[cfg(all(unix, feature = "server"))]
mod server_life;
#[cfg(all(unix, feature = "server"))]
mod server_log;
mod sim;
mod support;
mod surroundings;
mod templates;
#[cfg(target_os = "linux")]
mod terminal;
mod test;
mod tools;
#[cfg(all(unix, feature = "server"))]
mod tour;
#[cfg(feature = "otel")]
mod trace;
#[cfg(all(unix, feature = "server"))]
mod tutorial;
#[cfg(feature = "server")]
mod two_processes;
mod upgrade;
mod validate;
#[cfg(feature = "server")]
mod why;

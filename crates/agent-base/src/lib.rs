//! What an agent **is**: the contract, its context, its errors, and the registry that engines look agents up in.
//!
//! An agent turns a JSON value into a JSON value under a cancellation token. It may be a function, a model with tools, a
//! program, a remote service; whoever calls it sees only [`Agent`]. An author of agents depends on this crate and nothing else
//! of orchestr8.
//!
//! There are three ways to write one, from the shortest to the most explicit:
//!
//! | way | use it when |
//! |---|---|
//! | [`agent_fn`] | a closure says it all |
//! | [`TypedAgent`] | input and output are Rust types; their JSON Schemas are derived |
//! | [`Agent`] | the schemas are not known at compile time, or values are passed through |
//!
//! ```
//! use orchestr8_agent_base::{AgentContext, AgentError, AgentManifest, AgentRegistry, agent_fn};
//! use serde_json::json;
//!
//! let shout = agent_fn(
//!     AgentManifest::new("@acme/shout", "1.0.0", "Writes a text in capitals")?,
//!     |input, _cx, _cancel| async move {
//!         let text = input["text"].as_str().ok_or_else(|| AgentError::validation("`text` is missing"))?;
//!         Ok(json!({ "text": text.to_uppercase() }))
//!     },
//! );
//!
//! let mut registry = AgentRegistry::new();
//! registry.register(shout)?;
//! assert!(registry.latest(&"@acme/shout".parse()?).is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Agents that are there already
//!
//! [`HelloWorld`] greets; those in [`builtin`] pass values on, change them, wait and fail. They need no network.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `template` | `builtin::Template`, which renders texts from data |
//! | `model` | `model`: models, scripted, recorded and replayed; `AgentContext::model` |
//! | `http-models` | `model::Anthropic` and `model::OpenAi` |
//! | `prompt` | `prompt`: JSON prompts, and prompts in layers |
//! | `llm` | `llm`: agents that ask models |
//! | `research` | `research`: an agent that answers questions, and its templates in XML |
//! | `example-agents` | `example_agents`, the deterministic agents that the example workflows call |
//! | `adapter` | `adapter`, which puts an agent behind HTTP |
//! | `http` | `http`, an agent and tools that ask HTTP servers under a policy |
//! | `mcp` | `mcp`, tools of servers that speak the Model Context Protocol |
//! | `process` | `process`, agents and tools that run programs under a policy |
//!
//! A [`Tool`] is smaller than an agent, a named function for models and workflows; see [`tool`].
//!
//! # Failures
//!
//! An [`AgentError`] has a kind, which decides whether the call is tried again and what a circuit breaker makes of it. The kind
//! is chosen where the cause is known and never guessed from a message. See [`error`].
//!
//! # Cancellation
//!
//! `execute` gets a [`CancellationToken`] and should end within 100 ms of its firing. When
//! the grace is over the future is dropped, so what must be cleaned up belongs in guards.

#[cfg(feature = "adapter")]
pub mod adapter;
pub mod agent;
pub mod builtin;
pub mod callee;
pub mod context;
pub mod error;
#[cfg(feature = "example-agents")]
pub mod example_agents;
pub mod function;
pub mod hello_world;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "llm")]
pub mod llm;
pub mod manifest;
mod manifest_document;
#[cfg(feature = "mcp")]
pub mod mcp;
#[cfg(feature = "model")]
pub mod model;
#[cfg(any(feature = "http", feature = "http-models"))]
mod outgoing;
pub mod pattern;
#[cfg(feature = "process")]
pub mod process;
#[cfg(feature = "prompt")]
pub mod prompt;
pub mod registry;
#[cfg(feature = "research")]
pub mod research;
pub mod secret;
pub mod service;
pub mod tool;
mod trial;
pub mod typed;

pub use tokio_util::sync::CancellationToken;

#[doc(inline)]
pub use self::{
    agent::Agent,
    callee::Callee,
    context::{AgentContext, Clock},
    error::AgentError,
    function::{AgentFn, agent_fn},
    hello_world::HelloWorld,
    manifest::AgentManifest,
    registry::AgentRegistry,
    secret::{SecretString, Secrets},
    service::AgentService,
    tool::{Tool, ToolAccess, ToolSpec, tool_fn},
    typed::TypedAgent,
};

//! The language server: what editors show of workflow files while they are written.
//!
//! [`Analysis`] answers every question about one text: what is wrong with it, what may be written at a place, what stands there,
//! where it is defined, and what changes when it is renamed. It is a pure function of the text, and answers whatever the text is:
//! a tolerant reader, [`syntax`], finds the way in it, while problems are found by `orchestr8_schema`, as by `orchestr8 validate`.
//! [`serve`] is the loop around it that speaks the Language Server Protocol.
//!
//! ```
//! use orchestr8_agent_base::{AgentRegistry, HelloWorld};
//! use orchestr8_cli::lsp::{Analysis, Text, protocol::Position};
//!
//! let mut agents = AgentRegistry::new();
//! agents.register(HelloWorld)?;
//! let text = Text::new("steps:\n  - id: greet\n    agent: { id: \"@orchestr8/hello-world\" }\n    ".to_owned());
//! let analysis = Analysis::new("greet.yaml", &text, &agents);
//! let items = analysis.completion(Position { line: 3, character: 4 });
//! assert!(items.iter().any(|item| item.label == "dependencies"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod analysis;
mod completion;
mod diagnostics;
mod format;
mod hover;
mod outline;
mod path;
pub mod protocol;
mod rename;
mod schema;
mod server;
pub mod syntax;
mod text;
mod transport;
mod types;

pub use self::{analysis::Analysis, rename::RenameError, server::serve, text::Text};

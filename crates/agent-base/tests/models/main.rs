//! Models over their wires, against servers on this machine.

#[cfg(feature = "http-models")]
mod anthropic;
#[cfg(feature = "http-models")]
mod failures;

#[cfg(feature = "http-models")]
mod mock;
#[cfg(feature = "http-models")]
mod openai;
#[cfg(feature = "llm")]
mod prompts;
#[cfg(feature = "model")]
mod replay;
#[cfg(feature = "model")]
mod resolution;

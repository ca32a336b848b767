//! Prompts: what an agent that asks a model tells it, in two parts that never mix.
//!
//! The *system text* is what the prompt's author has written, and nothing else. The *user message* is made of the input. No byte of an input
//! comes into the system text, so that a model, and whoever filters for it, can tell instructions from material.
//!
//! There are two forms:
//!
//! - [JSON prompts](AgentPrompt): role, goals, constraints, steps and so on, and schemas of input and output. The user message is the input
//!   as JSON with sorted keys, nothing else.
//! - [`Layers`]: a role, a persona, a personality and a task, each in a file of its own or inline. The first three are system text,
//!   literally; the task is a template, and the user message.
//!
//! The research agent has a third one of its own, `Template` in XML; feature `research`.
//!
//! ```
//! use orchestr8_agent_base::prompt::PromptFiles;
//! use serde_json::json;
//!
//! let prompt = PromptFiles::default().read(&json!({
//!     "role": "You answer in one sentence.",
//!     "task": "Why is {{ input.what }}?"
//! }))?;
//! let composed = prompt.compose(&json!({ "what": "the sky blue" }))?;
//! assert_eq!(composed.system_text(), "You answer in one sentence.");
//! assert_eq!(composed.user, "Why is the sky blue?");
//! # Ok::<(), orchestr8_agent_base::AgentError>(())
//! ```

mod agent_prompt;
mod files;
mod front_matter;
mod layers;
mod sanitize;
mod search;
#[cfg(feature = "research")]
mod template;

use orchestr8_schema::prompt::AgentPrompt;
use serde_json::Value;

#[cfg(feature = "research")]
pub use self::template::Template;
pub use self::{
    files::PromptFiles,
    layers::Layers,
    sanitize::{MAX_VALUE, sanitize},
    search::{PromptProblem, PromptSearch},
};
use crate::{AgentError, model::SystemBlock};

/// A prompt, before there is an input.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Prompt {
    /// A JSON prompt.
    Agent(Box<AgentPrompt>),
    /// Layers.
    Layers(Box<Layers>),
}

/// A prompt about one input.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Composed {
    /// What the prompt's author has written.
    pub system: Vec<SystemBlock>,
    /// What is made of the input.
    pub user: String,
}

/// What a model is asked first, and which model is meant.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Question {
    /// What it is told.
    pub composed: Composed,
    /// The model; absent for the program's.
    pub model: Option<String>,
    /// Whose model it is, if somebody says so.
    pub provider: Option<String>,
    /// JSON Schema of the answer; absent for text.
    pub output_schema: Option<Value>,
}

impl Prompt {
    /// Makes the system text and the user message.
    ///
    /// # Errors
    ///
    /// VALIDATION if the input does not fit the prompt.
    pub fn compose(&self, input: &Value) -> Result<Composed, AgentError> {
        match self {
            Self::Agent(prompt) => agent_prompt::compose(prompt, input),
            Self::Layers(layers) => layers.compose(input),
        }
    }

    /// Looks whether the prompt can be composed at all, whatever the input will be: a task's template has to be one, and may name nothing but
    /// `input`, `variables`, `visits` and `vars`.
    ///
    /// # Errors
    ///
    /// VALIDATION, with the line of the template.
    pub fn check(&self) -> Result<(), AgentError> {
        match self {
            Self::Agent(_) => Ok(()),
            Self::Layers(layers) => layers.check(),
        }
    }

    /// Returns the model that the prompt is written for, if it names one.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::Agent(_) => None,
            Self::Layers(layers) => layers.model(),
        }
    }

    /// Returns the JSON Schema of the input.
    #[must_use]
    pub fn input_schema(&self) -> Option<&Value> {
        match self {
            Self::Agent(prompt) => prompt.input_schema.as_ref(),
            Self::Layers(_) => None,
        }
    }

    /// Returns the JSON Schema of the output.
    #[must_use]
    pub fn output_schema(&self) -> Option<&Value> {
        match self {
            Self::Agent(prompt) => prompt.output_schema.as_ref(),
            Self::Layers(_) => None,
        }
    }
}

impl Composed {
    /// Returns the system text as one.
    #[must_use]
    pub fn system_text(&self) -> String {
        let texts: Vec<_> = self.system.iter().map(|block| block.text.as_str()).collect();
        texts.join("\n\n")
    }
}

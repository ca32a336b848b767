//! JSON prompts: what an agent that asks a model is told, in parts that stay apart.
//!
//! An [`AgentPrompt`] is a document of its own, in JSON or YAML. It holds no input: that is the user message, and never stands in
//! the system text that is made from the prompt.
//!
//! ```
//! use orchestr8_schema::{prompt::AgentPrompt, source::Options};
//!
//! let text = r#"{
//!     "schemaVersion": "1.0.0", "version": "1.0.0",
//!     "role": "A careful summarizer",
//!     "goals": ["Keep what matters"],
//!     "steps": [{ "number": 1, "description": "Read the text", "action": "Read it to the end" }],
//!     "inputSchema": { "type": "object", "required": ["text"] },
//!     "examples": [{ "input": { "texts": [] }, "output": "" }]
//! }"#;
//! let invalid = AgentPrompt::read(text, &Options::new()).unwrap_err();
//! assert_eq!(invalid.diagnostics()[0].path, "/examples/0/input");
//! ```

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    InvalidDocument,
    source::{self, Loaded, Options},
};

/// A prompt of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AgentPrompt {
    /// The version of the format, `x.y.z`.
    #[schemars(regex(pattern = r"^\d+\.\d+\.\d+$"))]
    pub schema_version: String,
    /// The author's version of this prompt, `x.y.z`.
    #[schemars(regex(pattern = r"^\d+\.\d+\.\d+$"))]
    pub version: String,
    /// SHA-256 of the format's JSON Schema, 64 lowercase hex digits; compared in strict mode only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub schema_hash: Option<String>,
    /// Who answers, 1–500 characters.
    #[schemars(length(min = 1, max = 500))]
    pub role: String,
    /// What is wanted, 1–10.
    #[schemars(length(min = 1, max = 10))]
    pub goals: Vec<String>,
    /// What is kept to, at most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default, length(max = 20))]
    pub constraints: Vec<String>,
    /// Which tools there are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub tools: Vec<PromptTool>,
    /// What is done, in this order; at least one.
    #[schemars(length(min = 1))]
    pub steps: Vec<PromptStep>,
    /// JSON Schema of the input; default anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub input_schema: Option<Value>,
    /// JSON Schema of the output; default anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub output_schema: Option<Value>,
    /// What must not happen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub guardrails: Vec<Guardrail>,
    /// Inputs with good outputs, each valid against the schemas.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub examples: Vec<PromptExample>,
}

/// A tool, as a prompt tells of it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PromptTool {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// JSON Schema of its parameters; default anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub parameters: Option<Value>,
    /// Whether the agent cannot do without it; default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    pub required: bool,
}

/// Something that is done.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PromptStep {
    /// Its number; greater than that of the step before.
    pub number: u32,
    /// What it is about.
    pub description: String,
    /// What is done.
    pub action: String,
    /// How one sees that it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<String>,
    /// What is done when it cannot be done; default `fail`.
    #[serde(skip_serializing_if = "is_fail")]
    #[schemars(default)]
    pub on_error: PromptOnError,
}

/// What is done when a step of a prompt cannot be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PromptOnError {
    /// Give up.
    #[default]
    Fail,
    /// Go on with the next one.
    Continue,
    /// Try again.
    Retry,
}

/// What must not happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Guardrail {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: GuardrailKind,
    /// The rule.
    pub rule: String,
    /// What happens when it is broken; default `block`.
    #[schemars(default)]
    pub enforcement: Enforcement,
}

/// What a guardrail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GuardrailKind {
    /// What is said.
    Content,
    /// What is done.
    Behavior,
    /// What comes out.
    Output,
}

/// What happens when a guardrail is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Enforcement {
    /// The call fails with DENIED.
    #[default]
    Block,
    /// It is recorded as a warning.
    Warn,
    /// It is recorded.
    Log,
}

/// An input with a good output.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PromptExample {
    /// The input.
    pub input: Value,
    /// The output.
    pub output: Value,
    /// What it shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl AgentPrompt {
    /// Reads a prompt. Unknown keys are warnings, errors in strict mode, which also compares `schemaHash`.
    ///
    /// # Errors
    ///
    /// When the text cannot be read, a value has another type or form, a schema is no JSON Schema, or an example breaks one; all
    /// problems at once.
    pub fn read(text: impl AsRef<[u8]>, options: &Options<'_>) -> Result<Loaded<Self>, InvalidDocument> {
        source::read_prompt(text.as_ref(), options)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_fail(on_error: &PromptOnError) -> bool {
    *on_error == PromptOnError::Fail
}

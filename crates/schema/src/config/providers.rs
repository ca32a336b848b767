//! Who answers for models.

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::Millis;

/// Who answers for models, each under a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Providers {
    /// The one that is asked where nobody says.
    pub default: Option<String>,
    /// All of them.
    #[serde(flatten)]
    pub named: IndexMap<String, Provider>,
}

impl JsonSchema for Providers {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Providers".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Who answers for models, each under a name.",
            "type": "object",
            "properties": { "default": { "description": "The one that is asked where nobody says.", "type": "string" } },
            "additionalProperties": generator.subschema_for::<Provider>()
        })
    }
}

/// A provider of models.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Provider {
    /// How it is spoken to.
    pub kind: ProviderKind,
    /// Where it is; default the kind's own.
    #[schemars(default)]
    pub api_base: Option<String>,
    /// A secret reference (`secret://…`) or the name of a process variable (`env:NAME`).
    #[schemars(default)]
    pub api_key: Option<String>,
    /// Models' ids by alias.
    #[schemars(default, with = "std::collections::BTreeMap<String, String>")]
    pub models: IndexMap<String, String>,
    /// The most tokens of an answer.
    #[schemars(default)]
    pub max_tokens: Option<u32>,
    /// How long an answer may take.
    #[schemars(default)]
    pub timeout: Option<Millis>,
    /// Headers that are sent along.
    #[schemars(default, with = "std::collections::BTreeMap<String, String>")]
    pub headers: IndexMap<String, String>,
    /// Prices by model, over the shipped ones.
    #[schemars(default, with = "std::collections::BTreeMap<String, Price>")]
    pub prices: IndexMap<String, Price>,
    /// Whether it takes JSON Schemas; default the kind's own.
    #[schemars(default)]
    pub native_schema: Option<bool>,
    /// How it calls the most tokens of an answer; default the kind's own.
    #[schemars(default)]
    pub max_tokens_field: Option<MaxTokensField>,
    /// Of the kind `fake`, the file with its answers.
    #[schemars(default)]
    pub script: Option<String>,
    /// Of the kind `replay`, the cassette that is played.
    #[schemars(default)]
    pub cassette: Option<String>,
    /// The cassette that questions and answers are written to; default none.
    #[schemars(default)]
    pub record: Option<String>,
}

impl Provider {
    /// Makes a provider that has everything else from its kind.
    #[must_use]
    pub fn new(kind: ProviderKind) -> Self {
        Self {
            kind,
            api_base: None,
            api_key: None,
            models: IndexMap::new(),
            max_tokens: None,
            timeout: None,
            headers: IndexMap::new(),
            prices: IndexMap::new(),
            native_schema: None,
            max_tokens_field: None,
            script: None,
            cassette: None,
            record: None,
        }
    }
}

/// How a provider is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderKind {
    /// Anthropic's messages.
    Anthropic,
    /// `OpenAI`'s chat completions, and whoever is compatible.
    #[serde(rename = "openai")]
    OpenAi,
    /// The program `claude`.
    ClaudeCode,
    /// Answers from a script.
    Fake,
    /// Answers from a cassette.
    Replay,
}

impl ProviderKind {
    /// Returns its name in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::ClaudeCode => "claude-code",
            Self::Fake => "fake",
            Self::Replay => "replay",
        }
    }
}

/// How the most tokens of an answer are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensField {
    /// `max_completion_tokens`.
    MaxCompletionTokens,
    /// `max_tokens`.
    MaxTokens,
}

/// US dollars for a million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Price {
    /// Of input.
    #[schemars(range(min = 0.0))]
    pub input: f64,
    /// Of output.
    #[schemars(range(min = 0.0))]
    pub output: f64,
    /// Of input that is written to a cache; default 1.25 times the input's.
    #[schemars(default, range(min = 0.0))]
    pub cache_write: Option<f64>,
    /// Of input that is read from a cache; default a tenth of the input's.
    #[schemars(default, range(min = 0.0))]
    pub cache_read: Option<f64>,
}

//! What agents that ask a model are configured with.

use orchestr8_schema::usage::Estimate;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{AgentError, prompt::Prompt};

/// What an agent that asks a model is configured with.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct LlmConfig {
    /// The model; default that of the program.
    pub model: Option<String>,
    /// Whose model it is.
    pub provider: Option<String>,
    /// The names of the tools that the model may call; default none.
    pub tools: Vec<String>,
    /// The most questions to the model, 1–100; default 10.
    pub max_turns: u32,
    /// The most tokens that an attempt may use.
    pub max_total_tokens: Option<u64>,
    /// The most US dollars that an attempt may cost.
    pub max_cost_usd: Option<f64>,
    /// JSON Schema of the answer; default the prompt's, else text.
    pub output_schema: Option<Value>,
    /// From 0 to 1; default the model's own.
    pub temperature: Option<f64>,
    /// The most tokens of an answer.
    pub max_tokens: Option<u32>,
    /// The most tools that are called at once; default 4.
    pub parallel_tools: usize,
    /// The tools of its own that the program `claude` may use, of those that `policy.process.claudeTools` lists; default none.
    pub allowed_tools: Vec<String>,
    /// The folder that the program `claude` runs in; default an empty one.
    pub cwd: Option<String>,
}

impl Default for LlmConfig {
    fn default() -> Self {
        Self {
            model: None,
            provider: None,
            tools: Vec::new(),
            max_turns: 10,
            max_total_tokens: None,
            max_cost_usd: None,
            output_schema: None,
            temperature: None,
            max_tokens: None,
            parallel_tools: 4,
            allowed_tools: Vec::new(),
            cwd: None,
        }
    }
}

impl LlmConfig {
    /// Reads a configuration; keys of no concern to this are left alone.
    ///
    /// # Errors
    ///
    /// VALIDATION if a value has another type.
    pub fn read(config: &Map<String, Value>) -> Result<Self, AgentError> {
        serde_json::from_value(Value::Object(config.clone()))
            .map_err(|error| AgentError::validation("the configuration does not fit").with_source(error))
    }

    /// Returns the model that is asked for: the configuration's, else the prompt's; absent for the program's.
    #[must_use]
    pub fn model_for<'a>(&'a self, prompt: Option<&'a Prompt>) -> Option<&'a str> {
        self.model.as_deref().or_else(|| prompt?.model())
    }

    /// Returns the JSON Schema of the answer: the configuration's, else the prompt's; absent for text.
    #[must_use]
    pub fn schema_for<'a>(&'a self, prompt: &'a Prompt) -> Option<&'a Value> {
        self.output_schema.as_ref().or_else(|| prompt.output_schema())
    }

    /// Returns the JSON Schema of the configuration, the prompt included.
    #[must_use]
    pub fn schema() -> Value {
        let mut schema = Self::schema_without_prompt();
        schema["properties"]["prompt"] = json!({
            "description": "A JSON prompt, layers (`role`, `persona`, `personality`, `task`), or the name or path of one",
            "type": ["object", "string"]
        });
        schema
    }

    pub(super) fn schema_without_prompt() -> Value {
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "model": { "type": "string", "minLength": 1 },
                "provider": { "type": "string", "minLength": 1 },
                "tools": { "type": "array", "items": { "type": "string" }, "uniqueItems": true },
                "maxTurns": { "type": "integer", "minimum": 1, "maximum": 100 },
                "maxTotalTokens": { "type": "integer", "minimum": 1 },
                "maxCostUsd": { "type": "number", "exclusiveMinimum": 0 },
                "outputSchema": { "type": "object" },
                "temperature": { "type": "number", "minimum": 0, "maximum": 1 },
                "maxTokens": { "type": "integer", "minimum": 1 },
                "parallelTools": { "type": "integer", "minimum": 1, "maximum": 64 },
                "allowedTools": { "type": "array", "items": { "type": "string" } },
                "cwd": { "type": "string", "minLength": 1 }
            }
        })
    }

    /// Tells what an attempt may use: its limits, and where there are none what the engine sees fit.
    #[must_use]
    pub fn estimate(config: &Map<String, Value>) -> Estimate {
        let open = Estimate::open();
        let tokens = config.get("maxTotalTokens").and_then(Value::as_u64).unwrap_or(open.tokens);
        let cost = config.get("maxCostUsd").and_then(Value::as_f64).unwrap_or(open.cost_usd);
        Estimate::new(tokens, cost)
    }
}

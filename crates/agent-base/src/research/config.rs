//! What the agent is configured with.

use orchestr8_schema::Millis;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{AgentError, model::Models};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ResearchConfig {
    pub(super) llm_provider: LlmProvider,
    pub(super) prompt_template: Option<String>,
    pub(super) validation: Lengths,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LlmProvider {
    #[serde(rename = "type")]
    pub(super) name: Option<String>,
    pub(super) api_key: Option<String>,
    pub(super) model: Option<String>,
    pub(super) timeout: Option<Millis>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Lengths {
    pub(super) max_input_length: usize,
    pub(super) max_output_length: usize,
}

impl Default for Lengths {
    fn default() -> Self {
        Self { max_input_length: 1000, max_output_length: 50_000 }
    }
}

impl ResearchConfig {
    pub(super) fn read(config: &Map<String, Value>) -> Result<Self, AgentError> {
        serde_json::from_value(Value::Object(config.clone()))
            .map_err(|error| AgentError::validation("the configuration does not fit").with_source(error))
    }

    /// The name of the provider that is meant.
    pub(super) fn provider_in<'a>(&'a self, models: &'a Models) -> Option<&'a str> {
        let name = self.llm_provider.name.as_deref()?;
        Some(models.named_or_of_kind(name).unwrap_or(name))
    }

    pub(super) fn schema() -> Value {
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "llmProvider": {
                    "type": "object",
                    "additionalProperties": false,
                    "properties": {
                        "type": { "description": "The name of a provider, or its kind", "type": "string", "minLength": 1 },
                        "apiKey": {
                            "description": "A reference to the key, `secret://path`; default that of the provider",
                            "type": "string", "pattern": "^secret://[A-Za-z0-9_/-]+$"
                        },
                        "model": { "type": "string", "minLength": 1 },
                        "timeout": { "description": "Milliseconds", "type": "integer", "minimum": 1, "maximum": 300_000 }
                    }
                },
                "promptTemplate": { "description": "A template in XML, or the path of one", "type": "string", "minLength": 1 },
                "validation": {
                    "type": "object",
                    "additionalProperties": false,
                    "properties": {
                        "maxInputLength": { "type": "integer", "minimum": 1, "maximum": 1000, "default": 1000 },
                        "maxOutputLength": { "type": "integer", "minimum": 1, "maximum": 1_000_000, "default": 50_000 }
                    }
                }
            }
        })
    }
}

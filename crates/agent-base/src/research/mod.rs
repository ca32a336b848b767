//! `@orchestr8/research`: answers a question by a model, which is told how to look into it by a [template](Template).
//!
//! ```
//! use std::sync::Arc;
//!
//! use orchestr8_agent_base::{
//!     AgentRegistry, Clock,
//!     adapter::{RequestContext, SubAgent},
//!     model::{ChatResponse, Fake, Models},
//!     prompt::PromptFiles,
//!     research::Research,
//! };
//! use serde_json::json;
//!
//! # async fn ask(clock: Arc<dyn Clock>) -> Result<(), Box<dyn std::error::Error>> {
//! let models = Models::new().provider("house", "fake", Fake::answers([ChatResponse::text("Rayleigh scattering.")]));
//! let mut registry = AgentRegistry::new();
//! registry.register(Research::new(PromptFiles::default())?)?;
//! registry.set_models(Some(models.default_model("small")));
//! let agent = registry.latest(&"@orchestr8/research".parse()?).expect("it was just registered");
//! let agent = SubAgent::new(Arc::clone(agent), clock).serve(&registry);
//! let output = agent.handle_request(json!({ "query": "Why is the sky blue?" }), RequestContext::default()).await;
//! assert_eq!(output.expect("it answers")["result"], "Rayleigh scattering.");
//! # Ok(())
//! # }
//! ```

mod config;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use orchestr8_schema::{Millis, usage::Estimate, validate::Obstacle};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use self::config::ResearchConfig;
use crate::{
    Agent, AgentContext, AgentError, AgentManifest, AgentRegistry,
    model::{ChatRequest, Message, Model, Models, StopReason},
    prompt::{Composed, PromptFiles, Question, Template},
};

/// The template that comes along.
const TEMPLATE: &str = include_str!("template.xml");
const TEMPLATE_SHA256: &str = "7244c96e4bc53e16fff57707580ec98211690549604ea3735054113eca5c0c0c";

/// `@orchestr8/research`: answers a question.
///
/// | input | |
/// |---|---|
/// | `query` | the question, 1–1000 characters without the space around it |
/// | `context` | an object that says what the answer is for; the template's `scope_parameters` |
/// | `options.maxResults` | 1–20, default 5; the template's `max_sources` |
/// | `options.timeout` | how long the answer may take, 1000–30000 ms, default 10000 |
///
/// The output is `{result, metadata: {executionId, timestamp, correlationId}}`.
///
/// | configuration | |
/// |---|---|
/// | `llmProvider.type` | whose model it is: the name of a provider, else the first one of that kind; default that of the program |
/// | `llmProvider.model` | the model; default that of the program |
/// | `llmProvider.apiKey` | a `secret://` reference to the key; default that of the provider |
/// | `llmProvider.timeout` | how long an answer of the model may take, in ms; default as long as the whole |
/// | `promptTemplate` | a [template](Template), or the path of one, `prompts/….xml`; default the one that comes along |
/// | `validation.maxInputLength` | the most characters of the question, 1–1000; default 1000 |
/// | `validation.maxOutputLength` | the most characters of the result; default 50 000 |
#[derive(Clone, Debug)]
pub struct Research {
    files: PromptFiles,
    template: Arc<Template>,
}

impl Research {
    /// Makes the agent. Templates that are named are looked up in `files`.
    ///
    /// # Errors
    ///
    /// INTERNAL if the template that comes along does not have its checksum.
    pub fn new(files: PromptFiles) -> Result<Self, AgentError> {
        let template = Template::shipped(TEMPLATE, TEMPLATE_SHA256)?;
        Ok(Self { files, template: Arc::new(template) })
    }

    fn compose(&self, config: &ResearchConfig, input: &Input) -> Result<Composed, AgentError> {
        let variables = input.variables();
        let Some(template) = &config.prompt_template else { return self.template.compose(&variables) };
        let template = self.files.template(template)?;
        for (variable, part) in Input::OPTIONAL {
            if variables.contains_key(variable) && !template.has_variable(variable) {
                let message = format!(
                    "template `{}` has no variable `{variable}` for the input's `{part}`: declare it, or leave the input out",
                    template.id()
                );
                return Err(AgentError::validation(message));
            }
        }
        template.compose(&variables)
    }
}

#[async_trait]
impl Agent for Research {
    fn manifest(&self) -> AgentManifest {
        let manifest = AgentManifest::new("@orchestr8/research", "1.0.0", "Answers a question by research");
        #[expect(clippy::expect_used, reason = "the id is a constant of this crate")]
        let manifest = manifest.expect("a constant manifest is well formed");
        manifest
            .timeout(Duration::from_secs(60))
            .input_schema(input_schema())
            .output_schema(output_schema())
            .config_schema(ResearchConfig::schema())
    }

    async fn validate(&self, input: &Value, cx: &AgentContext) -> Result<(), AgentError> {
        Input::read(input, &ResearchConfig::read(cx.config())?).map(drop)
    }

    async fn execute(&self, input: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        let config = ResearchConfig::read(cx.config())?;
        let input = Input::read(input, &config)?;
        let composed = self.compose(&config, &input)?;
        let mut request = ChatRequest::new(Message::user(composed.user));
        request.system = composed.system;
        let model = model(cx, &config)?.turn(1);
        let limit = config.llm_provider.timeout.map_or(input.timeout, |limit| limit.min(input.timeout));
        let asked = tokio::time::timeout(limit.as_duration(), model.durable("turn/1", request, cancel));
        let answer = asked.await.map_err(|_| AgentError::timeout(format!("there was no answer within {limit}")))??;
        if answer.stop_reason == StopReason::MaxTokens {
            return Err(AgentError::validation("the answer had no room: the provider's `maxTokens` is too low"));
        }
        let result = answer.message.text().trim().to_owned();
        let (length, most) = (result.chars().count(), config.validation.max_output_length);
        if length == 0 || length > most {
            let message = format!("the result has {length} characters, and 1 to {most} are allowed");
            return Err(AgentError::validation(message));
        }
        Ok(json!({
            "result": result,
            "metadata": {
                "executionId": cx.execution_id(), "timestamp": cx.now(), "correlationId": cx.correlation_id(),
            },
        }))
    }

    fn estimate(&self, _: &Value, _: &Map<String, Value>) -> Estimate {
        Estimate::open()
    }

    fn question(&self, input: &Value, config: &Map<String, Value>) -> Option<Result<Question, AgentError>> {
        let question = || {
            let config = ResearchConfig::read(config)?;
            Ok(Question {
                composed: self.compose(&config, &Input::read(input, &config)?)?,
                model: config.llm_provider.model,
                provider: config.llm_provider.name,
                output_schema: None,
            })
        };
        Some(question())
    }

    fn obstacle(&self, config: &Map<String, Value>, registry: &AgentRegistry) -> Option<Obstacle> {
        let config = ResearchConfig::read(config).ok()?;
        let models = registry.models()?;
        let provider = config.provider_in(models);
        let error = models.resolve(config.llm_provider.model.as_deref(), provider).err()?;
        Some(Obstacle { message: error.to_string(), help: Some(error.help()) })
    }
}

/// Finds the model that is configured, with the key that is configured.
fn model(cx: &AgentContext, config: &ResearchConfig) -> Result<Model, AgentError> {
    let none = Models::new();
    let provider = config.provider_in(cx.models().unwrap_or(&none));
    let model = cx.model_of(config.llm_provider.model.as_deref(), provider)?;
    match &config.llm_provider.api_key {
        Some(reference) => model.keyed(cx.secret(reference)?),
        None => Ok(model),
    }
}

/// What is asked.
struct Input {
    query: String,
    context: Option<Value>,
    max_results: Option<u32>,
    timeout: Millis,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    max_results: Option<u32>,
    timeout: Option<Millis>,
}

impl Input {
    const MAX_QUERY: usize = 1000;
    const TIMEOUT: Millis = Millis(10_000);
    /// Variables that a template need not have, and which part of the input each of them is.
    const OPTIONAL: [(&str, &str); 2] = [("scope_parameters", "context"), ("max_sources", "options.maxResults")];

    fn read(input: &Value, config: &ResearchConfig) -> Result<Self, AgentError> {
        let query = input["query"].as_str().unwrap_or_default().trim().to_owned();
        let (length, most) = (query.chars().count(), config.validation.max_input_length.min(Self::MAX_QUERY));
        if length == 0 || length > most {
            let message = format!("`query` has {length} characters, and 1 to {most} are allowed");
            return Err(AgentError::validation(message).with_context(json!({ "pointer": "/query" })));
        }
        let options = input.get("options").map(Options::deserialize).transpose();
        let Options { max_results, timeout } = options
            .map_err(|error| AgentError::validation("`options` does not fit").with_source(error))?
            .unwrap_or_default();
        let context = input.get("context").filter(|context| !context.is_null()).cloned();
        Ok(Self { query, context, max_results, timeout: timeout.unwrap_or(Self::TIMEOUT) })
    }

    /// The values of the template's variables. What nobody says is left to the template.
    fn variables(&self) -> Map<String, Value> {
        let mut variables = Map::from_iter([("research_query".to_owned(), json!(self.query))]);
        variables.extend(self.context.clone().map(|context| ("scope_parameters".to_owned(), context)));
        variables.extend(self.max_results.map(|most| ("max_sources".to_owned(), json!(most))));
        variables
    }
}

fn input_schema() -> Value {
    json!({
        "type": "object",
        "required": ["query"],
        "additionalProperties": false,
        "properties": {
            "query": { "description": "The question, 1–1000 characters without the space around it", "type": "string", "pattern": "\\S" },
            "context": { "description": "What the answer is for", "type": "object" },
            "options": {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "maxResults": { "type": "integer", "minimum": 1, "maximum": 20, "default": 5 },
                    "timeout": { "description": "Milliseconds", "type": "integer", "minimum": 1000, "maximum": 30000, "default": 10000 }
                }
            }
        }
    })
}

fn output_schema() -> Value {
    json!({
        "type": "object",
        "required": ["result", "metadata"],
        "additionalProperties": false,
        "properties": {
            "result": { "type": "string", "minLength": 1 },
            "metadata": {
                "type": "object",
                "required": ["executionId", "timestamp", "correlationId"],
                "additionalProperties": false,
                "properties": {
                    "executionId": { "type": "string" },
                    "timestamp": { "type": "string", "format": "date-time" },
                    "correlationId": { "type": "string" }
                }
            }
        }
    })
}

//! Agents that ask a model: `@orchestr8/llm`, and those that are shipped with a prompt of their own.
//!
//! All of them are one loop: compose the prompt, ask the model, call the tools that it asks for, tell it what they gave, until it answers.
//! Every turn and every call of a tool is a durable call (`turn/2`, `turn/2/tool/0`), so an attempt that comes later begins where the one
//! before it failed.

mod config;
mod conversation;
mod guardrails;
mod shipped;

use async_trait::async_trait;
use orchestr8_schema::{usage::Estimate, validate::Obstacle};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use self::conversation::Conversation;
pub use self::{
    config::LlmConfig,
    guardrails::{Guardrails, Subject},
    shipped::{Classifier, Reviewer, Summarizer},
};
use crate::{
    Agent, AgentContext, AgentError, AgentManifest, AgentRegistry,
    prompt::{Prompt, PromptFiles, Question},
    registry::RegisterError,
};

/// `@orchestr8/llm`: asks a model, with the prompt and the tools of its configuration; see [`LlmConfig`].
///
/// The output is the object that the model gives where there is a schema, else `{text}`.
#[derive(Clone, Debug, Default)]
pub struct Llm {
    files: PromptFiles,
    guardrails: Guardrails,
}

impl Llm {
    /// Makes the agent. Prompts that are named are looked up in `files`.
    #[must_use]
    pub fn new(files: PromptFiles) -> Self {
        Self { files, guardrails: Guardrails::new() }
    }

    /// Sets the checks of what prompts forbid; default none.
    #[must_use]
    pub fn guardrails(mut self, guardrails: Guardrails) -> Self {
        self.guardrails = guardrails;
        self
    }

    /// Returns the prompt of a configuration.
    ///
    /// # Errors
    ///
    /// VALIDATION if there is none, or it is not well formed; NOT_FOUND, with every path that was tried, if it is not there.
    pub fn prompt(&self, config: &Map<String, Value>) -> Result<Prompt, AgentError> {
        let prompt = config.get("prompt");
        let prompt = prompt.ok_or_else(|| AgentError::validation("the agent has no `prompt` in its configuration"))?;
        self.files.read(prompt)
    }
}

#[async_trait]
impl Agent for Llm {
    fn manifest(&self) -> AgentManifest {
        let description = "Asks a model, which may call tools, and answers with its text or an object";
        manifest("@orchestr8/llm", description).config_schema(LlmConfig::schema())
    }

    async fn execute(&self, input: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        let config = LlmConfig::read(cx.config())?;
        let prompt = self.prompt(cx.config())?;
        Conversation::begin(cx, &config, &self.guardrails, &prompt, input).await?.run(cancel).await
    }

    fn estimate(&self, _: &Value, config: &Map<String, Value>) -> Estimate {
        LlmConfig::estimate(config)
    }

    fn question(&self, input: &Value, config: &Map<String, Value>) -> Option<Result<Question, AgentError>> {
        Some(self.prompt(config).and_then(|prompt| question(config, &prompt, input)))
    }

    fn obstacle(&self, config: &Map<String, Value>, registry: &AgentRegistry) -> Option<Obstacle> {
        // A prompt that is not here may be where the workflow is.
        obstacle(config, self.prompt(config).ok().as_ref(), registry)
    }
}

/// What a model is asked first under a configuration.
fn question(config: &Map<String, Value>, prompt: &Prompt, input: &Value) -> Result<Question, AgentError> {
    let config = LlmConfig::read(config)?;
    Ok(Question {
        composed: prompt.compose(input)?,
        model: config.model_for(Some(prompt)).map(str::to_owned),
        output_schema: config.schema_for(prompt).cloned(),
        provider: config.provider,
    })
}

/// Says why no model can be asked under a configuration.
fn obstacle(config: &Map<String, Value>, prompt: Option<&Prompt>, registry: &AgentRegistry) -> Option<Obstacle> {
    if let Some(Err(error)) = prompt.map(Prompt::check) {
        return Some(Obstacle { message: error.to_string(), help: None });
    }
    let config = LlmConfig::read(config).ok()?;
    let models = registry.models()?;
    let told = |message: String, help: &str| Some(Obstacle { message, help: Some(help.to_owned()) });
    let model = match models.resolve(config.model_for(prompt), config.provider.as_deref()) {
        Ok(model) => model,
        Err(error) => return told(error.to_string(), &error.help()),
    };
    if !config.tools.is_empty() && !model.chat.info().capabilities.tools {
        let message = format!("model `{}` of provider `{}` takes no tools", model.model, model.provider);
        return told(message, "take `tools` away, or choose another model");
    }
    if config.max_cost_usd.is_some() && model.rates.is_none() {
        let message = format!("`maxCostUsd` is set, and the price of `{}` is not known", model.model);
        return told(message, &format!("set `providers.{}.prices` in the settings", model.provider));
    }
    None
}

/// Registers `@orchestr8/llm`, `@orchestr8/summarizer`, `@orchestr8/classifier` and `@orchestr8/reviewer`.
///
/// # Errors
///
/// [`RegisterError`] if one of them is there already.
pub fn register(registry: &mut AgentRegistry, files: PromptFiles) -> Result<(), RegisterError> {
    register_guarded(registry, files, &Guardrails::new())
}

/// As [`register`], with checks of what prompts forbid.
///
/// # Errors
///
/// As [`register`].
pub fn register_guarded(
    registry: &mut AgentRegistry,
    files: PromptFiles,
    guardrails: &Guardrails,
) -> Result<(), RegisterError> {
    registry.register(Llm::new(files).guardrails(guardrails.clone()))?;
    registry.register(Summarizer::default().guardrails(guardrails.clone()))?;
    registry.register(Classifier::default().guardrails(guardrails.clone()))?;
    registry.register(Reviewer::default().guardrails(guardrails.clone()))
}

/// The manifest that all of these begin with.
fn manifest(id: &str, description: &str) -> AgentManifest {
    let manifest = AgentManifest::new(id, "1.0.0", description);
    // These are constants, which a test registers.
    #[expect(clippy::expect_used, reason = "the ids are constants of this crate")]
    let manifest = manifest.expect("a constant manifest is well formed");
    manifest.timeout(std::time::Duration::from_secs(300))
}

/// The output where there is no schema.
fn text_of(text: &str) -> Value {
    json!({ "text": text })
}

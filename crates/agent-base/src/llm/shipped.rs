//! Agents that are shipped with a prompt of their own.

use async_trait::async_trait;
use orchestr8_schema::{prompt::AgentPrompt, source::Options, usage::Estimate, validate::Obstacle};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::{Guardrails, LlmConfig, conversation::Conversation, manifest, obstacle, question};
use crate::{
    Agent, AgentContext, AgentError, AgentManifest, AgentRegistry,
    prompt::{Prompt, Question},
};

macro_rules! shipped {
    ($($(#[$doc:meta])* $name:ident, $id:literal, $file:literal, $description:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug)]
            pub struct $name {
                prompt: Prompt,
                guardrails: Guardrails,
            }

            impl $name {
                /// Returns the prompt, which says all of what the agent does.
                #[must_use]
                pub fn prompt(&self) -> &Prompt {
                    &self.prompt
                }

                /// Sets the checks of what the prompt forbids; default none.
                #[must_use]
                pub fn guardrails(mut self, guardrails: Guardrails) -> Self {
                    self.guardrails = guardrails;
                    self
                }
            }

            impl Default for $name {
                fn default() -> Self {
                    Self { prompt: read(include_str!($file)), guardrails: Guardrails::new() }
                }
            }

            #[async_trait]
            impl Agent for $name {
                fn manifest(&self) -> AgentManifest {
                    let mut manifest = manifest($id, $description).config_schema(LlmConfig::schema_without_prompt());
                    manifest.input_schema = self.prompt.input_schema().cloned();
                    manifest.output_schema = self.prompt.output_schema().cloned();
                    manifest
                }

                async fn execute(
                    &self,
                    input: &Value,
                    cx: &AgentContext,
                    cancel: CancellationToken,
                ) -> Result<Value, AgentError> {
                    let config = LlmConfig::read(cx.config())?;
                    Conversation::begin(cx, &config, &self.guardrails, &self.prompt, input).await?.run(cancel).await
                }

                fn estimate(&self, _: &Value, config: &Map<String, Value>) -> Estimate {
                    LlmConfig::estimate(config)
                }

                fn question(
                    &self,
                    input: &Value,
                    config: &Map<String, Value>,
                ) -> Option<Result<Question, AgentError>> {
                    Some(question(config, &self.prompt, input))
                }

                fn obstacle(&self, config: &Map<String, Value>, registry: &AgentRegistry) -> Option<Obstacle> {
                    obstacle(config, Some(&self.prompt), registry)
                }
            }
        )*
    };
}

shipped! {
    /// `@orchestr8/summarizer`: `{text, sentences?}` becomes `{summary}`.
    Summarizer, "@orchestr8/summarizer", "summarizer.json", "Sums a text up in a few sentences";
    /// `@orchestr8/classifier`: `{text, labels}` becomes `{label, confidence}`.
    Classifier, "@orchestr8/classifier", "classifier.json", "Chooses the label that fits a text best";
    /// `@orchestr8/reviewer`: `{diff, focus?}` becomes `{verdict, findings}`.
    Reviewer, "@orchestr8/reviewer", "reviewer.json", "Reviews a change of code";
}

#[expect(clippy::expect_used, reason = "the prompts are constants of this crate, which a test reads")]
fn read(text: &str) -> Prompt {
    let prompt = AgentPrompt::read(text, &Options::new().strict(true));
    Prompt::Agent(Box::new(prompt.expect("a shipped prompt is well formed").value))
}

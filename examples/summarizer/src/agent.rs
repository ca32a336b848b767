//! The agent.

use orchestr8_agent_base::{AgentContext, AgentError, AgentManifest, TypedAgent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// What the agent takes.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Input {
    /// The text to work on.
    pub text: String,
}

/// What it gives.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Output {
    /// How many words the text has.
    pub words: usize,
}

/// Counts words, until you have it do something better.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summarizer;

impl TypedAgent for Summarizer {
    type Input = Input;
    type Output = Output;

    fn describe(&self) -> AgentManifest {
        AgentManifest::new("@acme/summarizer", "0.1.0", "Counts the words of a text")
            .expect("id and version are well formed")
    }

    async fn run(&self, input: Input, _: &AgentContext, _: CancellationToken) -> Result<Output, AgentError> {
        Ok(Output { words: input.text.split_whitespace().count() })
    }
}

#[cfg(test)]
mod tests {
    use orchestr8_testing::AgentHarness;
    use serde_json::json;

    use super::Summarizer;

    #[tokio::test(start_paused = true)]
    async fn counts_words() {
        let run = AgentHarness::new(Summarizer).run(json!({ "text": "one two three" })).await;
        assert_eq!(run.result.expect("it succeeds"), json!({ "words": 3 }));
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_what_every_agent_promises() {
        assert_eq!(AgentHarness::new(Summarizer).contract().await, []);
    }
}

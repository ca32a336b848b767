//! Agents whose input and output are Rust types.

use std::future::Future;

use async_trait::async_trait;
use orchestr8_schema::{builder::AgentRef, validate::CallSchemas};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{Agent, AgentContext, AgentError, AgentManifest};

/// An agent whose input and output are Rust types. It gets [`Agent`] for free, with schemas derived from the types.
///
/// A value that does not decode is VALIDATION and never reaches [`run`](Self::run).
///
/// ```
/// use orchestr8_agent_base::{AgentContext, AgentError, AgentManifest, TypedAgent};
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
/// use tokio_util::sync::CancellationToken;
///
/// #[derive(Deserialize, JsonSchema)]
/// struct Text {
///     text: String,
/// }
///
/// #[derive(Serialize, JsonSchema)]
/// struct Count {
///     words: usize,
/// }
///
/// struct WordCount;
///
/// impl TypedAgent for WordCount {
///     type Input = Text;
///     type Output = Count;
///
///     fn describe(&self) -> AgentManifest {
///         AgentManifest::new("@acme/word-count", "1.0.0", "Counts words").expect("id and version are well formed")
///     }
///
///     async fn run(&self, input: Text, _cx: &AgentContext, _cancel: CancellationToken) -> Result<Count, AgentError> {
///         Ok(Count { words: input.text.split_whitespace().count() })
///     }
/// }
///
/// use orchestr8_agent_base::Agent;
/// use orchestr8_schema::builder::WorkflowBuilder;
///
/// assert!(WordCount.manifest().input_schema.is_some());
///
/// let mut flow = WorkflowBuilder::new("w", "W");
/// let text = flow.input::<String>("text");
/// let count = flow.add("count", WordCount.reference().call().with("text", &text));
/// flow.output("words", count.path("words"));
/// assert!(flow.build().is_ok());
/// ```
pub trait TypedAgent: Send + Sync + 'static {
    /// What the agent takes.
    type Input: DeserializeOwned + JsonSchema + Send;
    /// What it gives.
    type Output: Serialize + JsonSchema + Send;

    /// Says what the agent is, apart from the schemas of input and output, which are added.
    fn describe(&self) -> AgentManifest;

    /// Names the agent for a workflow that is built in Rust: `flow.add("count", WordCount.reference().call().with("text", &text))`.
    fn reference(&self) -> AgentRef<Self::Input, Self::Output> {
        let manifest = self.describe().input::<Self::Input>().output::<Self::Output>();
        let schemas = CallSchemas {
            input: manifest.input_schema,
            output: manifest.output_schema,
            config: manifest.config_schema,
        };
        AgentRef::of(manifest.id, schemas)
    }

    /// Does the work of one attempt; see [`Agent::execute`].
    ///
    /// # Errors
    ///
    /// As [`Agent::execute`].
    fn run(
        &self,
        input: Self::Input,
        cx: &AgentContext,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<Self::Output, AgentError>> + Send;

    /// Names what a call depends on; see [`Agent::target`].
    fn target(&self, input: &Value) -> Option<String> {
        crate::agent::default_target(input)
    }
}

#[async_trait]
impl<T: TypedAgent> Agent for T {
    fn manifest(&self) -> AgentManifest {
        self.describe().input::<T::Input>().output::<T::Output>()
    }

    async fn execute(&self, input: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        let input = T::Input::deserialize(input)
            .map_err(|source| AgentError::validation("the input does not decode").with_source(source))?;
        let output = self.run(input, cx, cancel).await?;
        serde_json::to_value(output)
            .map_err(|source| AgentError::validation("the output does not encode").with_source(source))
    }

    fn target(&self, input: &Value) -> Option<String> {
        TypedAgent::target(self, input)
    }
}

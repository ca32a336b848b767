//! The deterministic agents that the example workflows call. All are version 1.0.0 and in the scope `@orchestr8`.
//!
//! Each answers the same to the same input, needs no network, and takes the configuration for trials of
//! [`HelloWorld`](crate::HelloWorld): `delayMs`, `failTimes`, `failWith`.
//!
//! ```
//! use orchestr8_agent_base::{AgentRegistry, example_agents};
//!
//! let mut registry = AgentRegistry::new();
//! example_agents::register(&mut registry)?;
//! assert!(registry.latest(&"@orchestr8/greeting-agent".parse()?).is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod account;
mod activity;
mod draft;
mod greeting;
mod order;
mod research;

use std::fmt;

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{AgentContext, AgentError, AgentManifest, AgentRegistry, TypedAgent, registry::RegisterError, trial};

/// Adds all of these agents to a registry.
///
/// # Errors
///
/// [`RegisterError`] if one of them is there already, or the registry's environment configures one in a way that breaks its schema.
pub fn register(registry: &mut AgentRegistry) -> Result<(), RegisterError> {
    greeting::register(registry)?;
    activity::register(registry)?;
    research::register(registry)?;
    draft::register(registry)?;
    order::register(registry)?;
    account::register(registry)
}

/// An agent that is a function, with the configuration for trials.
struct Example<I, O> {
    manifest: AgentManifest,
    run: fn(I, &AgentContext) -> Result<O, AgentError>,
}

impl<I, O> Example<I, O> {
    fn new(name: &str, description: &str, run: fn(I, &AgentContext) -> Result<O, AgentError>) -> Self {
        let manifest = AgentManifest::new(&format!("@orchestr8/{name}"), "1.0.0", description)
            .expect("id, version and description are well formed")
            .config_schema(trial::schema());
        Self { manifest, run }
    }

    /// Adds keys to the configuration for trials.
    fn configured_by(mut self, properties: Value) -> Self {
        self.manifest.config_schema = Some(trial::schema_with(properties));
        self
    }

    fn idempotent(mut self) -> Self {
        self.manifest.idempotent = true;
        self
    }
}

impl<I, O> TypedAgent for Example<I, O>
where
    I: DeserializeOwned + JsonSchema + Send + 'static,
    O: Serialize + JsonSchema + Send + 'static,
{
    type Input = I;
    type Output = O;

    fn describe(&self) -> AgentManifest {
        self.manifest.clone()
    }

    async fn run(&self, input: I, cx: &AgentContext, cancel: CancellationToken) -> Result<O, AgentError> {
        trial::trial(cx, &cancel).await?;
        (self.run)(input, cx)
    }
}

impl<I, O> fmt::Debug for Example<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Example").field("id", &self.manifest.id).finish_non_exhaustive()
    }
}

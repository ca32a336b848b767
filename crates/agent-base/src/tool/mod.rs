//! Tools: named functions with a schema, for models and for the `tool` steps, hooks and compensations of workflows.
//!
//! A tool is smaller than an agent: it has a name instead of an id and a version, and no configuration. To an engine the two are
//! the same: a tool's calls go through the same layers, and are journaled alike.
//!
//! ```
//! use orchestr8_agent_base::{AgentError, AgentRegistry, tool::{ToolSpec, tool_fn}};
//! use serde_json::json;
//!
//! let spec = ToolSpec::new("math.square", "Squares a number")?
//!     .input_schema(json!({ "type": "object", "required": ["number"], "properties": { "number": { "type": "number" } } }));
//! let square = tool_fn(spec, |arguments, _cx, _cancel| async move {
//!     let number = arguments["number"].as_f64().ok_or_else(|| AgentError::validation("`number` is no number"))?;
//!     Ok(json!(number * number))
//! });
//!
//! let mut registry = AgentRegistry::new();
//! registry.tools_mut().register(square)?;
//! assert!(registry.tools().get(&"math.square".parse()?).is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access;
mod function;
mod namespace;
mod registry;

use std::time::Duration;

use async_trait::async_trait;
use orchestr8_schema::{
    Millis,
    builder::ToolRef,
    id::{InvalidId, ToolName},
    validate::CallSchemas,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use self::{
    access::{ToolAccess, ToolPlace, Tools},
    function::{ToolFn, tool_fn},
    namespace::ToolNamespace,
    registry::{RegisterToolError, RegisteredTool, ToolRegistry},
};
use crate::{AgentContext, AgentError, agent::default_target, manifest::schema_of};

/// Does one thing with its arguments.
///
/// For a closure there is [`tool_fn`]. The same tool value serves all calls at once, so state that changes belongs behind a lock
/// or outside.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no tool",
    note = "implement `Tool`, or wrap a closure in `tool_fn`"
)]
pub trait Tool: Send + Sync + 'static {
    /// Says what the tool is. Asked once, when the tool is registered.
    fn spec(&self) -> ToolSpec;

    /// Does the work of one attempt, with arguments that fit the tool's schema.
    ///
    /// # Errors
    ///
    /// An [`AgentError`] whose kind decides about retry and circuit breaker. A panic is caught and counts as INTERNAL.
    ///
    /// # Cancellation safety
    ///
    /// As of [`Agent::execute`](crate::Agent::execute): the future may be dropped at any await.
    async fn call(&self, arguments: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError>;

    /// Names what a call with these arguments depends on, for the key of its circuit breaker.
    ///
    /// The default is the text `target` of the arguments, else the host of a text `url`, else nothing.
    fn target(&self, arguments: &Value) -> Option<String> {
        default_target(arguments)
    }
}

#[cfg(test)]
fn _obj_safe(_: &dyn Tool) {}

/// What a tool says about itself.
///
/// In JSON the keys are camelCase and absent fields are left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ToolSpec {
    /// Its name, with a namespace before `:` where it belongs to one.
    pub name: ToolName,
    /// What it does, for people and models.
    pub description: String,
    /// JSON Schema (2020-12) of the arguments; absent accepts any object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Value>,
    /// JSON Schema of the result; absent promises nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// Whether it changes nothing; default false.
    pub read_only: bool,
    /// Whether it may destroy something; default false.
    pub destructive: bool,
    /// Whether the same arguments may be given twice without a second effect; default false.
    pub idempotent: bool,
    /// How long an attempt may take when neither step nor workflow says so, in milliseconds; absent leaves it to the engine (30 s).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
}

impl ToolSpec {
    /// Makes a spec; all else has its default.
    ///
    /// # Errors
    ///
    /// [`InvalidId`] if the name does not have the required form.
    pub fn new(name: &str, description: impl Into<String>) -> Result<Self, InvalidId> {
        Ok(Self::named(name.parse()?, description))
    }

    /// Makes a spec of a name that is well formed already; all else has its default.
    #[must_use]
    pub fn named(name: ToolName, description: impl Into<String>) -> Self {
        Self {
            name,
            description: description.into(),
            input_schema: None,
            output_schema: None,
            read_only: false,
            destructive: false,
            idempotent: false,
            timeout: None,
        }
    }

    /// Sets the schema of the arguments.
    #[must_use]
    pub fn input_schema(mut self, schema: Value) -> Self {
        self.input_schema = Some(schema);
        self
    }

    /// Sets the schema of the arguments to that of a Rust type.
    #[must_use]
    pub fn input<T: JsonSchema>(self) -> Self {
        self.input_schema(schema_of::<T>())
    }

    /// Sets the schema of the result.
    #[must_use]
    pub fn output_schema(mut self, schema: Value) -> Self {
        self.output_schema = Some(schema);
        self
    }

    /// Sets the schema of the result to that of a Rust type.
    #[must_use]
    pub fn output<T: JsonSchema>(self) -> Self {
        self.output_schema(schema_of::<T>())
    }

    /// Names the tool for a workflow that is built in Rust; the types are those that the tool is written with.
    ///
    /// ```
    /// use orchestr8_agent_base::tool::ToolSpec;
    /// use orchestr8_schema::builder::WorkflowBuilder;
    ///
    /// #[derive(schemars::JsonSchema)]
    /// struct Square {
    ///     side: f64,
    /// }
    ///
    /// let area = ToolSpec::new("math.area", "Gives the area of a square")?.input::<Square>().output::<f64>();
    /// let mut flow = WorkflowBuilder::new("area", "Area");
    /// let side = flow.input::<f64>("side");
    /// let area = flow.add("area", area.reference::<Square, f64>().call().with("side", &side));
    /// flow.output("area", &area);
    /// assert!(flow.build().is_ok());
    /// # Ok::<(), orchestr8_schema::id::InvalidId>(())
    /// ```
    #[must_use]
    pub fn reference<I, O>(&self) -> ToolRef<I, O> {
        let (input, output) = (self.input_schema.clone(), self.output_schema.clone());
        ToolRef::of(self.name.clone(), CallSchemas { input, output, config: None })
    }

    /// Declares that the tool changes nothing.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Declares that the tool may destroy something.
    #[must_use]
    pub fn destructive(mut self) -> Self {
        self.destructive = true;
        self
    }

    /// Declares that the same arguments may be given twice without a second effect.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Sets how long an attempt may take when neither step nor workflow says so.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout.into());
        self
    }
}

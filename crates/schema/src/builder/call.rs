//! Calls of agents and tools.

use std::{marker::PhantomData, time::Duration};

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

use super::{
    Draft, IntoTemplate, Path, Provides,
    draft::Lower,
    state::State,
    value::{Expr, Given, Read},
};
use crate::{
    AgentId, Code,
    id::{InvalidId, ToolName},
    policy::RetryPolicy,
    validate::CallSchemas,
    workflow::{
        self, AgentCall, AgentStep, Compensation, Hook, HookPoint, Input, StepKind, StructuredInput, ToolCall,
        ToolStep, VersionRange,
    },
};

/// An agent by its id, with the Rust types of what it takes and gives.
///
/// An agent that is written in Rust says so itself; for any other, this is where its types are claimed.
#[derive(Debug)]
pub struct AgentRef<I, O> {
    id: Result<AgentId, InvalidId>,
    version: VersionRange,
    config: Option<Map<String, Value>>,
    schemas: CallSchemas,
    of: PhantomData<fn(I) -> O>,
}

impl<I: JsonSchema, O: JsonSchema> AgentRef<I, O> {
    /// Names an agent, `@scope/name`. Another form is reported when the workflow is built.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self::with_schemas(id.parse(), schemas_of::<I, O>())
    }
}

impl AgentRef<Value, Value> {
    /// Names an agent of which no types are known.
    #[must_use]
    pub fn untyped(id: &str) -> Self {
        Self::with_schemas(id.parse(), CallSchemas::default())
    }
}

impl<I, O> AgentRef<I, O> {
    /// Names an agent whose schemas are known; the types are those of its own making.
    #[must_use]
    pub fn of(id: AgentId, schemas: CallSchemas) -> Self {
        Self::with_schemas(Ok(id), schemas)
    }

    fn with_schemas(id: Result<AgentId, InvalidId>, schemas: CallSchemas) -> Self {
        Self { id, version: VersionRange::Latest, config: None, schemas, of: PhantomData }
    }

    /// Sets which versions will do; default the latest.
    #[must_use]
    pub fn version(mut self, version: VersionRange) -> Self {
        self.version = version;
        self
    }

    /// Sets the configuration that the agent is called with.
    #[must_use]
    pub fn config(mut self, config: Map<String, Value>) -> Self {
        self.config = Some(config);
        self
    }

    /// Begins a step that calls the agent, with an empty input.
    pub fn call(&self) -> Draft<Call<I>, O> {
        let (version, config) = (self.version.clone(), self.config.clone());
        let callee = self.id.clone().map(|id| workflow::Call::Agent(AgentCall { id, version, config }));
        Draft::new(Call::new(callee, &self.schemas))
    }
}

/// A tool by its name, with the Rust types of its arguments and of what it gives.
///
/// ```
/// use orchestr8_schema::builder::{ToolRef, WorkflowBuilder};
/// use schemars::JsonSchema;
/// use serde::Serialize;
///
/// #[derive(Serialize, JsonSchema)] struct Get { url: String }
/// #[derive(Serialize, JsonSchema)] struct Response { status: u16 }
///
/// let get = ToolRef::<Get, Response>::new("http.get");
/// let mut flow = WorkflowBuilder::new("probe", "Probe");
/// let probe = flow.add("probe", get.call().with("url", "https://example.org"));
/// flow.output("status", probe.path("status"));
/// assert_eq!(flow.build()?.workflow().steps[0].kind.key(), "tool");
/// # Ok::<(), orchestr8_schema::InvalidWorkflow>(())
/// ```
#[derive(Debug)]
pub struct ToolRef<I, O> {
    name: Result<ToolName, InvalidId>,
    schemas: CallSchemas,
    of: PhantomData<fn(I) -> O>,
}

impl<I: JsonSchema, O: JsonSchema> ToolRef<I, O> {
    /// Names a tool. Another form of name is reported when the workflow is built.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.parse(), schemas: schemas_of::<I, O>(), of: PhantomData }
    }
}

impl ToolRef<Value, Value> {
    /// Names a tool of which no types are known.
    #[must_use]
    pub fn untyped(name: &str) -> Self {
        Self { name: name.parse(), schemas: CallSchemas::default(), of: PhantomData }
    }
}

impl<I, O> ToolRef<I, O> {
    /// Names a tool whose schemas are known; the types are those of its own making.
    #[must_use]
    pub fn of(name: ToolName, schemas: CallSchemas) -> Self {
        Self { name: Ok(name), schemas, of: PhantomData }
    }

    /// Begins a step that calls the tool, without arguments.
    pub fn call(&self) -> Draft<Call<I>, O> {
        let callee = self.name.clone().map(|name| workflow::Call::Tool(ToolCall { name }));
        Draft::new(Call::new(callee, &self.schemas))
    }
}

fn schemas_of<I: JsonSchema, O: JsonSchema>() -> CallSchemas {
    CallSchemas {
        input: Some(SchemaGenerator::default().into_root_schema_for::<I>().to_value()),
        output: Some(SchemaGenerator::default().into_root_schema_for::<O>().to_value()),
        config: None,
    }
}

/// A call of an agent or a tool that takes an `I`.
#[derive(Debug)]
pub struct Call<I> {
    callee: Result<workflow::Call, InvalidId>,
    schemas: CallSchemas,
    input: Given,
    of: PhantomData<fn(I)>,
}

impl<I> Call<I> {
    fn new(callee: Result<workflow::Call, InvalidId>, schemas: &CallSchemas) -> Self {
        Self { callee, schemas: schemas.clone(), input: Given::default(), of: PhantomData }
    }
}

impl<I, O> Draft<Call<I>, O> {
    /// Gives the whole input, of a tool the arguments: a value, a step, or an expression of their type, or a path or fields.
    pub fn input(mut self, input: impl Provides<I>) -> Self {
        self.kind.input = input.into_template();
        self
    }

    /// Gives one field of the input.
    pub fn with(mut self, name: impl Into<String>, value: impl IntoTemplate) -> Self {
        self.kind.input.set(name.into(), value.into_template());
        self
    }

    /// Allows this many attempts, 1–10, the first included.
    pub fn retry(self, max_attempts: u32) -> Self {
        self.policies(|policies| {
            let retry: &mut RetryPolicy = policies.resilience.retry.get_or_insert_default();
            retry.max_attempts = Some(max_attempts);
        })
    }

    /// Limits one attempt; default what the workflow says, or the agent or tool.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.policies(|policies| policies.timeout = Some(timeout.into()))
    }

    /// Says what undoes the step; its input may read [`own`] `input` and `output`.
    pub fn compensate<J, P>(mut self, undo: Draft<Call<J>, P>) -> Self {
        let (call, input) = self.other(undo);
        self.common.compensate = call.map(|call| Compensation::new(call, input));
        self
    }
}

impl<K, O> Draft<K, O> {
    /// Calls an agent or a tool at a point before or after the step; its input may read [`own`].
    pub fn hook<J, P>(mut self, point: HookPoint, call: Draft<Call<J>, P>) -> Self {
        let (call, input) = self.other(call);
        if let Some(call) = call {
            let mut hook = Hook::new(call);
            hook.input = Some(input).filter(|input| !input.is_null());
            match point {
                HookPoint::Before => self.common.hooks.before.push(hook),
                HookPoint::After => self.common.hooks.after.push(hook),
                HookPoint::OnError => self.common.hooks.on_error.push(hook),
                other => self.common.errors.push(format!("`{}` is no point of a step", other.key())),
            }
        }
        self
    }

    /// Takes in a call that is no step.
    fn other<J, P>(&mut self, other: Draft<Call<J>, P>) -> (Option<workflow::Call>, Value) {
        let Call { callee, schemas, input, .. } = other.kind;
        self.common.reads.extend(input.reads);
        self.common.errors.extend(input.errors);
        match callee {
            Ok(callee) => {
                self.common.callees.push((callee.clone(), schemas));
                (Some(callee), input.value)
            }
            Err(error) => {
                self.common.errors.push(error.to_string());
                (None, input.value)
            }
        }
    }
}

impl<I> Lower for Call<I> {
    fn into_kind(self, state: &mut State) -> (StepKind, Vec<Read>) {
        let Self { callee, schemas, input, .. } = self;
        let Given { value, reads, errors } = input;
        state.report_all(errors);
        let callee = callee.unwrap_or_else(|error| {
            state.report(Code::WrongForm, error.to_string());
            workflow::Call::Agent(AgentCall::new("@invalid/agent".parse().expect("letters are well formed")))
        });
        state.know(&callee, schemas);
        let kind = match callee {
            workflow::Call::Agent(agent) => {
                let input = match value {
                    Value::Object(map) => Some(Input::Plain(map)),
                    Value::String(whole) => Some(Input::Structured(Box::new(picked(whole)))),
                    _ => None,
                };
                StepKind::Agent(AgentStep { agent, input })
            }
            // Of a tool, the arguments as a whole can be one expression.
            workflow::Call::Tool(tool) => StepKind::Tool(ToolStep { name: tool.name, arguments: value }),
        };
        (kind, reads)
    }
}

/// An agent's input is written as an object; what is one expression is put into one, and taken out again.
fn picked(whole: String) -> StructuredInput {
    const NAME: &str = "whole";
    StructuredInput {
        mapping: Some(Map::from_iter([(NAME.to_owned(), Value::String(whole))])),
        transform: Some(NAME.to_owned()),
        ..StructuredInput::default()
    }
}

/// What a hook or a compensation sees of its step: `own("output.id")`, `own("input")`.
#[must_use]
pub fn own(path: &str) -> Path {
    Expr::<Value>::root("self").path(path)
}

//! What simulations are told about a workflow: `review.mocks.yaml`, for `orchestr8 sim --mocks`.

use indexmap::IndexMap;
use serde_json::Value;

use super::{Defaults, Mock, MockTarget};
use crate::{
    AgentId, InvalidDocument,
    id::ToolName,
    jmespath::JmesPath,
    source::{self, Loaded, Options},
};

/// How calls are answered in simulations of a workflow, what is known of agents that nobody has registered, and what must always hold.
/// Unknown keys are errors.
///
/// ```
/// use orchestr8_schema::{source::Options, test_file::MockFile};
///
/// let text = "
/// agents:
///   '@acme/charge': { irreversible: true }
/// mocks:
///   'agent:@acme/charge': { returns: { chargeId: 'chg-${input.amount}' } }
/// always:
///   - steps.charge.attempts <= `2`
/// ";
/// # #[cfg(feature = "yaml")]
/// # {
/// let file = MockFile::read(text, &Options::new().file_name("order.mocks.yaml"))?;
/// assert!(file.value.agents["@acme/charge"].irreversible);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct MockFile {
    /// The input of every execution; absent where the workflow's `inputs` decide what is tried.
    pub input: Option<Value>,
    /// What is known of agents. What one that is registered says of itself goes before.
    pub agents: IndexMap<AgentId, CalleeFacts>,
    /// What is known of tools, likewise.
    pub tools: IndexMap<ToolName, CalleeFacts>,
    /// How calls are answered.
    pub mocks: IndexMap<MockTarget, Mock>,
    /// What holds after every event: JMESPath over the state of the execution.
    pub always: Vec<JmesPath>,
}

/// What is known of an agent, or a tool, that nobody has registered.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CalleeFacts {
    /// What it takes; default anything.
    pub input_schema: Option<Value>,
    /// What it gives; default what the workflow reads of it.
    pub output_schema: Option<Value>,
    /// Whether calling it twice with the same idempotency key has the effect of one call; default false.
    pub idempotent: bool,
    /// Whether its effect cannot be undone (of a tool: `destructive`); default false.
    pub irreversible: bool,
}

/// What every test of a file begins with holds for simulations, too.
impl From<Defaults> for MockFile {
    fn from(defaults: Defaults) -> Self {
        Self { input: defaults.given.input, mocks: defaults.mocks, ..Self::default() }
    }
}

impl MockFile {
    /// Reads a mocks file.
    ///
    /// # Errors
    ///
    /// When the text cannot be read, a key is unknown, or a value has another type or form; all problems at once.
    pub fn read(text: impl AsRef<[u8]>, options: &Options<'_>) -> Result<Loaded<Self>, InvalidDocument> {
        source::read_mock_file(text.as_ref(), options)
    }
}

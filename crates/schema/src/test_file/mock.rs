//! Stand-ins for whatever leaves the process.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::{InvalidStepPattern, StepPattern};
use crate::{AgentId, ErrorKind, Millis, expression::Template, id::ToolName, jmespath::JmesPath};

/// What is mocked or counted: `reviews[*].score`, `agent:@acme/publish`, `tool:github:open-pr`, `model:smart`,
/// `workflow:./onboard.yaml`.
///
/// Of several that fit a call, a step is more specific than what it calls, and a path with fewer `*` than one with more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MockTarget {
    /// A step of any kind, by its path.
    Step(StepPattern),
    /// Every call of an agent.
    Agent(AgentId),
    /// Every call of a tool.
    Tool(ToolName),
    /// Every call of a model.
    Model(Box<str>),
    /// Every sub-workflow that is included under this reference.
    Workflow(Box<str>),
}

impl FromStr for MockTarget {
    type Err = InvalidStepPattern;

    fn from_str(text: &str) -> Result<Self, InvalidStepPattern> {
        // A step path has no colon outside quotes, and none of the prefixes can begin one.
        let prefix = text.split_once(':').filter(|(_, name)| !name.is_empty());
        let invalid = || text.parse::<StepPattern>().map(Self::Step);
        match prefix {
            Some(("agent", id)) => id.parse().map(Self::Agent).or_else(|_| invalid()),
            Some(("tool", name)) => name.parse().map(Self::Tool).or_else(|_| invalid()),
            Some(("model", name)) => Ok(Self::Model(name.into())),
            Some(("workflow", reference)) => Ok(Self::Workflow(reference.into())),
            _ => text.parse().map(Self::Step),
        }
    }
}

impl fmt::Display for MockTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(pattern) => write!(f, "{pattern}"),
            Self::Agent(id) => write!(f, "agent:{id}"),
            Self::Tool(name) => write!(f, "tool:{name}"),
            Self::Model(name) => write!(f, "model:{name}"),
            Self::Workflow(reference) => write!(f, "workflow:{reference}"),
        }
    }
}

/// How a call is answered instead of being made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Mock {
    /// The answer.
    pub answer: MockAnswer,
    /// How long it takes, in virtual time; default none. Of the parts of a sequence and of rules, each has its own.
    pub after: Option<Millis>,
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum MockAnswer {
    /// This value. Its expressions see the call's input, `${input.name}`, as the root
    /// [`Own`](crate::expression::Root::Own)([`Input`](crate::expression::OwnField::Input)).
    Returns(Template),
    /// This failure.
    Fail(MockFailure),
    /// One after the other, one for each call; at least one. A call behind the last one fails the test.
    Sequence(Vec<Mock>),
    /// The first that holds; at least one. A call for which none holds fails the test.
    By(Vec<MockRule>),
    /// None, until the call is cancelled.
    Hang,
    /// The real one.
    Real,
}

/// A failure to answer with.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[non_exhaustive]
pub struct MockFailure {
    /// Its kind.
    pub code: ErrorKind,
    /// What it says; default `mocked failure`.
    #[schemars(default)]
    pub message: Option<String>,
    /// The least delay before the next attempt.
    #[schemars(default)]
    pub retry_after: Option<Millis>,
}

impl MockFailure {
    /// What a failure says that is given no message.
    pub const DEFAULT_MESSAGE: &'static str = "mocked failure";
}

/// An answer to some calls.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MockRule {
    /// Which calls: JMESPath over `{input, attempt}`; absent for all.
    pub when: Option<JmesPath>,
    /// The answer to them.
    pub mock: Mock,
}

/// How a mock is written down, for its JSON Schema.
#[derive(JsonSchema)]
#[schemars(rename = "Mock", rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used")]
struct Written {
    /// A JMESPath over `input` and `attempt`; only in a list under `by`.
    #[schemars(default)]
    when: Option<String>,
    /// The value that the call gives; `${input.…}` reads its input.
    #[schemars(default)]
    returns: Option<Value>,
    /// The failure that the call ends with.
    #[schemars(default)]
    fail: Option<MockFailure>,
    /// The answers to the first, second, … call.
    #[schemars(default, length(min = 1))]
    sequence: Option<Vec<Mock>>,
    /// The first answer whose `when` holds.
    #[schemars(default, length(min = 1))]
    by: Option<Vec<Mock>>,
    /// Never answers.
    #[schemars(default)]
    hang: Option<True>,
    /// Makes the call.
    #[schemars(default)]
    real: Option<True>,
    /// How long the answer takes.
    #[schemars(default)]
    after: Option<Millis>,
}

/// Nothing but true.
pub(super) struct True;

impl JsonSchema for True {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "True".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "const": true })
    }
}

impl JsonSchema for Mock {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Mock".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Written::json_schema(generator);
        let one_of: Vec<Value> = ["returns", "fail", "sequence", "by", "hang", "real"]
            .iter()
            .map(|answer| serde_json::json!({ "required": [answer] }))
            .collect();
        schema.insert("oneOf".to_owned(), Value::Array(one_of));
        schema
    }
}

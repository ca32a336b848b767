//! A step: what is called, after what, on what condition, and what its result means.

use std::fmt;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Input, is_default};
use crate::{
    AgentId, StepId,
    policy::{OnError, StepPolicies},
};

/// One step of a workflow.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Step {
    /// The step's id, unique in the whole file.
    pub id: StepId,
    /// Its name for people, at most 255 characters; default the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub name: Option<String>,
    /// What it is for, at most 1000 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub description: Option<String>,
    /// The steps of the same scope that must have completed before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub dependencies: Vec<StepId>,
    /// Whether it runs at all; default it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// What is made of its result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// What it asks for beyond the workflow's policies.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(default)]
    pub policies: StepPolicies,
    /// What its final failure means; default `fail`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(default)]
    pub on_error: OnError,
    /// The step that stands in for it; given with `onError: fallback` and only then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_step_id: Option<StepId>,
    /// What it does.
    #[serde(flatten)]
    pub kind: StepKind,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", untagged)]
#[non_exhaustive]
pub enum StepKind {
    /// Calls an agent.
    Agent {
        /// Which agent.
        agent: AgentCall,
        /// The agent's input, a template; default `{}`.
        #[serde(default, skip_serializing_if = "Input::is_empty")]
        #[schemars(default)]
        input: Input,
    },
}

/// Which agent a step calls.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AgentCall {
    /// The agent's id.
    pub id: AgentId,
    /// Which versions will do; default `latest`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(default)]
    pub version: VersionRange,
    /// Configuration, given to the agent as it is; not a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Map<String, Value>>,
}

/// A range of agent versions: `x.y.z`, `^x.y.z`, `~x.y.z` or `latest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VersionRange {
    /// The highest version that is no pre-release.
    #[default]
    Latest,
    /// Exactly this version.
    Exact([u64; 3]),
    /// Compatible with this version, by the rules of semantic versioning.
    Caret([u64; 3]),
    /// This version or a later patch of it.
    Tilde([u64; 3]),
}

impl VersionRange {
    /// The regular expression that the text matches as a whole.
    pub const PATTERN: &'static str = r"^(latest|[\^~]?\d+\.\d+\.\d+)$";

    /// Whether a version, pre-releases aside, will do.
    ///
    /// ```
    /// use orchestr8_schema::workflow::VersionRange;
    ///
    /// let range: VersionRange = "^1.2.0".parse()?;
    /// assert!(range.matches([1, 3, 0]) && !range.matches([2, 0, 0]));
    /// assert!(!"^0.2.0".parse::<VersionRange>()?.matches([0, 3, 0]));
    /// # Ok::<(), orchestr8_schema::workflow::InvalidVersionRange>(())
    /// ```
    #[must_use]
    pub fn matches(&self, version: [u64; 3]) -> bool {
        match *self {
            Self::Latest => true,
            Self::Exact(exact) => version == exact,
            Self::Tilde(least) => version >= least && version[..2] == least[..2],
            // What must not change is everything up to the first number that is not 0.
            Self::Caret(least) => {
                let fixed = least.iter().position(|number| *number != 0).map_or(3, |place| place + 1);
                version >= least && version[..fixed] == least[..fixed]
            }
        }
    }
}

/// The error of a text that is no range of versions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a version range")]
pub struct InvalidVersionRange(());

impl std::str::FromStr for VersionRange {
    type Err = InvalidVersionRange;

    fn from_str(text: &str) -> Result<Self, InvalidVersionRange> {
        fn triple(text: &str) -> Result<[u64; 3], InvalidVersionRange> {
            let mut parts = text.split('.').map(|part| {
                let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
                if digits { part.parse().ok() } else { None }
            });
            match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten(), parts.next()) {
                (Some(major), Some(minor), Some(patch), None) => Ok([major, minor, patch]),
                _ => Err(InvalidVersionRange(())),
            }
        }
        if text == "latest" {
            Ok(Self::Latest)
        } else if let Some(rest) = text.strip_prefix('^') {
            triple(rest).map(Self::Caret)
        } else if let Some(rest) = text.strip_prefix('~') {
            triple(rest).map(Self::Tilde)
        } else {
            triple(text).map(Self::Exact)
        }
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, [major, minor, patch]) = match self {
            Self::Latest => return f.write_str("latest"),
            Self::Exact(version) => ("", version),
            Self::Caret(version) => ("^", version),
            Self::Tilde(version) => ("~", version),
        };
        write!(f, "{sign}{major}.{minor}.{patch}")
    }
}

impl Serialize for VersionRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for VersionRange {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "VersionRange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": Self::PATTERN })
    }
}

/// Whether a step runs.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Condition {
    /// Runs when `if` is true and `unless` is not; each may be absent.
    Predicates {
        /// A JMESPath condition, or exactly one expression.
        #[serde(rename = "if", skip_serializing_if = "Option::is_none")]
        #[schemars(default)]
        if_: Option<String>,
        /// The same, negated.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(default)]
        unless: Option<String>,
    },
    /// Runs when a comparison holds.
    Comparison(Comparison),
}

/// A comparison of what a condition's expression gives with a fixed value.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Comparison {
    /// A JMESPath condition, or exactly one expression.
    pub expression: String,
    /// How they are compared.
    pub operator: Operator,
    /// The fixed value; not needed with `not-empty`.
    #[serde(default, skip_serializing_if = "crate::policy::is_null")]
    #[schemars(default)]
    pub value: Value,
}

/// How a comparison compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operator {
    /// The same JSON value.
    Equals,
    /// Another JSON value.
    NotEquals,
    /// True in the sense of JMESPath.
    NotEmpty,
    /// Two numbers or two texts, otherwise false.
    GreaterThan,
    /// Two numbers or two texts, otherwise false.
    LessThan,
    /// An array's element, a part of a text, or an object's key.
    Contains,
}

/// What is made of a step's result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct Output {
    /// JSON Schema that the output must satisfy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub schema: Option<Value>,
    /// Variables that are set from the output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,
}

/// Which parts of an output become variables.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Capture {
    /// Fields captured under their own names.
    Fields(Vec<String>),
    /// Variables and the paths in the output that they are set from, such as `items[0].name`.
    Paths(IndexMap<String, String>),
}

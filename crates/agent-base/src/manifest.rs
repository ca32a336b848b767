//! What an agent says about itself.

use std::time::Duration;

use orchestr8_schema::{AgentId, Millis};
use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an agent says about itself: who it is, what it takes and gives, and how it may be called.
///
/// In JSON the keys are camelCase and absent fields are left out.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AgentManifest {
    /// `@scope/name`.
    pub id: AgentId,
    /// Exact version, `x.y.z`.
    #[schemars(with = "String")]
    pub version: Version,
    /// What the agent does, at most 1000 characters.
    pub description: String,
    /// Its name for people; default the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who has written it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The license that it may be used under, as SPDX has it: `MIT OR Apache-2.0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Words to find it by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub tags: Vec<String>,
    /// What it can do, for whoever chooses among agents.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub capabilities: Vec<Capability>,
    /// JSON Schema (2020-12) of the input; absent accepts anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Value>,
    /// JSON Schema of the output; absent promises nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// JSON Schema of the configuration, whose defaults are filled in; absent accepts anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<Value>,
    /// How long an attempt may take when neither step nor workflow says so, in milliseconds, at least 1000; absent leaves it to
    /// the engine (30 s).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// False forbids retry, whatever the kind of failure; default true.
    pub retryable: bool,
    /// Whether the same input may be given twice without a second effect; default false.
    pub idempotent: bool,
    /// Whether the effect cannot be undone; default false.
    pub irreversible: bool,
    /// Whether each attempt gets a task of its own, for work that computes; other agents are polled on their execution's task
    /// and must not block it. Default false.
    pub dedicated_task: bool,
    /// The `secret://` references that it may ask for; none means any that the workflow lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// The names of process variables that it reads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
}

/// Something that an agent can do, or that it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Capability {
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Whether the agent cannot work without it; default false.
    #[serde(default)]
    pub required: bool,
}

impl Capability {
    /// Names something that an agent can do.
    #[must_use]
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self { name: name.into(), description: description.into(), required: false }
    }

    /// Says that the agent cannot work without it.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

/// The error of a manifest that does not have the required form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidManifest {
    /// The id is not `@scope/name`.
    #[error(transparent)]
    Id(#[from] orchestr8_schema::id::InvalidId),
    /// The version is not `x.y.z`.
    #[error("`{text}` is no version of the form x.y.z")]
    Version {
        /// What was given instead.
        text: String,
        /// Why it is none.
        source: semver::Error,
    },
    /// The description is empty or too long.
    #[error("the description of `{0}` has no text, or more than 1000 characters")]
    Description(AgentId),
    /// A schema is no JSON Schema.
    #[error("the {part} schema of `{id}` is no JSON Schema: {message}")]
    Schema {
        /// Whose schema it is.
        id: AgentId,
        /// Which of the three.
        part: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// It is written down in another form.
    #[error("the manifest does not decode")]
    Document(#[source] serde_json::Error),
    /// The timeout is under a second.
    #[error("the timeout of `{0}` is under 1000 ms")]
    Timeout(AgentId),
}

impl AgentManifest {
    /// Makes a manifest; all else has its default.
    ///
    /// # Errors
    ///
    /// [`InvalidManifest`] if id, version or description does not have the required form.
    pub fn new(id: &str, version: &str, description: &str) -> Result<Self, InvalidManifest> {
        let id: AgentId = id.parse()?;
        let version =
            Version::parse(version).map_err(|source| InvalidManifest::Version { text: version.to_owned(), source })?;
        if description.trim().is_empty() || description.chars().count() > 1000 {
            return Err(InvalidManifest::Description(id));
        }
        Ok(Self {
            id,
            version,
            description: description.to_owned(),
            name: None,
            author: None,
            license: None,
            tags: Vec::new(),
            capabilities: Vec::new(),
            input_schema: None,
            output_schema: None,
            config_schema: None,
            timeout: None,
            retryable: true,
            idempotent: false,
            irreversible: false,
            dedicated_task: false,
            secrets: Vec::new(),
            environment: Vec::new(),
        })
    }

    /// Sets the name for people.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Says who has written it.
    #[must_use]
    pub fn author(mut self, author: impl Into<String>) -> Self {
        self.author = Some(author.into());
        self
    }

    /// Sets the license.
    #[must_use]
    pub fn license(mut self, license: impl Into<String>) -> Self {
        self.license = Some(license.into());
        self
    }

    /// Adds a word to find it by.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Adds something that it can do.
    #[must_use]
    pub fn capability(mut self, capability: Capability) -> Self {
        self.capabilities.push(capability);
        self
    }

    /// Sets the input schema.
    #[must_use]
    pub fn input_schema(mut self, schema: Value) -> Self {
        self.input_schema = Some(schema);
        self
    }

    /// Sets the input schema to that of a Rust type.
    #[must_use]
    pub fn input<T: JsonSchema>(self) -> Self {
        self.input_schema(schema_of::<T>())
    }

    /// Sets the output schema.
    #[must_use]
    pub fn output_schema(mut self, schema: Value) -> Self {
        self.output_schema = Some(schema);
        self
    }

    /// Sets the output schema to that of a Rust type.
    #[must_use]
    pub fn output<T: JsonSchema>(self) -> Self {
        self.output_schema(schema_of::<T>())
    }

    /// Sets the schema of the configuration.
    #[must_use]
    pub fn config_schema(mut self, schema: Value) -> Self {
        self.config_schema = Some(schema);
        self
    }

    /// Sets how long an attempt may take when neither step nor workflow says so.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout.into());
        self
    }

    /// Forbids retry.
    #[must_use]
    pub fn not_retryable(mut self) -> Self {
        self.retryable = false;
        self
    }

    /// Declares that the same input may be given twice without a second effect.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Declares that the effect cannot be undone.
    #[must_use]
    pub fn irreversible(mut self) -> Self {
        self.irreversible = true;
        self
    }

    /// Names a secret that the agent asks for; no other can then be given to it.
    #[must_use]
    pub fn secret(mut self, reference: impl Into<String>) -> Self {
        self.secrets.push(reference.into());
        self
    }

    /// Names a process variable that the agent reads.
    #[must_use]
    pub fn environment(mut self, name: impl Into<String>) -> Self {
        self.environment.push(name.into());
        self
    }

    /// Asks for a task of its own for each attempt.
    #[must_use]
    pub fn dedicated_task(mut self) -> Self {
        self.dedicated_task = true;
        self
    }
}

/// Derives the JSON Schema of a Rust type.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    schemars::SchemaGenerator::default().into_root_schema_for::<T>().to_value()
}

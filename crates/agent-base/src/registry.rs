//! Where agents are looked up by id and version.

use std::{collections::BTreeMap, fmt, sync::Arc};

use orchestr8_schema::{
    AgentId, Millis,
    id::ToolName,
    json_schema::{JsonValidator, Violations, fill_defaults},
    validate::{AgentCatalog, CallSchemas, Obstacle},
    workflow::VersionRange,
};
use semver::{Comparator, Op, Version, VersionReq};
use serde_json::{Map, Value};

use crate::{
    Agent, AgentError, AgentManifest, Callee,
    manifest::InvalidManifest,
    tool::{RegisterToolError, ToolRegistry},
};

/// All agents that an engine may call, by id and version, and the tools and models beside them.
///
/// ```
/// use orchestr8_agent_base::{AgentRegistry, HelloWorld};
///
/// let mut registry = AgentRegistry::new();
/// registry.register(HelloWorld)?;
/// let hello = registry.get(&"@orchestr8/hello-world".parse()?, &"^1.0.0".parse()?);
/// assert_eq!(hello.unwrap().manifest().version.to_string(), "1.0.0");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct AgentRegistry {
    agents: BTreeMap<AgentId, BTreeMap<Version, Arc<RegisteredAgent>>>,
    environment: BTreeMap<String, String>,
    tools: ToolRegistry,
    #[cfg(feature = "model")]
    models: Option<crate::model::Models>,
}

/// The error of an agent that cannot be registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// There is one of this id and version already.
    #[error("agent `{id}` {version} is registered already")]
    Duplicate {
        /// The id of both.
        id: AgentId,
        /// The version of both.
        version: Version,
    },
    /// A tool that comes along cannot be registered.
    #[error(transparent)]
    Tool(#[from] RegisterToolError),
    /// Its manifest does not have the required form.
    #[error(transparent)]
    Manifest(#[from] InvalidManifest),
    /// The configuration given with the registration breaks the agent's schema.
    #[error("the configuration of `{id}` is not valid: {message}")]
    Config {
        /// The agent.
        id: AgentId,
        /// What is wrong.
        message: String,
    },
}

impl AgentRegistry {
    /// Makes an empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an empty registry whose agents are configured by these process variables, too: `ORCHESTR8_AGENT_<NAME>_<KEY>`, in
    /// upper snake case and without the scope, sets the key of the agent's configuration schema. The value is JSON if it parses,
    /// else text. Registration and step go before it.
    ///
    /// Nothing is read from the process here: a program passes what it wants its agents to see.
    #[must_use]
    pub fn with_environment(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours = variables.into_iter().filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX));
        Self { environment: ours.collect(), ..Self::default() }
    }

    /// Adds an agent.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] if there is one of the same id and version, or if its manifest is not well formed.
    pub fn register(&mut self, agent: impl Agent) -> Result<(), RegisterError> {
        self.register_with_config(agent, Map::new())
    }

    /// Adds an agent with configuration that steps may override; objects are merged deeply, lists replaced.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub fn register_with_config(&mut self, agent: impl Agent, config: Map<String, Value>) -> Result<(), RegisterError> {
        let agent = RegisteredAgent::new(Arc::new(agent), config, &self.environment)?;
        let AgentManifest { id, version, .. } = agent.manifest();
        let (id, version) = (id.clone(), version.clone());
        let versions = self.agents.entry(id.clone()).or_default();
        if versions.contains_key(&version) {
            return Err(RegisterError::Duplicate { id, version });
        }
        versions.insert(version, Arc::new(agent));
        Ok(())
    }

    /// Finds the highest version in a range, by the rules of semantic versioning.
    #[must_use]
    pub fn get(&self, id: &AgentId, range: &VersionRange) -> Option<&Arc<RegisteredAgent>> {
        let versions = self.agents.get(id)?;
        let Some(requirement) = requirement(range) else {
            return self.latest(id);
        };
        versions.iter().rev().find(|(version, _)| requirement.matches(version)).map(|(_, agent)| agent)
    }

    /// Finds the highest version that is no pre-release.
    #[must_use]
    pub fn latest(&self, id: &AgentId) -> Option<&Arc<RegisteredAgent>> {
        self.agents.get(id)?.iter().rev().find(|(version, _)| version.pre.is_empty()).map(|(_, agent)| agent)
    }

    /// Lists all agents, by id, then version.
    pub fn list(&self) -> impl Iterator<Item = &Arc<RegisteredAgent>> {
        self.agents.values().flat_map(BTreeMap::values)
    }

    /// Lists the versions of one agent, the lowest first.
    pub fn versions(&self, id: &AgentId) -> impl DoubleEndedIterator<Item = &Version> {
        self.agents.get(id).into_iter().flat_map(BTreeMap::keys)
    }

    /// Returns the tools that may be called beside the agents.
    #[must_use]
    pub fn tools(&self) -> &ToolRegistry {
        &self.tools
    }

    /// Returns the tools, to add some.
    pub fn tools_mut(&mut self) -> &mut ToolRegistry {
        &mut self.tools
    }

    /// Sets the models that the agents may ask. With them, whoever checks a workflow is told of models that nobody has; `None`, as at first, says
    /// that models are not known here, and are not checked.
    #[cfg(feature = "model")]
    pub fn set_models(&mut self, models: Option<crate::model::Models>) {
        self.models = models;
    }

    /// Returns the models that the agents may ask, if they are known here.
    #[cfg(feature = "model")]
    #[must_use]
    pub fn models(&self) -> Option<&crate::model::Models> {
        self.models.as_ref()
    }
}

/// What validation has to know of agents and tools. Pre-releases are not listed: no range in a workflow file asks for one.
impl AgentCatalog for AgentRegistry {
    fn versions(&self, id: &AgentId) -> Option<Vec<[u64; 3]>> {
        let released = self.agents.get(id)?.keys().filter(|version| version.pre.is_empty());
        Some(released.map(|version| [version.major, version.minor, version.patch]).collect())
    }

    fn ids(&self) -> Vec<AgentId> {
        self.agents.keys().cloned().collect()
    }

    fn schemas(&self, id: &AgentId, range: &VersionRange) -> Option<CallSchemas> {
        let AgentManifest { input_schema, output_schema, config_schema, .. } = self.get(id, range)?.manifest().clone();
        Some(CallSchemas { input: input_schema, output: output_schema, config: config_schema })
    }

    fn obstacle(&self, id: &AgentId, range: &VersionRange, config: Option<&Map<String, Value>>) -> Option<Obstacle> {
        let agent = self.get(id, range)?;
        // A configuration that breaks its schema is told of as such.
        agent.agent.obstacle(&agent.configure(config).ok()?, self)
    }

    fn is_irreversible(&self, id: &AgentId, version: &VersionRange) -> bool {
        self.get(id, version).is_some_and(|agent| agent.manifest().irreversible)
    }

    fn tools(&self) -> Option<Vec<ToolName>> {
        // Without any, a file may be checked for an engine that has some.
        Some(self.tools.list().map(|tool| tool.spec().name.clone()).collect())
            .filter(|tools: &Vec<_>| !tools.is_empty())
    }

    fn offers_namespace(&self, namespace: &str) -> bool {
        self.tools.namespaces().any(|(known, _)| known == namespace)
    }

    fn tool_schemas(&self, name: &ToolName) -> Option<CallSchemas> {
        let tool = self.tools.get(name)?;
        let spec = tool.spec();
        Some(CallSchemas { input: spec.input_schema.clone(), output: spec.output_schema.clone(), config: None })
    }
}

fn requirement(range: &VersionRange) -> Option<VersionReq> {
    let (op, [major, minor, patch]) = match range {
        VersionRange::Latest => return None,
        VersionRange::Exact(version) => (Op::Exact, version),
        VersionRange::Caret(version) => (Op::Caret, version),
        VersionRange::Tilde(version) => (Op::Tilde, version),
    };
    let comparator =
        Comparator { op, major: *major, minor: Some(*minor), patch: Some(*patch), pre: semver::Prerelease::EMPTY };
    Some(VersionReq { comparators: vec![comparator] })
}

/// An agent as registered: with its manifest asked once, and its schemas compiled.
pub struct RegisteredAgent {
    agent: Arc<dyn Agent>,
    manifest: AgentManifest,
    /// What holds unless a step says otherwise, an object.
    config: Value,
    callee: Arc<Callee>,
    config_schema: Option<JsonValidator>,
}

impl RegisteredAgent {
    fn new(
        agent: Arc<dyn Agent>,
        registered: Map<String, Value>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, RegisterError> {
        let manifest = agent.manifest();
        let mut config = from_environment(&manifest, environment);
        merge(&mut config, &Value::Object(registered));
        if manifest.timeout.is_some_and(|timeout| timeout.0 < 1000) {
            return Err(InvalidManifest::Timeout(manifest.id).into());
        }
        let compile = |part: &'static str, schema: &Option<Value>| match schema {
            None => Ok(None),
            Some(schema) => JsonValidator::compile(schema).map(Some).map_err(|error| InvalidManifest::Schema {
                id: manifest.id.clone(),
                part,
                message: error.to_string(),
            }),
        };
        let mut callee = Callee::of_agent(Arc::clone(&agent), manifest.id.as_str().into());
        callee.input = compile("input", &manifest.input_schema)?;
        callee.output = compile("output", &manifest.output_schema)?;
        callee.timeout = manifest.timeout.map(Millis::as_duration);
        callee.retryable = manifest.retryable;
        callee.dedicated_task = manifest.dedicated_task;
        callee.secrets = manifest.secrets.clone().into();
        let config_schema = compile("config", &manifest.config_schema)?;
        Ok(Self { agent, manifest, config, callee: Arc::new(callee), config_schema })
    }

    /// Returns the agent itself, without any checks around it.
    #[must_use]
    pub fn agent(&self) -> &Arc<dyn Agent> {
        &self.agent
    }

    /// Returns the manifest.
    #[must_use]
    pub fn manifest(&self) -> &AgentManifest {
        &self.manifest
    }

    /// Returns it as what an engine calls.
    #[must_use]
    pub fn callee(&self) -> &Arc<Callee> {
        &self.callee
    }

    /// Returns the compiled schema of the input.
    #[must_use]
    pub fn input_schema(&self) -> Option<&JsonValidator> {
        self.callee.input_schema()
    }

    /// Returns the compiled schema of the output.
    #[must_use]
    pub fn output_schema(&self) -> Option<&JsonValidator> {
        self.callee.output_schema()
    }

    /// Makes the configuration of a call: the step's over the registration's over the schema's defaults.
    ///
    /// # Errors
    ///
    /// VALIDATION if the result breaks the agent's schema.
    pub fn configure(&self, step: Option<&Map<String, Value>>) -> Result<Map<String, Value>, AgentError> {
        let mut merged = self.config.clone();
        if let Some(step) = step {
            merge(&mut merged, &Value::Object(step.clone()));
        }
        if let Some(validator) = &self.config_schema {
            fill_defaults(validator.schema(), &mut merged);
            validator.validate(&merged).map_err(|violations| {
                let violations = Violations(&violations);
                AgentError::validation(format!(
                    "the configuration of {} does not fit its schema: {violations}",
                    self.manifest.id
                ))
            })?;
        }
        match merged {
            Value::Object(map) => Ok(map),
            _ => Ok(Map::new()),
        }
    }
}

impl fmt::Debug for RegisteredAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredAgent")
            .field("id", &self.manifest.id)
            .field("version", &self.manifest.version)
            .finish_non_exhaustive()
    }
}

/// What process variables begin with that configure agents.
const ENVIRONMENT_PREFIX: &str = "ORCHESTR8_AGENT_";

/// Reads the keys of an agent's configuration schema from process variables.
fn from_environment(manifest: &AgentManifest, environment: &BTreeMap<String, String>) -> Value {
    let properties =
        manifest.config_schema.as_ref().and_then(|schema| schema.get("properties")).and_then(Value::as_object);
    let keys = properties.into_iter().flat_map(Map::keys);
    let found = keys.filter_map(|key| {
        let name = format!("{ENVIRONMENT_PREFIX}{}_{}", upper_snake(manifest.id.name()), upper_snake(key));
        let text = environment.get(&name)?;
        Some((key.clone(), serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()))))
    });
    Value::Object(found.collect())
}

/// `hello-world` and `delayMs` become `HELLO_WORLD` and `DELAY_MS`.
fn upper_snake(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    let mut after_lower = false;
    for character in name.chars() {
        if character.is_ascii_uppercase() && after_lower {
            text.push('_');
        }
        after_lower = character.is_ascii_lowercase() || character.is_ascii_digit();
        text.push(if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { '_' });
    }
    text
}

fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key.as_str()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

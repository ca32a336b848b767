//! Where tools are looked up by name.

use std::{collections::BTreeMap, fmt, sync::Arc};

use orchestr8_schema::{Millis, id::ToolName, json_schema::JsonValidator};
use serde_json::Value;

use super::{Tool, ToolNamespace, ToolSpec, namespace};
use crate::{AgentError, Callee};

/// All tools that an engine may call, by name.
///
/// ```
/// use orchestr8_agent_base::tool::{ToolRegistry, ToolSpec, tool_fn};
///
/// let mut tools = ToolRegistry::new();
/// let spec = ToolSpec::new("create-issue", "Opens an issue")?;
/// tools.register_in("github", tool_fn(spec, |arguments, _cx, _cancel| async { Ok(arguments) }))?;
///
/// assert!(tools.get(&"github:create-issue".parse()?).is_some());
/// assert_eq!(tools.namespace("github").count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct ToolRegistry {
    tools: BTreeMap<ToolName, Arc<RegisteredTool>>,
    namespaces: BTreeMap<String, Arc<dyn ToolNamespace>>,
}

/// The error of a tool that cannot be registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterToolError {
    /// There is one of this name already.
    #[error("tool `{0}` is registered already")]
    Duplicate(ToolName),
    /// There is a namespace of this name already.
    #[error("the namespace `{0}` of tools is registered already")]
    DuplicateNamespace(String),
    /// With its namespace the name does not have the required form.
    #[error("tool `{name}` cannot stand in the namespace `{namespace}`")]
    Namespace {
        /// The tool's own name.
        name: ToolName,
        /// The namespace.
        namespace: String,
    },
    /// A schema is no JSON Schema.
    #[error("the {part} schema of tool `{name}` is no JSON Schema: {message}")]
    Schema {
        /// Whose schema it is.
        name: ToolName,
        /// Which of the two.
        part: &'static str,
        /// What is wrong with it.
        message: String,
    },
}

impl ToolRegistry {
    /// Makes an empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tool under the name that it gives itself.
    ///
    /// # Errors
    ///
    /// [`RegisterToolError`] if there is one of this name, or a schema of it is none.
    pub fn register(&mut self, tool: impl Tool) -> Result<(), RegisterToolError> {
        let spec = tool.spec();
        self.insert(Arc::new(tool), spec)
    }

    /// Adds a tool under its name within a namespace, `namespace:name`, whatever namespace it gives itself.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register); and [`RegisterToolError::Namespace`] if the whole name does not have the required form.
    pub fn register_in(&mut self, namespace: &str, tool: impl Tool) -> Result<(), RegisterToolError> {
        let mut spec = tool.spec();
        let own = spec.name.as_str();
        let own = own.split_once(':').map_or(own, |(_, name)| name);
        match format!("{namespace}:{own}").parse() {
            Ok(name) => spec.name = name,
            Err(_) => return Err(RegisterToolError::Namespace { name: spec.name, namespace: namespace.to_owned() }),
        }
        self.insert(Arc::new(tool), spec)
    }

    /// Adds a namespace whose tools are known only to the one who offers them. Every name in it can be found here, and a call tells
    /// whether there is such a tool. A tool that is registered under a name goes before.
    ///
    /// # Errors
    ///
    /// [`RegisterToolError::DuplicateNamespace`] if there is one of this name.
    pub fn register_namespace(
        &mut self,
        namespace: &str,
        tools: Arc<dyn ToolNamespace>,
    ) -> Result<(), RegisterToolError> {
        if self.namespaces.contains_key(namespace) {
            return Err(RegisterToolError::DuplicateNamespace(namespace.to_owned()));
        }
        self.namespaces.insert(namespace.to_owned(), tools);
        Ok(())
    }

    fn insert(&mut self, tool: Arc<dyn Tool>, spec: ToolSpec) -> Result<(), RegisterToolError> {
        if self.tools.contains_key(&spec.name) {
            return Err(RegisterToolError::Duplicate(spec.name));
        }
        let tool = RegisteredTool::new(tool, spec)?;
        self.tools.insert(tool.spec.name.clone(), Arc::new(tool));
        Ok(())
    }

    /// Finds a tool. Of one in a namespace that only others know, nothing is known but its name.
    #[must_use]
    pub fn get(&self, name: &ToolName) -> Option<Arc<RegisteredTool>> {
        if let Some(tool) = self.tools.get(name) {
            return Some(Arc::clone(tool));
        }
        let namespace = self.namespaces.get(name.namespace()?)?;
        Some(Arc::new(namespace::deferred(namespace, name)))
    }

    /// Tells what a tool is, for models: asks whoever offers it, where nobody else knows.
    ///
    /// # Errors
    ///
    /// As of [`ToolNamespace::list`].
    pub async fn describe(&self, name: &ToolName) -> Result<Option<ToolSpec>, AgentError> {
        if let Some(tool) = self.tools.get(name) {
            return Ok(Some(tool.spec.clone()));
        }
        match name.namespace().and_then(|namespace| self.namespaces.get(namespace)) {
            None => Ok(None),
            Some(namespace) => Ok(namespace.list().await?.into_iter().find(|spec| spec.name == *name)),
        }
    }

    /// Lists the namespaces whose tools only others know.
    pub fn namespaces(&self) -> impl Iterator<Item = (&str, &Arc<dyn ToolNamespace>)> {
        self.namespaces.iter().map(|(name, tools)| (name.as_str(), tools))
    }

    /// Lists all tools by name, without those that only others know.
    pub fn list(&self) -> impl Iterator<Item = &Arc<RegisteredTool>> {
        self.tools.values()
    }

    /// Lists the tools of one namespace by name.
    pub fn namespace(&self, namespace: &str) -> impl Iterator<Item = &Arc<RegisteredTool>> {
        self.list().filter(move |tool| tool.spec.name.namespace() == Some(namespace))
    }
}

/// A tool as registered: with its spec asked once, and its schemas compiled.
pub struct RegisteredTool {
    tool: Arc<dyn Tool>,
    spec: ToolSpec,
    callee: Arc<Callee>,
}

impl RegisteredTool {
    pub(super) fn new(tool: Arc<dyn Tool>, spec: ToolSpec) -> Result<Self, RegisterToolError> {
        let compile = |part: &'static str, schema: &Option<Value>| match schema {
            None => Ok(None),
            Some(schema) => JsonValidator::compile(schema).map(Some).map_err(|error| RegisterToolError::Schema {
                name: spec.name.clone(),
                part,
                message: error.to_string(),
            }),
        };
        let mut callee = Callee::of_tool(Arc::clone(&tool), spec.name.as_str().into());
        callee.input = compile("input", &spec.input_schema)?;
        callee.output = compile("output", &spec.output_schema)?;
        callee.timeout = spec.timeout.map(Millis::as_duration);
        Ok(Self { tool, spec, callee: Arc::new(callee) })
    }

    /// Returns the tool itself, without any checks around it.
    #[must_use]
    pub fn tool(&self) -> &Arc<dyn Tool> {
        &self.tool
    }

    /// Returns the spec, its name being the one that it is registered under.
    #[must_use]
    pub fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    /// Returns it as what an engine calls.
    #[must_use]
    pub fn callee(&self) -> &Arc<Callee> {
        &self.callee
    }
}

impl fmt::Debug for ToolRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespaces: Vec<_> = self.namespaces.keys().collect();
        f.debug_struct("ToolRegistry").field("tools", &self.tools).field("namespaces", &namespaces).finish()
    }
}

impl fmt::Debug for RegisteredTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredTool").field("name", &self.spec.name).finish_non_exhaustive()
    }
}

//! Agents and tools: whether those that are called exist.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::outline::Outline;
use crate::{
    AgentId, Code,
    id::ToolName,
    problem::{At, Problems, quote},
    workflow::{AgentCall, Call, Hook, HookPoint, Step, StepKind, VersionRange},
};

/// Which agents and tools there are, for whoever validates with a registry at hand.
///
/// ```
/// use orchestr8_schema::{AgentId, source::{Options, load}, validate::AgentCatalog};
///
/// struct OnlyHello;
///
/// impl AgentCatalog for OnlyHello {
///     fn versions(&self, id: &AgentId) -> Option<Vec<[u64; 3]>> {
///         (id.as_str() == "@orchestr8/hello-world").then(|| vec![[1, 0, 0]])
///     }
///
///     fn ids(&self) -> Vec<AgentId> {
///         vec!["@orchestr8/hello-world".parse().expect("well formed")]
///     }
/// }
///
/// let text = r#"{
///     "version": "1.0.0",
///     "metadata": { "id": "w", "name": "W" },
///     "steps": [{ "id": "a", "agent": { "id": "@orchestr8/hallo-world" } }]
/// }"#;
/// let invalid = load(text, &Options::new().agents(&OnlyHello)).unwrap_err();
/// assert_eq!(invalid.diagnostics()[0].help.as_deref(), Some("did you mean `@orchestr8/hello-world`?"));
/// ```
pub trait AgentCatalog {
    /// Returns the released versions of an agent, without pre-releases, or `None` if the agent is unknown.
    fn versions(&self, id: &AgentId) -> Option<Vec<[u64; 3]>>;

    /// Returns every agent's id, for suggestions.
    fn ids(&self) -> Vec<AgentId>;

    /// Whether what an agent does cannot be undone by itself, so that a step that calls it should say how; default no.
    fn is_irreversible(&self, id: &AgentId, version: &VersionRange) -> bool {
        let _ = (id, version);
        false
    }

    /// Returns the tools that there are; `None`, the default, says that tools are not known here, and are not checked.
    fn tools(&self) -> Option<Vec<ToolName>> {
        None
    }

    /// Whether a namespace of tools is open: only a call shows which tools there are in it; default no.
    fn offers_namespace(&self, namespace: &str) -> bool {
        let _ = namespace;
        false
    }

    /// Returns the schemas of the agent that a call with this id and range reaches; `None`, the default, where nothing is known
    /// of them.
    fn schemas(&self, id: &AgentId, version: &VersionRange) -> Option<CallSchemas> {
        let _ = (id, version);
        None
    }

    /// Says why the agent that a call reaches cannot work with the configuration that the call gives, beyond what its schema says, and what to
    /// do about it; `None`, the default, if it can.
    fn obstacle(&self, id: &AgentId, version: &VersionRange, config: Option<&Map<String, Value>>) -> Option<Obstacle> {
        let _ = (id, version, config);
        None
    }

    /// Returns the schemas of a tool; `None`, the default, where nothing is known of them.
    fn tool_schemas(&self, name: &ToolName) -> Option<CallSchemas> {
        let _ = name;
        None
    }
}

/// What an agent or a tool takes and gives: JSON Schemas, each absent where anything will do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallSchemas {
    /// Of the input, or of the arguments.
    pub input: Option<Value>,
    /// Of the output.
    pub output: Option<Value>,
    /// Of the configuration; tools have none.
    pub config: Option<Value>,
}

/// Why an agent cannot work as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What is in the way.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Checks every agent and tool that is called.
pub(super) fn check(outline: &Outline<'_>, catalog: &dyn AgentCatalog, problems: &mut Problems) {
    let mut checking = Checking {
        catalog,
        versions: HashMap::new(),
        ids: None,
        tools: catalog.tools().map(HashSet::from_iter),
        problems,
    };
    let root = At::ROOT;
    checking.hooks(outline.workflow.hooks.iter(), &root.key("hooks"));
    for (index, placed) in outline.iter() {
        if !placed.broken {
            let pointer = outline.pointer(index);
            checking.step(placed.step, &At::pointer(&pointer));
        }
    }
}

struct Checking<'a> {
    catalog: &'a dyn AgentCatalog,
    versions: HashMap<&'a AgentId, Option<Vec<[u64; 3]>>>,
    ids: Option<Vec<AgentId>>,
    tools: Option<HashSet<ToolName>>,
    problems: &'a mut Problems,
}

impl<'a> Checking<'a> {
    fn step(&mut self, step: &'a Step, at: &At<'_>) {
        self.hooks(step.hooks.iter(), &at.key("hooks"));
        if let Some(compensation) = &step.compensate {
            self.call(&compensation.call, &at.key("compensate"));
        }
        match &step.kind {
            StepKind::Agent(agent) => {
                let call = &agent.agent;
                let known = self.agent(call, &at.key("agent"));
                if known && step.compensate.is_none() && self.catalog.is_irreversible(&call.id, &call.version) {
                    self.problems
                        .report(Code::Irreversible, at.key("agent"), format!("`{}` cannot be undone", step.id))
                        .on_key()
                        .help("add `compensate`");
                }
            }
            StepKind::Tool(tool) => self.tool(&tool.name, &at.key("tool")),
            _ => {}
        }
    }

    fn hooks(&mut self, points: impl Iterator<Item = (HookPoint, &'a [Hook])>, at: &At<'_>) {
        for (point, hooks) in points {
            let list = at.key(point.key());
            for (index, hook) in hooks.iter().enumerate() {
                self.call(&hook.call, &list.index(index));
            }
        }
    }

    fn call(&mut self, call: &'a Call, at: &At<'_>) {
        match call {
            Call::Agent(agent) => {
                self.agent(agent, &at.key("agent"));
            }
            Call::Tool(tool) => self.tool(&tool.name, &at.key("tool")),
        }
    }

    fn agent(&mut self, agent: &'a AgentCall, at: &At<'_>) -> bool {
        let catalog = self.catalog;
        match self.versions.entry(&agent.id).or_insert_with(|| catalog.versions(&agent.id)) {
            None => {
                let ids = self.ids.get_or_insert_with(|| catalog.ids());
                let help = self.problems.did_you_mean(agent.id.as_str(), ids.iter().map(AgentId::as_str));
                let message = format!("no agent `{}`", quote(agent.id.as_str()));
                let problem = self.problems.report(Code::UnknownAgent, at.key("id"), message);
                if let Some(help) = help {
                    problem.help(help);
                }
                false
            }
            // An agent of which there are only pre-releases is found by nothing but its exact version.
            Some(versions) if !versions.iter().any(|version| agent.version.matches(*version)) => {
                let have: Vec<_> =
                    versions.iter().map(|[major, minor, patch]| format!("{major}.{minor}.{patch}")).collect();
                let place = if agent.version == VersionRange::Latest { at.key("id") } else { at.key("version") };
                self.problems.report(Code::AgentVersion, place, format!("no version matches {}", agent.version)).help(
                    if have.is_empty() { "none is released".to_owned() } else { format!("have {}", have.join(", ")) },
                );
                false
            }
            Some(_) => {
                if let Some(Obstacle { message, help }) =
                    catalog.obstacle(&agent.id, &agent.version, agent.config.as_ref())
                {
                    let place = if agent.config.is_some() { at.key("config") } else { at.key("id") };
                    let problem = self.problems.report(Code::Obstacle, place, message).on_key();
                    if let Some(help) = help {
                        problem.help(help);
                    }
                }
                true
            }
        }
    }

    fn tool(&mut self, name: &ToolName, at: &At<'_>) {
        let Some(tools) = &self.tools else { return };
        if tools.contains(name) || name.namespace().is_some_and(|namespace| self.catalog.offers_namespace(namespace)) {
            return;
        }
        let help = self.problems.did_you_mean(name.as_str(), tools.iter().map(ToolName::as_str));
        let problem = self.problems.report(Code::UnknownAgent, at.key("name"), format!("no tool `{name}`"));
        if let Some(help) = help {
            problem.help(help);
        }
    }
}

//! What a workflow and its sub-workflows call.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use orchestr8_agent_base::AgentRegistry;
use orchestr8_schema::{
    AgentId, StepIndex, ValidWorkflow,
    id::ToolName,
    test_file::MockTarget,
    validate::ValidKind,
    workflow::{AgentCall, Call, Hook, StepKind, VersionRange},
};

use super::{Called, place::place_of};

/// What a workflow and its sub-workflows call, and where.
#[derive(Clone, Debug, Default)]
pub(crate) struct Callees {
    /// By the places of steps.
    of_steps: HashMap<String, Called>,
    /// The kinds of all steps, by their places, in the order of declaration.
    pub(crate) steps: Vec<(String, &'static str)>,
    /// The cases of branches, by the places of steps.
    pub(crate) cases: Vec<(String, String)>,
    /// References to sub-workflows, by the places of steps.
    pub(crate) references: BTreeMap<String, String>,
    agents: BTreeMap<AgentId, BTreeSet<String>>,
    tools: BTreeSet<ToolName>,
    /// Those that agents are configured to have models call.
    lent: BTreeSet<ToolName>,
    /// Those that can be called for real.
    registered: BTreeSet<String>,
    /// Those of them that are called for real only if a mock says so.
    asked_for: BTreeSet<String>,
    /// The versions of agents that nobody has registered.
    pub(crate) unknown_agents: Vec<(AgentId, VersionRange)>,
    pub(crate) unknown_tools: Vec<ToolName>,
    /// Those of them that are lent to models only.
    pub(crate) unknown_lent: Vec<ToolName>,
}

impl Callees {
    pub(crate) fn of(workflow: &ValidWorkflow, agents: &AgentRegistry) -> Self {
        let mut callees = Self::default();
        callees.visit(workflow, "", agents);
        callees
    }

    fn visit(&mut self, workflow: &ValidWorkflow, prefix: &str, agents: &AgentRegistry) {
        let written = workflow.workflow();
        for (_, hooks) in written.hooks.iter() {
            hooks.iter().for_each(|hook| self.hook(hook, agents));
        }
        let children: HashMap<StepIndex, &ValidWorkflow> = workflow.sub_workflows().collect();
        for index in (0..workflow.steps().len() as u32).map(StepIndex) {
            let step = workflow.declaration(index);
            let place = place(workflow, index, prefix);
            self.steps.push((place.clone(), step.kind.key()));
            match &step.kind {
                StepKind::Agent(call) => {
                    self.agent(&call.agent, agents);
                    self.of_steps.insert(place.clone(), Called::Agent(call.agent.id.to_string()));
                }
                StepKind::Tool(tool) => {
                    self.tool(&tool.name, agents);
                    self.of_steps.insert(place.clone(), Called::Tool(tool.name.to_string()));
                }
                StepKind::Workflow(child) => {
                    self.references.insert(place.clone(), child.reference.clone());
                }
                _ => {}
            }
            if let ValidKind::Branch(branch) = &workflow.step(index).kind {
                self.cases.extend(branch.cases.iter().map(|case| (place.clone(), case.name.to_string())));
            }
            for (_, hooks) in step.hooks.iter() {
                hooks.iter().for_each(|hook| self.hook(hook, agents));
            }
            if let Some(compensate) = &step.compensate {
                self.call(&compensate.call, agents);
            }
            if let Some(child) = children.get(&index) {
                self.visit(child, &format!("{place}."), agents);
            }
        }
    }

    fn hook(&mut self, hook: &Hook, agents: &AgentRegistry) {
        self.call(&hook.call, agents);
    }

    fn call(&mut self, call: &Call, agents: &AgentRegistry) {
        match call {
            Call::Agent(call) => self.agent(call, agents),
            Call::Tool(call) => self.tool(&call.name, agents),
        }
    }

    fn agent(&mut self, call: &AgentCall, agents: &AgentRegistry) {
        let AgentCall { id, version, config, .. } = call;
        let lent = config.as_ref().and_then(|config| config.get("tools")?.as_array()).into_iter().flatten();
        lent.filter_map(|name| name.as_str()?.parse().ok()).for_each(|name| self.lends(&name, agents));
        if !self.agents.entry(id.clone()).or_default().insert(version.to_string()) {
            return;
        }
        match agents.get(id, version) {
            Some(_) => {
                self.registered.insert(id.to_string());
            }
            None => self.unknown_agents.push((id.clone(), version.clone())),
        }
    }

    fn tool(&mut self, name: &ToolName, agents: &AgentRegistry) {
        if !self.tools.insert(name.clone()) {
            return;
        }
        match agents.tools().get(name) {
            Some(_) => {
                self.registered.insert(format!("tool:{name}"));
            }
            None => self.unknown_tools.push(name.clone()),
        }
    }

    /// A tool that an agent lends to the model that it asks.
    fn lends(&mut self, name: &ToolName, agents: &AgentRegistry) {
        if !self.lent.insert(name.clone()) {
            return;
        }
        match agents.tools().get(name) {
            Some(_) => {
                self.registered.insert(format!("tool:{name}"));
            }
            None => self.unknown_lent.push(name.clone()),
        }
    }

    /// Calls for real, without being asked to, only what these others can call.
    pub(crate) fn ask_for_all_but(&mut self, others: &Self) {
        self.asked_for = self.registered.difference(&others.registered).cloned().collect();
    }

    /// Whether a call can be made for real.
    pub(crate) fn is_registered(&self, called: &Called) -> bool {
        name(called).is_some_and(|name| self.registered.contains(&*name))
    }

    /// Whether a call is made for real without a mock that says so.
    pub(crate) fn is_unasked(&self, called: &Called) -> bool {
        self.is_registered(called) && name(called).is_some_and(|name| !self.asked_for.contains(&*name))
    }

    /// What a step calls itself, by its place.
    pub(crate) fn of_step(&self, place: &str) -> Option<&Called> {
        self.of_steps.get(place)
    }

    pub(crate) fn calls_agent(&self, id: &AgentId) -> bool {
        self.agents.contains_key(id)
    }

    pub(crate) fn calls_tool(&self, name: &ToolName) -> bool {
        self.tools.contains(name) || self.lent.contains(name)
    }

    /// Says why a target means nothing in this workflow.
    pub(crate) fn is_strange(&self, target: &MockTarget) -> Option<String> {
        let told = match target {
            MockTarget::Step(pattern) => {
                let place = place_of(pattern);
                if self.kind_at(&place).is_some() {
                    return None;
                }
                let same_end = |known: &&str| known.rsplit('.').next() == place.rsplit('.').next();
                let near = self.steps.iter().map(|(known, _)| known.as_str()).find(same_end);
                match near {
                    Some(near) => format!("the workflow has no step there; `{near}` is one"),
                    None => "the workflow has no such step".to_owned(),
                }
            }
            MockTarget::Agent(id) if self.calls_agent(id) => return None,
            MockTarget::Agent(_) => "nothing in the workflow calls this agent".to_owned(),
            MockTarget::Tool(name) if self.calls_tool(name) => return None,
            MockTarget::Tool(_) => "nothing in the workflow calls this tool".to_owned(),
            MockTarget::Workflow(reference) if self.references.values().any(|known| **known == **reference) => {
                return None;
            }
            MockTarget::Workflow(_) => "no step of the workflow has this `ref`".to_owned(),
            // Which agents ask models, and which, shows when they do.
            MockTarget::Model(_) if !self.registered.is_empty() => return None,
            _ => "no agent that is known here is called, so no model is asked: mock the step".to_owned(),
        };
        Some(told)
    }

    /// The kind of the step at a place.
    pub(crate) fn kind_at(&self, place: &str) -> Option<&'static str> {
        self.steps.iter().find(|(known, _)| known == place).map(|(_, kind)| *kind)
    }
}

/// The name under which a callee is registered.
fn name(called: &Called) -> Option<Cow<'_, str>> {
    match called {
        Called::Agent(name) => Some(Cow::Borrowed(name)),
        Called::Tool(name) => Some(Cow::Owned(format!("tool:{name}"))),
        Called::Model(_) | Called::Replaced(_) => None,
    }
}

/// Returns the place of a step: the ids of the steps around it, and its own.
fn place(workflow: &ValidWorkflow, step: StepIndex, prefix: &str) -> String {
    let mut ids = vec![workflow.step(step).id.as_str()];
    let mut scope = workflow.step(step).scope;
    while let Some(parent) = workflow.scope(scope).parent {
        ids.push(workflow.step(parent).id.as_str());
        scope = workflow.step(parent).scope;
    }
    ids.reverse();
    format!("{prefix}{}", ids.join("."))
}

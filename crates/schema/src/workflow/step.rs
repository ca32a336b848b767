//! A step: what it does, after what, on what condition, and what its result means.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    AgentStep, ApprovalStep, BranchStep, Compensation, Condition, LoopStep, MapStep, Output, ParallelStep, StepHooks,
    ToolStep, WaitStep, WorkflowStep, is_default,
};
use crate::{
    StepId,
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
    /// What is made of its result. Of a composite it may also be a text alone, which is its `value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default, schema_with = "Output::or_text")]
    pub output: Option<Box<Output>>,
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
    /// How its effect is undone; agent and tool steps only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compensate: Option<Box<Compensation>>,
    /// What is called around it.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(default)]
    pub hooks: StepHooks,
    /// What it does.
    #[serde(flatten)]
    pub kind: StepKind,
}

impl Step {
    /// Makes a step that does something, and asks for nothing else.
    #[must_use]
    pub fn new(id: StepId, kind: StepKind) -> Self {
        Self {
            id,
            name: None,
            description: None,
            dependencies: Vec::new(),
            condition: None,
            output: None,
            policies: StepPolicies::default(),
            on_error: OnError::default(),
            fallback_step_id: None,
            compensate: None,
            hooks: StepHooks::default(),
            kind,
        }
    }
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum StepKind {
    /// Calls a tool.
    Tool(ToolStep),
    /// Runs steps side by side.
    Parallel(ParallelStep),
    /// Runs the steps of the first case that holds.
    Branch(BranchStep),
    /// Runs steps for each item of a list.
    Map(Box<MapStep>),
    /// Runs steps again and again.
    Loop(Box<LoopStep>),
    /// Runs another workflow.
    Workflow(WorkflowStep),
    /// Waits for a time or a signal.
    Wait(WaitStep),
    /// Asks a person.
    Approval(ApprovalStep),
    /// Calls an agent.
    #[serde(untagged)]
    Agent(AgentStep),
}

impl StepKind {
    /// Every kind's key, in the order of the specification.
    pub const KEYS: [&str; 9] = ["agent", "tool", "parallel", "branch", "map", "loop", "workflow", "wait", "approval"];

    /// Returns the key that the kind is written under.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Agent(_) => "agent",
            Self::Tool(_) => "tool",
            Self::Parallel(_) => "parallel",
            Self::Branch(_) => "branch",
            Self::Map(_) => "map",
            Self::Loop(_) => "loop",
            Self::Workflow(_) => "workflow",
            Self::Wait(_) => "wait",
            Self::Approval(_) => "approval",
        }
    }

    /// Whether it calls something: an agent or a tool.
    #[must_use]
    pub fn is_leaf(&self) -> bool {
        matches!(self, Self::Agent(_) | Self::Tool(_))
    }

    /// Whether it opens a scope: parallel, branch, map, loop and workflow.
    #[must_use]
    pub fn is_composite(&self) -> bool {
        matches!(self, Self::Parallel(_) | Self::Branch(_) | Self::Map(_) | Self::Loop(_) | Self::Workflow(_))
    }

    /// Returns the lists of steps inside, each a scope: one, or of a branch one for each case, the default the last.
    ///
    /// Those of a sub-workflow stand in a file of their own.
    pub fn scopes(&self) -> impl Iterator<Item = &[Step]> {
        let (one, cases, default): (Option<&[Step]>, &[super::Case], Option<&[Step]>) = match self {
            Self::Parallel(parallel) => (Some(&parallel.steps), &[], None),
            Self::Map(map) => (Some(&map.steps), &[], None),
            Self::Loop(looped) => (Some(&looped.steps), &[], None),
            Self::Branch(branch) => (None, &branch.cases, branch.default.as_ref().map(|default| &*default.steps)),
            Self::Agent(_) | Self::Tool(_) | Self::Workflow(_) | Self::Wait(_) | Self::Approval(_) => (None, &[], None),
        };
        one.into_iter().chain(cases.iter().map(|case| &*case.steps)).chain(default)
    }
}

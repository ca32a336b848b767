//! What a compiled step does: the part that differs from kind to kind.

use std::sync::Arc;

use super::{ScopeIndex, ValidWorkflow};
use crate::{
    Millis, StepIndex,
    condition::Condition,
    expression::Template,
    id::SignalName,
    json_schema::JsonValidator,
    policy::StepPolicies,
    workflow::{Call, CompensateOn, HookMode, HookPoint, OnItemError, OnLimit, OnTimeout},
};

/// What a step does, compiled. What it resolves when it is ready stands in [`ValidStep::input`](super::ValidStep::input).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ValidKind {
    /// Calls an agent with the input.
    Agent,
    /// Calls a tool with the input as its arguments.
    Tool,
    /// Runs steps side by side.
    Parallel(ValidParallel),
    /// Runs the first case that holds.
    Branch(ValidBranch),
    /// Runs a scope for each item.
    Map(Box<ValidMap>),
    /// Runs a scope again and again.
    Loop(Box<ValidLoop>),
    /// Runs another workflow with the input.
    Workflow(ValidWorkflow),
    /// Waits. The input is an object with `duration` or `until`, or the `signal`.
    Wait(ValidWait),
    /// Asks a person. The input is an object with the `prompt`.
    Approval(ValidApproval),
}

/// A compiled parallel group.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ValidParallel {
    /// Its steps.
    pub scope: ScopeIndex,
    /// The steps on which no other step of the group depends, fallbacks excepted; at least one.
    pub joined: Vec<StepIndex>,
    /// How many of them must complete; `None` means that all must end, and none may fail fatally.
    pub needed: Option<u32>,
    /// Whether what still runs is cancelled when enough have completed.
    pub cancel_remaining: bool,
}

/// A compiled branch.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ValidBranch {
    /// The cases, asked in this order.
    pub cases: Vec<ValidCase>,
    /// What runs when no case holds.
    pub default: Option<ScopeIndex>,
}

/// A compiled case.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ValidCase {
    /// Its name.
    pub name: Arc<str>,
    /// When it is taken.
    pub when: Condition,
    /// Its steps.
    pub scope: ScopeIndex,
}

/// A compiled map.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ValidMap {
    /// The steps of an item.
    pub scope: ScopeIndex,
    /// Gives the list of items, at most [`Template::MAX_OUTPUT_SIZE`].
    pub items: Template,
    /// Gives an item's key; it sees the item and its index, and no steps of the body.
    pub key: Option<Template>,
    /// Gives an item's value once its steps have ended; `None` is the object of their outputs by id.
    pub output: Option<Template>,
    /// Gives the accumulator before the first item, and after each.
    pub accumulator: Option<(Template, Template)>,
    /// How many items are open at once.
    pub concurrency: u32,
    /// What the failure of an item means.
    pub on_item_error: OnItemError,
    /// The most items.
    pub max_items: u32,
}

/// A compiled loop.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ValidLoop {
    /// The steps of an iteration.
    pub scope: ScopeIndex,
    /// When it goes on, or ends.
    pub condition: LoopTest,
    /// Gives the first value.
    pub init: Template,
    /// Gives the next value once an iteration's steps have ended; `None` is the object of their outputs by id.
    pub value: Option<Template>,
    /// The most iterations.
    pub max_iterations: u32,
    /// The time between iterations.
    pub delay: Millis,
    /// What it means that there are none left.
    pub on_limit: OnLimit,
}

/// The compiled condition of a loop.
#[derive(Clone, Debug, PartialEq)]
pub enum LoopTest {
    /// Evaluated before each iteration, which runs if it holds.
    While(Condition),
    /// Evaluated after each iteration, on its steps and the new value; it was the last one if it holds.
    Until(Condition),
}

impl LoopTest {
    pub(crate) fn condition(&self) -> &Condition {
        match self {
            Self::While(condition) | Self::Until(condition) => condition,
        }
    }
}

/// A compiled wait.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ValidWait {
    /// For the input's `duration`: milliseconds, or a text such as `30s`.
    Duration,
    /// Until the input's `until`, a time of RFC 3339.
    Until,
    /// For a signal.
    Signal {
        /// The signal's name.
        name: SignalName,
        /// How long at most.
        timeout: Option<Millis>,
    },
}

/// A compiled approval.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ValidApproval {
    /// The schema of the answer.
    pub schema: Option<JsonValidator>,
    /// How long the person has.
    pub timeout: Option<Millis>,
    /// What it means that they did not answer.
    pub on_timeout: OnTimeout,
}

/// A compiled hook.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ValidHook {
    /// Where it is called.
    pub point: HookPoint,
    /// Its place in the list of that point, from 0.
    pub index: u32,
    /// What it calls.
    pub call: Call,
    /// What that is given; `None` is `self`.
    pub input: Option<Template>,
    /// What its answer means.
    pub mode: HookMode,
    /// How long it may take.
    pub timeout: Millis,
}

/// A compiled compensation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ValidCompensation {
    /// What it calls.
    pub call: Call,
    /// What that is given.
    pub input: Template,
    /// What the call asks for.
    pub policies: StepPolicies,
    /// Gives the idempotency key instead of the structural one.
    pub idempotency_key: Option<Template>,
    /// Which ends of the step it is for.
    pub on: CompensateOn,
}

//! Calls of hooks: as calls of steps, but without a slot.

use std::sync::Arc;

use orchestr8_agent_base::{
    AgentContext,
    context::{Host, StepIdentity},
};
use orchestr8_schema::{
    StepId, StepPath, canonical,
    event::{Activation, CallId, HookId, HookOwner},
    workflow::HookPoint,
};

use super::{Driver, calls::Prepared};
use crate::{
    machine::{Call, hooks::HookSource},
    telemetry,
};

impl Driver {
    /// Begins the call of a hook at once.
    pub(super) fn begin_hook(&mut self, call: Call) {
        let places = self.places_of(call.id);
        self.open(call, places, true);
    }

    pub(super) fn prepare_hook(&self, activation: Activation) -> Option<Prepared> {
        let plan = &self.program.plan;
        let called = self.state.hook_in_progress(plan, activation)?;
        let id = called.hook.id;
        let (leaf, name) = match called.hook.source {
            HookSource::Plan(number) => (Some(&plan.hooks()[number as usize].leaf), None),
            HookSource::Engine(number) => {
                let name = &self.state.engine_hooks().get(number as usize)?.name;
                // The engine that takes an execution up need not have the hooks of the one that began it.
                (self.engine.hooks.place_of(name).map(|place| &self.engine.hooks.leaves[place]), Some(name))
            }
        };
        let identity = match self.state.activation(activation) {
            Some(_) => Arc::new(self.state.identity(plan, activation)),
            None => Arc::new(identity_of(id.point)?),
        };
        let path = self.state.step_path(plan, activation);
        let key = key(&self.origin.identity, path.as_ref(), &id, name.map(AsRef::as_ref));
        let span = telemetry::hook_span(&self.span, path.as_ref(), id.point, leaf.map(|leaf| &*leaf.callee));
        let (execution, clock) = (Arc::clone(&self.origin.identity), Arc::clone(&self.engine.clock));
        let mut context = AgentContext::builder(execution, identity, clock, called.input.cloned().unwrap_or_default())
            .idempotency_key(key);
        if let Some(leaf) = leaf {
            let host: Arc<dyn Host> = self.host.clone();
            context = context
                .config(Arc::clone(&leaf.config))
                .callee(Arc::clone(&leaf.callee))
                .host(host, CallId::Hook(activation));
        }
        Some(Prepared { stack: self.hook_stack(activation), context: context.build(), span })
    }

    /// The layers around the hook that is called; absent if this engine does not have it.
    pub(super) fn hook_stack(&self, activation: Activation) -> Option<u32> {
        match self.state.hook_in_progress(&self.program.plan, activation)?.hook.source {
            HookSource::Plan(number) => self.program.hook_stacks.get(number as usize).copied(),
            HookSource::Engine(number) => {
                let name = &self.state.engine_hooks().get(number as usize)?.name;
                self.program.engine_stacks.get(self.engine.hooks.place_of(name)?).copied()
            }
        }
    }
}

/// In hooks about the execution, the point stands for the step.
fn identity_of(point: HookPoint) -> Option<StepIdentity> {
    let id: StepId = point.key().parse().ok()?;
    let path = StepPath::from(&id);
    Some(StepIdentity::new(id, path, 0))
}

/// The idempotency key of a hook: that of a step with point and place instead of the input, under the word `hook`.
fn key(
    execution: &orchestr8_agent_base::context::ExecutionIdentity,
    path: Option<&StepPath>,
    id: &HookId,
    name: Option<&str>,
) -> String {
    let (workflow, execution) = (&execution.workflow_id, execution.execution_id);
    let path = path.map_or("", StepPath::as_str);
    let point = id.point.key();
    let (depth, place) = match (id.owner, name) {
        (HookOwner::Engine, Some(name)) => (String::new(), format!("engine/{name}")),
        (HookOwner::Workflow { depth: depth @ 1.. }, _) => (format!("@{depth}"), id.index.to_string()),
        _ => (String::new(), id.index.to_string()),
    };
    canonical::sha256_hex(format!("hook\n{workflow}\n{execution}\n{path}\n{point}{depth}\n{place}"))
}

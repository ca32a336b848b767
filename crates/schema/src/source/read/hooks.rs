//! Hooks and compensation.

use super::{Field, Reader};
use crate::workflow::{CompensateOn, Compensation, Hook, HookMode, StepHooks, WorkflowHooks};

impl Reader<'_> {
    pub(super) fn workflow_hooks(&mut self, field: Option<Field<'_>>) -> WorkflowHooks {
        let Some(hooks) = self.object(field) else { return WorkflowHooks::default() };
        let result = WorkflowHooks {
            before_execution: self.hooks(hooks.get("beforeExecution")),
            after_execution: self.hooks(hooks.get("afterExecution")),
            on_error: self.hooks(hooks.get("onError")),
            on_cancel: self.hooks(hooks.get("onCancel")),
            before_step: self.hooks(hooks.get("beforeStep")),
            after_step: self.hooks(hooks.get("afterStep")),
            on_step_error: self.hooks(hooks.get("onStepError")),
        };
        let known =
            ["beforeExecution", "afterExecution", "onError", "onCancel", "beforeStep", "afterStep", "onStepError"];
        self.unknown_keys(&hooks, &known);
        result
    }

    pub(super) fn step_hooks(&mut self, field: Option<Field<'_>>) -> StepHooks {
        let Some(hooks) = self.object(field) else { return StepHooks::default() };
        let result = StepHooks {
            before: self.hooks(hooks.get("before")),
            after: self.hooks(hooks.get("after")),
            on_error: self.hooks(hooks.get("onError")),
        };
        self.unknown_keys(&hooks, &["before", "after", "onError"]);
        result
    }

    fn hooks(&mut self, field: Option<Field<'_>>) -> Vec<Hook> {
        if let Some(field) = field.filter(|field| field.value.is_object()) {
            self.mismatch(field, "a list").help("hooks are a list, even a single one");
            return Vec::new();
        }
        let Some(list) = self.list(field) else { return Vec::new() };
        list.items().filter_map(|item| self.hook(item)).collect()
    }

    fn hook(&mut self, item: Field<'_>) -> Option<Hook> {
        let object = self.object(Some(item))?;
        let call = self.call(&object, "the hook");
        let input = object.get("input").map(|input| input.value.clone());
        let mode = self.choice(object.get("mode"), &[("observer", HookMode::Observer), ("guard", HookMode::Guard)]);
        let timeout = self.duration(object.get("timeout"));
        self.unknown_keys(&object, &["agent", "tool", "input", "mode", "timeout"]);
        Some(Hook { call: call?, input, mode: mode.unwrap_or_default(), timeout })
    }

    pub(super) fn compensate(&mut self, field: Option<Field<'_>>) -> Option<Compensation> {
        let object = self.object(field)?;
        let call = self.call(&object, "the compensation");
        let input = self.object_template(object.get("input"));
        let policies = self.step_policies(object.get("policies"));
        let on = self
            .choice(object.get("on"), &[("completed", CompensateOn::Completed), ("attempt", CompensateOn::Attempt)]);
        self.unknown_keys(&object, &["agent", "tool", "input", "policies", "on"]);
        Some(Compensation { call: call?, input, policies, on: on.unwrap_or_default() })
    }
}

//! Why a step has never come to be: the composite that it stands in was not opened, or took another way.

use orchestr8_schema::{
    StepIndex,
    event::{Activation, EventBody},
};
use serde_json::Value;

use super::Slice;
use crate::machine::State;

impl Slice<'_> {
    /// Explains a step that the workflow has but no activation stands for, and gives its status; absent if the workflow has none
    /// there.
    pub(super) fn unopened(&mut self, path: &str) -> Option<&'static str> {
        let around = self.nearest(path)?;
        let (state, known): (&State, _) = (self.state, self.path(around));
        self.declared(state.steps()[around.get()].step, &path[known.len()..])?;
        let decided = self.last(around, |body| matches!(body, EventBody::BranchDecided { .. }));
        self.seen.insert(around);
        match (decided, state.case_of(self.plan, around)) {
            (Some((sequence, _)), Some(case)) => {
                self.tell_of(0, sequence, format!("{known} took the case {case}, and it stands in another"), around);
                self.turn(around, 1);
            }
            _ => {
                let text = format!("{known}, which it stands in, {} and has not opened it", self.became(around));
                let end = self.end(around);
                self.tell_all(0, end.as_slice(), text, Some(known));
                self.course(around, 1);
            }
        }
        let over = state.steps()[around.get()].phase.is_terminal() || decided.is_some();
        Some(if over { "skipped" } else { "pending" })
    }

    /// Finds a step by the rest of its path inside of a composite.
    fn declared(&self, composite: StepIndex, mut rest: &str) -> Option<StepIndex> {
        let mut step = composite;
        while !rest.is_empty() {
            rest = behind_number(rest)?.strip_prefix('.')?;
            let (id, deeper) = rest.split_at(rest.find(['.', '[', '#']).unwrap_or(rest.len()));
            let scopes = self.plan.scopes_inside(step).into_iter();
            let mut inside = scopes.flat_map(|scope| &self.plan.scopes()[scope.get()].steps);
            step = *inside.find(|inner| self.plan.steps()[inner.get()].id.as_str() == id)?;
            rest = deeper;
        }
        Some(step)
    }

    /// The innermost activation that a path goes through.
    fn nearest(&self, path: &str) -> Option<Activation> {
        let all = (0..self.state.steps().len() as u32).map(Activation);
        let around = all.map(|activation| (self.path(activation), activation)).filter(|(outer, _)| {
            path.strip_prefix(outer.as_str()).is_some_and(|rest| rest.starts_with(['.', '[', '#']))
        });
        around.max_by_key(|(outer, _)| outer.len()).map(|(_, activation)| activation)
    }
}

/// What comes behind the item of a map or the iteration of a loop, if the path goes through one.
fn behind_number(path: &str) -> Option<&str> {
    if let Some(rest) = path.strip_prefix('#') {
        return Some(rest.trim_start_matches(|digit: char| digit.is_ascii_digit()));
    }
    let Some(rest) = path.strip_prefix('[') else { return Some(path) };
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    values.next()?.ok()?;
    rest.get(values.byte_offset()..)?.strip_prefix(']')
}

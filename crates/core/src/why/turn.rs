//! Why the turn of a step came: what it depended on, and the way that led to it.

use orchestr8_schema::{
    event::{Activation, EventBody, Reuse},
    validate::ValidKind,
    workflow::Condition,
};

use super::Slice;
use crate::machine::Phase;

impl Slice<'_> {
    /// Tells why the turn of a step came, if it did.
    pub(super) fn turn(&mut self, activation: Activation, depth: u32) {
        let Some(scheduled) = self.scheduled(activation) else { return };
        let reopened = self.about(activation).next();
        if let Some((sequence, EventBody::ExecutionReopened(_))) = reopened {
            self.tell(depth, sequence, "the execution had failed and was reopened, and it had not completed");
        }
        let verdict = match self.state.steps()[activation.get()].reuse {
            None | Some(Reuse::Reused) => None,
            Some(Reuse::InputChanged) => Some("its input is another than there"),
            Some(Reuse::CalleeChanged) => Some("what it calls is another than there"),
            Some(Reuse::VersionChanged) => Some("its agent has another version than there"),
            Some(Reuse::ConfigChanged) => Some("its configuration is another than there"),
        };
        if let Some(verdict) = verdict {
            let text =
                format!("the result of the execution that it was forked from could not be taken over: {verdict}");
            self.tell(depth, scheduled, text);
        }
        if let Some(served) = self.planned(activation).serves.map(|served| self.beside(activation, served)) {
            let called = self.last(served, |body| matches!(body, EventBody::StepFallback { .. }));
            if let Some((sequence, _)) = called {
                let text = format!("it stands in for {}, which failed", self.path(served));
                self.tell_of(depth, sequence, text, served);
                self.follow(served, depth + 1);
            }
        }
        self.dependencies(activation, depth);
        if let Some(condition) = self.condition(activation) {
            self.tell(depth, scheduled, format!("its condition held: {condition}"));
        }
        self.route(activation, depth);
    }

    /// The sequence of the event that tells of a step's turn.
    pub(super) fn scheduled(&self, activation: Activation) -> Option<u64> {
        self.last(activation, |body| matches!(body, EventBody::StepScheduled { .. })).map(|(sequence, _)| sequence)
    }

    /// Tells what has become of the steps that a step depends on.
    pub(super) fn dependencies(&mut self, activation: Activation, depth: u32) {
        let step = self.state.steps()[activation.get()].step;
        let unit = self.plan.unit_of(step);
        let needed = self.plan.valid_step(step).dependencies.iter().map(|other| unit.global(*other));
        let needed: Vec<_> = needed.map(|other| self.beside(activation, other)).collect();
        let ended: Vec<_> = needed.into_iter().filter_map(|other| Some((other, self.end(other)?))).collect();
        let alike = ended.iter().all(|(other, _)| self.state.steps()[other.get()].phase == Phase::Completed);
        match ended[..] {
            [] => {}
            [_, _, ..] if alike => {
                let mut sequences: Vec<_> = ended.iter().map(|(_, end)| *end).collect();
                sequences.sort_unstable();
                let names: Vec<_> = ended.iter().map(|(other, _)| self.path(*other)).collect();
                let text = format!("its dependencies {} completed", listed(&names));
                self.tell_all(depth, &sequences, text, None);
            }
            _ => {
                for (other, end) in ended {
                    let text = format!("its dependency {} {}", self.path(other), self.became(other));
                    self.tell_of(depth, end, text, other);
                }
            }
        }
    }

    /// Tells the way that led into the composites that a step stands in, the inner ones first.
    fn route(&mut self, activation: Activation, depth: u32) {
        let mut inner = activation;
        while let Some(around) = self.state.parent_of(inner) {
            let (path, number) = (self.path(around), self.state.number_of(inner));
            let step = self.state.steps()[around.get()].step;
            let (decided, text) = match &self.plan.valid_step(step).kind {
                ValidKind::Branch(_) => {
                    let case = self.state.case_of(self.plan, around).unwrap_or_default();
                    let decided = self.last(around, |body| matches!(body, EventBody::BranchDecided { .. }));
                    (decided, format!("{path} took the case {case}"))
                }
                ValidKind::Map(_) => {
                    let opened = self.last(around, |body| matches!(body, EventBody::MapOpened { .. }));
                    let total = match opened {
                        Some((_, EventBody::MapOpened { items, .. })) => items.items.len(),
                        _ => 0,
                    };
                    (opened, format!("{path} runs it for item {number} of {total}, counted from 0"))
                }
                ValidKind::Loop(_) => {
                    let decided = self.last(
                        around,
                        |body| matches!(body, EventBody::LoopDecided { decision, .. } if decision.index == number),
                    );
                    (decided, format!("{path} went into iteration {number}, counted from 0"))
                }
                _ => {
                    let opened = self.last(around, |body| matches!(body, EventBody::StepStarted { .. }));
                    (opened, format!("{path}, which it stands in, was opened"))
                }
            };
            if let Some((sequence, _)) = decided {
                self.tell_of(depth, sequence, text, around);
            }
            inner = around;
        }
    }

    /// The condition of a step as its author wrote it.
    pub(super) fn condition(&self, activation: Activation) -> Option<String> {
        let step = self.state.steps()[activation.get()].step;
        Some(match self.plan.declaration(step).condition.as_ref()? {
            Condition::Predicates { if_, unless } => {
                let parts = [
                    if_.as_ref().map(|text| format!("if {text}")),
                    unless.as_ref().map(|text| format!("unless {text}")),
                ];
                parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
            }
            Condition::Comparison(comparison) => {
                let value = |value: &serde_json::Value| serde_json::to_string(value).unwrap_or_default();
                let operator = serde_json::to_value(comparison.operator).unwrap_or_default();
                let operator = operator.as_str().unwrap_or_default();
                format!("{} {operator} {}", comparison.expression, value(&comparison.value))
            }
        })
    }
}

/// Names the first of many.
fn listed(names: &[String]) -> String {
    const MOST: usize = 5;
    let rest = names.len().saturating_sub(MOST);
    let first = names[..names.len().min(MOST)].join(", ");
    if rest > 0 { format!("{first} and {rest} more") } else { first }
}

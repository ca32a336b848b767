//! What readers wait for: references to steps become edges, or problems.

use super::{Checking, graph::Edges};
use crate::{
    Code, StepIndex,
    expression::compile::{Reference, Target},
};

impl Checking<'_> {
    /// Turns references to steps into soft edges, or reports them.
    pub(super) fn step_references(&mut self, references: &[Reference]) {
        let order = self.graph.order(Edges::Hard);
        let all: Vec<(StepIndex, StepIndex, &Reference)> = references
            .iter()
            .filter_map(|reference| match reference.target {
                Target::Step { step, waits } => Some((waits, step, reference)),
                Target::Variable(_) | Target::Variables => None,
            })
            .collect();
        let pairs: Vec<_> = all.iter().map(|(waits, step, _)| (*waits, *step)).collect();
        let before = self.graph.come_before(&pairs, &order, Edges::Hard);
        for ((waits, step, reference), before) in all.into_iter().zip(before) {
            if !before {
                self.edge(waits, step, reference, None);
            }
        }
    }

    /// Adds a soft edge, or reports that the reference needs a dependency.
    pub(super) fn edge(&mut self, waits: StepIndex, target: StepIndex, reference: &Reference, variable: Option<&str>) {
        if reference.soft {
            if !self.graph.is_fallback_of(waits, target) {
                self.graph.soft[waits.get()].push(target);
            }
            return;
        }
        let outline = self.names.outline;
        let (own, other) = (&outline.step(waits).id, &outline.step(target).id);
        let reader = reference.view.reader.unwrap_or(waits);
        let id = &outline.step(reader).id;
        let what = variable.map_or_else(|| format!("`{other}`"), |name| format!("`variables.{name}` of `{other}`"));
        let problem = if target == reader {
            let message = format!("`{id}` reads its own output");
            self.problems.report(Code::NotADependency, &reference.path, message).label("there is none yet")
        } else if target == waits {
            let message = format!("`{id}` reads {what}, which holds it");
            self.problems.report(Code::NotADependency, &reference.path, message).label("there is no output yet")
        } else if self.graph.is_fallback_of(waits, target) {
            let message = format!("`{id}` reads {what} without depending on it");
            self.problems
                .report(Code::NotADependency, &reference.path, message)
                .label(format!("`{own}` stands in for it, and cannot depend on it"))
                .help("give a default with `??`")
        } else {
            let message = format!("`{id}` reads {what} without depending on it");
            self.problems
                .report(Code::NotADependency, &reference.path, message)
                .label(format!("`{other}` may not have finished yet"))
                .help(format!("add `{other}` to `dependencies` of `{own}`, or give a default with `??`"))
        };
        problem.within(reference.range.clone());
    }
}

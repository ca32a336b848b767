//! Ids, dependencies and fallbacks.

use std::collections::HashSet;

use indexmap::IndexMap;

use super::{
    graph::Graph,
    outline::{Outline, index},
};
use crate::{
    Code, StepIndex,
    policy::OnError,
    problem::{At, Problems},
};

/// Checks ids, dependencies and fallbacks, and returns what exists of them.
///
/// Steps that are stand-ins are known by name and otherwise left alone.
pub(super) fn check<'w>(outline: &Outline<'w>, problems: &mut Problems) -> (IndexMap<&'w str, StepIndex>, Graph) {
    let mut ids: IndexMap<&str, StepIndex> = IndexMap::with_capacity(outline.steps.len());
    for (index, placed) in outline.iter() {
        let id = placed.step.id.as_str();
        if ids.contains_key(id) {
            let path = format!("{}/id", outline.pointer(index));
            problems.report(Code::DuplicateStep, path, format!("`{id}` is used twice")).help("rename one");
        } else {
            ids.insert(id, index);
        }
    }
    let mut graph = Graph::new(outline);
    for (index, placed) in outline.iter() {
        if placed.step.dependencies.is_empty()
            && placed.step.fallback_step_id.is_none()
            && placed.step.on_error != OnError::Fallback
        {
            continue;
        }
        let pointer = outline.pointer(index);
        let mut links = Links { outline, ids: &ids, step: index, problems };
        graph.hard[index.get()] = links.dependencies(&At::pointer(&pointer));
        if !placed.broken {
            graph.fallback[index.get()] = links.fallback(&At::pointer(&pointer));
        }
    }
    for (index, _) in outline.iter() {
        let Some(fallback) = graph.fallback[index.get()] else { continue };
        match graph.serves[fallback.get()] {
            Some(served) => {
                let message = format!("`{}` already serves `{}`", outline.step(fallback).id, outline.step(served).id);
                let path = format!("{}/fallbackStepId", outline.pointer(index));
                problems.report(Code::SharedFallback, path, message).help("add another step");
                graph.fallback[index.get()] = None;
            }
            None => graph.serves[fallback.get()] = Some(index),
        }
    }
    fallback_cycles(outline, &mut graph, problems);
    graph.number_chains();
    (ids, graph)
}

/// The links of one step to others of its scope.
struct Links<'a, 'w> {
    outline: &'a Outline<'w>,
    ids: &'a IndexMap<&'w str, StepIndex>,
    step: StepIndex,
    problems: &'a mut Problems,
}

impl Links<'_, '_> {
    fn dependencies(&mut self, at: &At<'_>) -> Vec<StepIndex> {
        let step = self.outline.step(self.step);
        let list = at.key("dependencies");
        let mut found = Vec::with_capacity(step.dependencies.len());
        let mut seen = HashSet::with_capacity(step.dependencies.len());
        for (index, id) in step.dependencies.iter().enumerate() {
            let at = list.index(index);
            if *id == step.id {
                self.problems.report(Code::SelfDependency, at, format!("`{id}` depends on itself")).help("remove it");
            } else if !seen.insert(id) {
                self.problems
                    .report(Code::DuplicateDependency, at, format!("`{id}` is listed twice"))
                    .help("remove one");
            } else if let Some(dependency) = self.ids.get(id.as_str()) {
                found.extend(self.in_scope(*dependency, &at, Code::OtherScope));
            } else {
                self.unknown(id.as_str(), &at, Code::UnknownDependency);
            }
        }
        found
    }

    fn fallback(&mut self, at: &At<'_>) -> Option<StepIndex> {
        let step = self.outline.step(self.step);
        let key = at.key("fallbackStepId");
        match (&step.fallback_step_id, step.on_error) {
            (None, OnError::Fallback) => {
                self.problems
                    .report(Code::Fallback, at.key("onError"), "`fallback` needs fallbackStepId")
                    .help("name the step that stands in");
                None
            }
            (None, _) => None,
            (Some(_), OnError::Fail | OnError::Continue | OnError::Retry) => {
                self.problems
                    .report(Code::Fallback, key, "fallbackStepId without `onError: fallback`")
                    .on_key()
                    .help("add `onError: fallback`, or remove it");
                None
            }
            (Some(id), OnError::Fallback) if *id == step.id => {
                self.problems
                    .report(Code::Fallback, key, format!("`{id}` is its own fallback"))
                    .help("name another step");
                None
            }
            (Some(id), OnError::Fallback) => match self.ids.get(id.as_str()) {
                Some(found) => self.in_scope(*found, &key, Code::Fallback),
                None => {
                    self.unknown(id.as_str(), &key, Code::Fallback);
                    None
                }
            },
        }
    }

    fn unknown(&mut self, id: &str, at: &At<'_>, code: Code) {
        let own = self.outline.scope_of(self.step);
        let siblings = self.outline.scopes[own.get()].steps.iter().filter(|other| **other != self.step);
        let help = self.problems.did_you_mean(id, siblings.map(|other| self.outline.step(*other).id.as_str()));
        let problem = self.problems.report(code, at, format!("no step `{id}`"));
        if let Some(help) = help {
            problem.help(help);
        }
    }

    /// Reports a step that stands in another scope.
    fn in_scope(&mut self, other: StepIndex, at: &At<'_>, code: Code) -> Option<StepIndex> {
        let outline = self.outline;
        let (own, scope) = (outline.scope_of(self.step), outline.scope_of(other));
        if own == scope {
            return Some(other);
        }
        let id = &outline.step(other).id;
        let place = outline.name(scope);
        let beside = outline.lift(other, own).filter(|beside| *beside != self.step);
        let message = match place {
            Some(place) => format!("`{id}` is inside `{place}`"),
            None => format!("`{id}` is outside of this scope"),
        };
        let help = match (beside, outline.name(own)) {
            (Some(beside), _) if code == Code::OtherScope => format!("depend on `{}`", outline.step(beside).id),
            (_, Some(around)) if outline.is_within(own, scope) && code == Code::OtherScope => {
                let around = around.split('.').next().unwrap_or_default();
                format!("add it to `dependencies` of `{around}`, which holds this step")
            }
            _ => "name a step of the same scope".to_owned(),
        };
        self.problems.report(code, at, message).help(help);
        None
    }
}

/// Reports fallbacks that end in each other, and takes them out of the graph.
fn fallback_cycles(outline: &Outline<'_>, graph: &mut Graph, problems: &mut Problems) {
    // 0 unseen, otherwise the walk that came by. Each step serves one other at most, so walks never meet but on cycles.
    let mut seen = vec![0_usize; graph.len()];
    for start in 0..graph.len() {
        let mut at = start;
        while seen[at] == 0 {
            seen[at] = start + 1;
            match graph.fallback[at] {
                Some(next) => at = next.get(),
                None => break,
            }
        }
        if seen[at] != start + 1 || graph.fallback[at].is_none() {
            continue;
        }
        let mut names = Vec::new();
        let mut next = at;
        while let Some(fallback) = graph.fallback[next].take() {
            names.push(outline.steps[next].step.id.as_str());
            graph.serves[fallback.get()] = None;
            next = fallback.get();
        }
        let first = names.first().copied().unwrap_or_default();
        let message = format!("fallbacks form a cycle: {} → {first}", names.join(" → "));
        let path = format!("{}/fallbackStepId", outline.pointer(StepIndex(index(at))));
        problems.report(Code::FallbackCycle, path, message).help("end the chain");
    }
}

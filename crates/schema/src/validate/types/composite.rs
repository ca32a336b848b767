//! Steps with steps inside: what these see, and what the whole gives.

use serde_json::Value;

use super::{
    Checker, Cx, Report,
    frame::{End, StepRef},
    template::Wanted,
};
use crate::{
    Code,
    problem::At,
    types::{Type, Verdict},
    workflow::{
        BranchStep, Join, LoopCondition, LoopStep, MapStep, OnItemError, OnLimit, ParallelStep, StepKind, WorkflowStep,
    },
};

/// How often a body is looked at until the type of its value does not change any more.
const MAX_ROUNDS: usize = 3;
/// How often bodies are looked at again in the whole workflow.
const MAX_PASSES: usize = 200;

impl<'w> Checker<'w> {
    /// Checks a composite step and returns what it gives, before its schema.
    pub(super) fn composite(&mut self, step: StepRef, at: &At<'_>) -> Type {
        let declared = self.step(step);
        let value = declared.output.as_ref().and_then(|output| output.value.as_ref());
        let (default, inner) = match &declared.kind {
            StepKind::Parallel(parallel) => self.parallel(parallel, step, &at.key("parallel")),
            StepKind::Branch(branch) => self.branch(branch, step, &at.key("branch")),
            StepKind::Map(map) => (self.map(map, step, &at.key("map")), None),
            StepKind::Loop(looped) => (self.loop_(looped, step, &at.key("loop")), None),
            StepKind::Workflow(workflow) => (self.sub_workflow(workflow, step, &at.key("workflow")), None),
            _ => (Type::ANY, None),
        };
        let Some(value) = value else { return default };
        let output_at = at.key("output");
        let frame = match inner {
            Some(frame) => frame,
            // Of a map or loop only the result as a whole is left.
            None => {
                let frame = self.open(Some(step), &[], String::new(), End::Some);
                self.frames[frame].bindings = vec![("self", Type::record([("output".to_owned(), default, true)]))];
                frame
            }
        };
        self.template(value, &output_at.key("value"), Cx { frame, step: None }, None)
    }

    fn sub_workflow(&mut self, workflow: &WorkflowStep, step: StepRef, at: &At<'_>) -> Type {
        let cx = Cx { frame: step.frame, step: Some(step.step) };
        let child = self.children.get(self.step(step).id.as_str()).copied();
        let inputs = child.and_then(|child| child.inputs()).map(|inputs| Type::of_given_inputs(inputs.schema()));
        let inputs = inputs.unwrap_or_else(Type::any_object);
        let by = format!("`{}`", workflow.reference);
        let wanted = Wanted { of: &inputs, by: &by };
        match (&workflow.input, self.served_input(step, workflow.input.is_null())) {
            (Value::Null, Some(input)) => self.inherited(&input, Some(wanted), at),
            // None is written, so the reference is what can be pointed at.
            (Value::Null, None) => {
                self.template(&Value::Object(serde_json::Map::new()), at, cx, Some(wanted));
            }
            (input, _) => {
                self.template(input, &at.key("input"), cx, Some(wanted));
            }
        }
        let Some(child) = child else { return Type::unknown("it could not be loaded") };
        if child.unproven().is_none_or(|unproven| !unproven.is_empty()) {
            self.note(at, format!("all of {by}"));
        }
        child.0.outputs_type.clone().unwrap_or(Type::ANY)
    }

    fn parallel(&mut self, parallel: &'w ParallelStep, step: StepRef, at: &At<'_>) -> (Type, Option<usize>) {
        let end = if parallel.join == Join::All { End::AllSettled } else { End::Some };
        let frame = self.open(Some(step), &parallel.steps, at.key("steps").to_string(), end);
        self.steps(frame);
        (self.by_id(frame), Some(frame))
    }

    fn branch(&mut self, branch: &'w BranchStep, step: StepRef, at: &At<'_>) -> (Type, Option<usize>) {
        let cx = Cx { frame: step.frame, step: Some(step.step) };
        let cases = at.key("cases");
        let mut frames = Vec::new();
        for (index, case) in branch.cases.iter().enumerate() {
            let at = cases.index(index);
            self.condition_text(&case.when, &at.key("when"), cx);
            frames.push(self.open(Some(step), &case.steps, at.key("steps").to_string(), End::AllSettled));
        }
        if let Some(default) = &branch.default {
            let at = at.key("default");
            frames.push(self.open(Some(step), &default.steps, at.key("steps").to_string(), End::AllSettled));
        }
        let mut of: Option<Type> = None;
        for frame in &frames {
            self.steps(*frame);
            let one = self.by_id(*frame);
            of = Some(match of {
                Some(others) => others.or(one),
                None => one,
            });
        }
        let whole = self.open(Some(step), &[], String::new(), End::Some);
        self.frames[whole].also = frames;
        (of.unwrap_or(Type::ANY), Some(whole))
    }

    /// Returns the object of the steps' outputs by id.
    pub(super) fn by_id(&mut self, frame: usize) -> Type {
        let steps = self.frames[frame].steps;
        let fields: Vec<_> = (0..steps.len())
            .map(|step| {
                let of = self.output(StepRef { frame, step });
                (steps[step].id.to_string(), of, self.frames[frame].is_certain(step))
            })
            .collect();
        Type::record(fields)
    }

    fn map(&mut self, map: &'w MapStep, step: StepRef, at: &At<'_>) -> Type {
        let outer = Cx { frame: step.frame, step: Some(step.step) };
        let items_at = at.key("items");
        let items = self.template(&map.items, &items_at, outer, None);
        let list = Type::array_of(Type::ANY, 0);
        match list.accepts(&items) {
            Verdict::Proven => {}
            Verdict::Unproven(why) => self.note(items_at, format!("whether it is an array: {why}")),
            Verdict::Refuted(_) => {
                let message = format!("expected an array, found {items}");
                let help = items.is_nullable().then(|| "give a default: `${… ?? []}`".to_owned());
                self.report(Report::new(Code::TypeMismatch, &items_at, message).help(help));
            }
        }
        let item = items.elements().unwrap_or(Type::ANY);
        let path = at.key("steps").to_string();
        let bindings = vec![(map.item.as_str(), item), (map.index.as_str(), Type::integer())];
        if let Some(key) = &map.key {
            let frame = self.open(Some(step), &[], String::new(), End::Some);
            self.frames[frame].bindings.clone_from(&bindings);
            let of = self.template(key, &at.key("key"), Cx { frame, step: None }, None);
            let wanted = Type::text().or(Type::integer());
            match wanted.accepts(&of) {
                Verdict::Proven => {}
                Verdict::Unproven(why) => self.note(at.key("key"), format!("whether it is text or an integer: {why}")),
                Verdict::Refuted(_) => {
                    let message = format!("expected {wanted}, found {of}");
                    self.report(Report::new(Code::TypeMismatch, &at.key("key"), message));
                }
            }
        }
        let Some(accumulator) = &map.accumulator else {
            let frame = self.open(Some(step), &map.steps, path, End::AllSettled);
            self.frames[frame].bindings = bindings;
            self.steps(frame);
            let each = match &map.output {
                Some(value) => self.template(value, &at.key("output"), Cx { frame, step: None }, None),
                None => self.by_id(frame),
            };
            let each = match map.on_item_error {
                OnItemError::Continue => each.or(Type::record([("error".to_owned(), Type::failure(), true)])),
                OnItemError::Fail | OnItemError::Skip => each,
            };
            return Type::array_of(each, 0);
        };
        let accumulator_at = at.key("accumulator");
        let init = self.template(&accumulator.init, &accumulator_at.key("init"), outer, None);
        self.settle(init, |checker, running| {
            let frame = checker.open(Some(step), &map.steps, path.clone(), End::AllSettled);
            checker.frames[frame].bindings.clone_from(&bindings);
            checker.frames[frame].bindings.push(("accumulator", running));
            checker.steps(frame);
            if let Some(value) = &map.output {
                checker.template(value, &at.key("output"), Cx { frame, step: None }, None);
            }
            checker.template(&accumulator.value, &accumulator_at.key("value"), Cx { frame, step: None }, None)
        })
    }

    fn loop_(&mut self, looped: &'w LoopStep, step: StepRef, at: &At<'_>) -> Type {
        let outer = Cx { frame: step.frame, step: Some(step.step) };
        let init = self.template(&looped.init, &at.key("init"), outer, None);
        let path = at.key("steps").to_string();
        let condition_at = at.key(looped.condition.key());
        let shown = |value: Type| {
            Type::record([("index".to_owned(), Type::integer(), true), ("value".to_owned(), value, true)])
        };
        let value = self.settle(init, |checker, running| {
            let frame = checker.open(Some(step), &looped.steps, path.clone(), End::AllSettled);
            checker.frames[frame].bindings = vec![("loop", shown(running.clone()))];
            if let LoopCondition::While(text) = &looped.condition {
                // No iteration has run yet, so the body is not seen.
                let before = checker.open(Some(step), &[], String::new(), End::Some);
                checker.frames[before].bindings = vec![("loop", shown(running))];
                checker.condition_text(text, &condition_at, Cx { frame: before, step: None });
            }
            checker.steps(frame);
            let value = match &looped.value {
                Some(value) => checker.template(value, &at.key("value"), Cx { frame, step: None }, None),
                None => checker.by_id(frame),
            };
            if let LoopCondition::Until(text) = &looped.condition {
                checker.frames[frame].bindings = vec![("loop", shown(value.clone()))];
                checker.condition_text(text, &condition_at, Cx { frame, step: None });
            }
            value
        });
        let reasons = match looped.on_limit {
            OnLimit::Fail => vec!["condition"],
            OnLimit::Accept => vec!["condition", "limit"],
        };
        let reason = reasons.into_iter().map(|reason| Type::of_value(&Value::from(reason))).reduce(Type::or);
        Type::record([
            ("value".to_owned(), value, true),
            ("iterations".to_owned(), Type::integer(), true),
            ("reason".to_owned(), reason.unwrap_or_else(Type::text), true),
        ])
    }

    /// Finds a type that a value keeps while a body runs again and again: the body is looked at until what comes out belongs to
    /// what went in, and then once more, to report what is wrong in it.
    fn settle(&mut self, init: Type, mut body: impl FnMut(&mut Self, Type) -> Type) -> Type {
        let mut running = init;
        let mut settled = false;
        for _ in 0..MAX_ROUNDS {
            if self.passes == MAX_PASSES {
                break;
            }
            self.passes += 1;
            self.silent += 1;
            let frames = self.frames.len();
            let next = body(self, running.clone());
            self.frames.truncate(frames);
            self.silent -= 1;
            if matches!(running.accepts(&next), Verdict::Proven) {
                settled = true;
                break;
            }
            running = running.or(next);
        }
        if !settled {
            running = Type::unknown("it changes its type from round to round");
        }
        body(self, running.clone());
        running
    }
}

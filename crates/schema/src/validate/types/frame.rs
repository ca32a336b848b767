//! Scopes: which steps and names a place sees, and whether a step that is read has an output by then.

use std::collections::{HashMap, HashSet};

use super::{Checker, Cx};
use crate::{Step, policy::OnError, types::Type, workflow::Capture};

/// The most steps that are visited to learn whether one comes before another.
const MAX_VISITS: usize = 2_000;
/// The most steps that are looked at on account of each other: composites of what is inside, readers of what they read.
const MAX_DEPTH: usize = 40;

/// A list of steps that see each other.
pub(super) struct Frame<'w> {
    /// The step that the list belongs to.
    parent: Option<(usize, usize)>,
    pub(super) steps: &'w [Step],
    /// Where the list stands, a JSON pointer.
    pub(super) path: String,
    /// Frames whose steps are seen, too: the cases of a branch, where its output is made.
    pub(super) also: Vec<usize>,
    end: End,
    /// Names beside the roots that everybody sees.
    pub(super) bindings: Vec<(&'w str, Type)>,
    index: HashMap<&'w str, usize>,
    /// For a fallback step, the one that it serves.
    pub(super) serves: Vec<Option<usize>>,
    /// Which steps have completed or been recovered when all went well.
    certain: Vec<bool>,
    /// What a step gives, once that is known.
    outputs: Vec<Output>,
    /// What an agent step passes on to its agent.
    pub(super) inputs: Vec<Option<Type>>,
    pub(super) order: Vec<usize>,
    /// Whether its steps are only looked at, and will be checked another time.
    silent: usize,
}

/// What is known of the steps when their scope has ended well.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum End {
    /// None of them has failed for good.
    AllSettled,
    /// Some have completed; the others may have been cancelled.
    Some,
}

#[derive(Clone)]
enum Output {
    Todo,
    Doing,
    Done(Type),
}

/// A step, by its frame and its place there.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct StepRef {
    pub(super) frame: usize,
    pub(super) step: usize,
}

/// Whether a value is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Presence {
    Always,
    Sometimes,
}

impl<'w> Checker<'w> {
    /// Makes the frame of a list of steps.
    pub(super) fn open(&mut self, parent: Option<StepRef>, steps: &'w [Step], path: String, end: End) -> usize {
        let mut index = HashMap::with_capacity(steps.len());
        for (place, step) in steps.iter().enumerate() {
            index.entry(step.id.as_str()).or_insert(place);
        }
        let mut serves = vec![None; steps.len()];
        for (place, step) in steps.iter().enumerate() {
            let fallback = step.fallback_step_id.as_ref().and_then(|id| index.get(id.as_str()));
            if let Some(serves) = fallback.and_then(|fallback| serves.get_mut(*fallback)) {
                *serves = Some(place);
            }
        }
        let order = order(steps, &index);
        let mut certain = vec![false; steps.len()];
        for place in &order {
            let step = &steps[*place];
            certain[*place] = step.condition.is_none()
                && step.on_error != OnError::Continue
                && serves[*place].is_none()
                && step.dependencies.iter().all(|id| index.get(id.as_str()).is_some_and(|other| certain[*other]));
        }
        self.frames.push(Frame {
            parent: parent.map(|parent| (parent.frame, parent.step)),
            steps,
            path,
            also: Vec::new(),
            end,
            bindings: Vec::new(),
            index,
            serves,
            certain,
            outputs: vec![Output::Todo; steps.len()],
            inputs: vec![None; steps.len()],
            order,
            silent: self.silent,
        });
        self.frames.len() - 1
    }

    /// Makes a frame for what is called around the steps of another: it sees them, whatever has become of them, and an unknown
    /// `self`.
    pub(super) fn open_around(&mut self, steps: usize) -> usize {
        let frame = self.open(None, &[], String::new(), End::Some);
        self.frames[frame].also = vec![steps];
        self.frames[frame].bindings = vec![("self", Type::ANY)];
        frame
    }

    /// Finds a step by its id, from a frame outwards.
    pub(super) fn find(&self, frame: usize, id: &str) -> Option<StepRef> {
        let mut next = Some(frame);
        while let Some(frame) = next {
            let here = &self.frames[frame];
            if let Some(step) = here.index.get(id) {
                return Some(StepRef { frame, step: *step });
            }
            for also in &here.also {
                if let Some(step) = self.frames[*also].index.get(id) {
                    return Some(StepRef { frame: *also, step: *step });
                }
            }
            next = here.parent.map(|(frame, _)| frame);
        }
        None
    }

    /// Finds the type of a name beside the roots, from a frame outwards.
    pub(super) fn binding(&self, frame: usize, name: &str) -> Option<Type> {
        let mut next = Some(frame);
        while let Some(frame) = next {
            let here = &self.frames[frame];
            if let Some((_, of)) = here.bindings.iter().rev().find(|(known, _)| *known == name) {
                return Some(of.clone());
            }
            next = here.parent.map(|(frame, _)| frame);
        }
        None
    }

    pub(super) fn step(&self, step: StepRef) -> &'w Step {
        &self.frames[step.frame].steps[step.step]
    }

    /// Returns what a step gives, and that of its fallback if that may stand in for it.
    pub(super) fn output(&mut self, step: StepRef) -> Type {
        let own = self.look_at(step);
        let declared = self.step(step);
        let frame = &self.frames[step.frame];
        let fallback = declared.fallback_step_id.as_ref().filter(|_| declared.on_error == OnError::Fallback);
        match fallback.and_then(|id| frame.index.get(id.as_str()).copied()) {
            Some(fallback) if fallback != step.step && self.depth < MAX_DEPTH => {
                self.depth += 1;
                let other = self.output(StepRef { frame: step.frame, step: fallback });
                self.depth -= 1;
                own.or(other)
            }
            Some(_) => Type::unknown("its fallbacks are too many"),
            None => own,
        }
    }

    /// Checks a step unless that has been done, and returns what it gives itself.
    pub(super) fn look_at(&mut self, step: StepRef) -> Type {
        match &self.frames[step.frame].outputs[step.step] {
            Output::Done(own) => return own.clone(),
            Output::Doing => return Type::unknown("it depends on itself"),
            Output::Todo => {}
        }
        if self.depth == MAX_DEPTH {
            let path = format!("{}/{}", self.frames[step.frame].path, step.step);
            self.note(path, "the step: too many others hang on it");
            return Type::unknown("the steps that it reads are too many");
        }
        self.depth += 1;
        self.frames[step.frame].outputs[step.step] = Output::Doing;
        // Whoever only looks may be the first one who comes to a step further out.
        let silent = std::mem::replace(&mut self.silent, self.frames[step.frame].silent);
        let own = self.check_step(step);
        self.silent = silent;
        self.frames[step.frame].outputs[step.step] = Output::Done(own.clone());
        self.depth -= 1;
        own
    }

    /// Answers whether a step has an output when something reads it.
    pub(super) fn presence(&self, reader: Cx, target: StepRef, has_default: bool) -> Presence {
        let mut frame = reader.frame;
        let mut step = reader.step;
        while frame != target.frame {
            if self.frames[frame].also.contains(&target.frame) {
                return Presence::Sometimes;
            }
            let Some((outer, composite)) = self.frames[frame].parent else { return Presence::Sometimes };
            (frame, step) = (outer, Some(composite));
        }
        let here = &self.frames[frame];
        let Some(step) = step else {
            let certain = here.end == End::AllSettled && here.certain[target.step];
            return if certain { Presence::Always } else { Presence::Sometimes };
        };
        // A fallback that was not needed satisfies its dependents, without an output.
        if here.serves[target.step].is_some() {
            return Presence::Sometimes;
        }
        let id = &here.steps[target.step].id;
        if here.steps[step].dependencies.contains(id) {
            return Presence::Always;
        }
        // An earlier stage has seen to it that what is read without a default comes before.
        if !has_default && here.serves.iter().all(Option::is_none) {
            return Presence::Always;
        }
        if here.comes_before(target.step, step) { Presence::Always } else { Presence::Sometimes }
    }

    /// Finds the captures of a variable that a place may see: the steps, and the paths in their outputs.
    pub(super) fn captures(&self, cx: Cx, variable: &str) -> Vec<(StepRef, String)> {
        let mut found = Vec::new();
        let mut next = Some(cx.frame);
        while let Some(frame) = next {
            let here = &self.frames[frame];
            for (step, declared) in here.steps.iter().enumerate() {
                let path = match declared.output.as_ref().and_then(|output| output.capture.as_ref()) {
                    Some(Capture::Fields(names)) => names.iter().find(|name| *name == variable),
                    Some(Capture::Paths(paths)) => paths.get(variable),
                    None => None,
                };
                found.extend(path.map(|path| (StepRef { frame, step }, path.clone())));
            }
            next = here.parent.map(|(frame, _)| frame);
        }
        found
    }
}

impl Frame<'_> {
    /// Whether it is that of the workflow itself.
    pub(super) fn is_root(&self) -> bool {
        self.parent.is_none()
    }

    /// Whether a step has been looked at.
    pub(super) fn is_known(&self, step: usize) -> bool {
        matches!(self.outputs[step], Output::Done(_))
    }

    pub(super) fn is_certain(&self, step: usize) -> bool {
        self.end == End::AllSettled && self.certain[step]
    }

    /// Whether one step has completed whenever another starts. Ways over fallback steps do not count: one that was not needed
    /// says nothing of what it depends on.
    fn comes_before(&self, target: usize, reader: usize) -> bool {
        let mut seen = HashSet::from([reader]);
        let mut todo = vec![reader];
        while let Some(step) = todo.pop() {
            if seen.len() > MAX_VISITS {
                return false;
            }
            for id in &self.steps[step].dependencies {
                let Some(other) = self.index.get(id.as_str()).copied() else { continue };
                if other == target {
                    return true;
                }
                if self.serves[other].is_none() && seen.insert(other) {
                    todo.push(other);
                }
            }
        }
        false
    }
}

/// Orders steps so that each comes behind its dependencies; those on cycles are left out.
fn order(steps: &[Step], index: &HashMap<&str, usize>) -> Vec<usize> {
    let mut waiting = vec![0_usize; steps.len()];
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
    for (place, step) in steps.iter().enumerate() {
        for other in step.dependencies.iter().filter_map(|id| index.get(id.as_str())) {
            waiting[place] += 1;
            dependents[*other].push(place);
        }
    }
    let mut order: Vec<usize> = (0..steps.len()).filter(|step| waiting[*step] == 0).collect();
    let mut next = 0;
    while let Some(step) = order.get(next).copied() {
        next += 1;
        for dependent in &dependents[step] {
            waiting[*dependent] -= 1;
            if waiting[*dependent] == 0 {
                order.push(*dependent);
            }
        }
    }
    order
}

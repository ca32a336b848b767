//! Why a step is as it is: the slice of workflow and journal that led there.
//!
//! A pure function of plan, journal and the state that the journal folds to. [`Slice`] goes from the step backwards: from its end to
//! what brought that about, and from there on to the steps that this goes back to. What stands in the workflow rather than in the
//! journal, such as a limit, is told where it decided.

mod course;
mod failure;
mod opening;
mod turn;

use std::collections::{HashMap, HashSet};

use orchestr8_schema::{
    StepIndex,
    api::{Cause, Why},
    event::{Activation, Event, EventBody},
};

use crate::{
    machine::State,
    plan::{Plan, PlanStep},
    view,
};

/// How far back causes are followed.
const MAX_DEPTH: u32 = 16;

/// Explains the step of a path; absent if the workflow has none there.
pub(crate) fn why(plan: &Plan, state: &State, events: &[Event], path: &str) -> Option<Why> {
    let activation = (0..state.steps().len() as u32)
        .map(Activation)
        .find(|activation| state.path_of(plan, *activation).as_str() == path);
    let mut slice = Slice::new(plan, state, events);
    let (visit, status) = match activation {
        Some(activation) => {
            slice.seen.insert(activation);
            slice.course(activation, 0);
            slice.turn(activation, 0);
            (state.visit_of(plan, activation), view::step_status(state, activation))
        }
        None => (0, slice.unopened(path)?),
    };
    let mut causes = slice.causes;
    let mut step_path = path.to_owned();
    let (_, redactor) = view::redactor(plan, state);
    redactor.redact_text(&mut step_path);
    for cause in &mut causes {
        redactor.redact_text(&mut cause.text);
        cause.reference.iter_mut().for_each(|path| redactor.redact_text(path));
    }
    Some(Why { step_path, visit, status: status.to_owned(), causes })
}

/// What has been found so far, and what it is looked for in.
struct Slice<'a> {
    plan: &'a Plan,
    state: &'a State,
    events: &'a [Event],
    /// The sequences of the events about each step, since it was last pending.
    about: HashMap<Activation, Vec<u64>>,
    /// Steps whose course was told or is being told.
    seen: HashSet<Activation>,
    causes: Vec<Cause>,
}

impl<'a> Slice<'a> {
    fn new(plan: &'a Plan, state: &'a State, events: &'a [Event]) -> Self {
        let mut about: HashMap<_, Vec<_>> = HashMap::new();
        for (sequence, event) in (1..).zip(events) {
            if let EventBody::ExecutionReopened(reopening) = &event.body {
                for activation in &reopening.rerun {
                    about.insert(*activation, vec![sequence]);
                }
            }
            if let Some(activation) = event.body.activation() {
                about.entry(activation).or_default().push(sequence);
            }
        }
        Self { plan, state, events, about, seen: HashSet::new(), causes: Vec::new() }
    }

    // === what there is ===

    fn body(&self, sequence: u64) -> &'a EventBody {
        &self.events[sequence as usize - 1].body
    }

    /// The events about a step, oldest first.
    fn about(&self, activation: Activation) -> impl DoubleEndedIterator<Item = (u64, &'a EventBody)> + '_ {
        let sequences = self.about.get(&activation).map_or(&[][..], Vec::as_slice);
        sequences.iter().map(|sequence| (*sequence, self.body(*sequence)))
    }

    /// The last event about a step that fits.
    fn last(&self, activation: Activation, fits: impl Fn(&EventBody) -> bool) -> Option<(u64, &'a EventBody)> {
        self.about(activation).rfind(|(_, body)| fits(body))
    }

    /// The last event of all that fits.
    fn last_of_all(&self, fits: impl Fn(&EventBody) -> bool) -> Option<(u64, &'a EventBody)> {
        let mut events = self.events.iter().enumerate().rev().map(|(index, event)| (index as u64 + 1, &event.body));
        events.find(|(_, body)| fits(body))
    }

    /// The sequence of the event that ended a step.
    fn end(&self, activation: Activation) -> Option<u64> {
        let is_end = |body: &EventBody| {
            matches!(
                body,
                EventBody::StepCompleted { .. }
                    | EventBody::StepFailed { .. }
                    | EventBody::StepSkipped { .. }
                    | EventBody::StepCancelled { .. }
            )
        };
        self.last(activation, is_end).map(|(sequence, _)| sequence)
    }

    fn planned(&self, activation: Activation) -> &'a PlanStep {
        &self.plan.steps()[self.state.steps()[activation.get()].step.get()]
    }

    fn path(&self, activation: Activation) -> String {
        self.state.path_of(self.plan, activation).to_string()
    }

    /// The step of the plan that stands in the same scope instance.
    fn beside(&self, activation: Activation, step: StepIndex) -> Activation {
        self.state.sibling(self.plan, activation, step)
    }

    fn find(&self, path: &str) -> Option<Activation> {
        (0..self.state.steps().len() as u32).map(Activation).find(|activation| self.path(*activation) == path)
    }

    // === what is told ===

    /// Tells of an event.
    fn tell(&mut self, depth: u32, sequence: u64, text: impl Into<String>) {
        self.tell_all(depth, &[sequence], text, None);
    }

    /// Tells of an event of another step.
    fn tell_of(&mut self, depth: u32, sequence: u64, text: impl Into<String>, other: Activation) {
        let path = self.path(other);
        self.tell_all(depth, &[sequence], text, Some(path));
    }

    /// Tells of several events at once.
    fn tell_all(&mut self, depth: u32, sequences: &[u64], text: impl Into<String>, of: Option<String>) {
        let sequence = sequences.last().copied();
        let kind = sequence.map_or("workflow", |sequence| self.body(sequence).name()).to_owned();
        let sequences = if sequences.len() > 1 { sequences.to_vec() } else { Vec::new() };
        self.push(Cause { depth, sequence, sequences, kind, text: text.into(), reference: of });
    }

    /// Tells of what stands in the workflow.
    fn note(&mut self, depth: u32, kind: &str, text: impl Into<String>) {
        let (sequence, sequences) = (None, Vec::new());
        self.push(Cause { depth, sequence, sequences, kind: kind.to_owned(), text: text.into(), reference: None });
    }

    fn push(&mut self, cause: Cause) {
        if self.causes.len() < Why::MAX_CAUSES {
            self.causes.push(cause);
        }
    }

    /// Goes on with the course of another step, unless it was told before or is too far away.
    fn follow(&mut self, activation: Activation, depth: u32) {
        if depth < MAX_DEPTH && self.causes.len() < Why::MAX_CAUSES && self.seen.insert(activation) {
            self.course(activation, depth);
        }
    }
}

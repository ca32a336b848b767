//! All steps of a workflow in one list, and the scopes that they stand in.
//!
//! A scope is a list of steps: the workflow's own, the body of a composite, or one case of a branch. Steps are numbered in the
//! order in which they begin, scopes likewise, so that everything inside a step or a scope has the numbers right behind it,
//! and "stands inside" is a comparison of numbers.

use std::fmt::Write;

use super::ValidScope;
use crate::{
    Step, StepIndex, Workflow,
    workflow::{DefaultCase, StepKind},
};

/// A dense index of a scope; 0 is the workflow's own list of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScopeIndex(pub u32);

impl ScopeIndex {
    /// The workflow's own list of steps.
    pub const ROOT: Self = Self(0);

    /// Returns the index for use with slices.
    #[must_use]
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

/// The steps of a workflow, inner ones included.
#[derive(Debug)]
pub(crate) struct Outline<'w> {
    pub(crate) workflow: &'w Workflow,
    pub(crate) steps: Vec<Placed<'w>>,
    pub(crate) scopes: Vec<OutlineScope>,
}

/// A step and where it stands.
#[derive(Debug)]
pub(crate) struct Placed<'w> {
    pub(crate) step: &'w Step,
    pub(crate) scope: ScopeIndex,
    /// The place in the scope's list.
    pub(crate) position: u32,
    /// The scopes that it opens: their first, and the first one behind them.
    pub(crate) inner: (u32, u32),
    /// Whether it is only a stand-in for something that could not be read.
    pub(crate) broken: bool,
}

/// A list of steps.
#[derive(Debug)]
pub(crate) struct OutlineScope {
    /// The composite that opens it; none for the workflow itself.
    pub(crate) parent: Option<StepIndex>,
    /// Its steps in the order of declaration.
    pub(crate) steps: Vec<StepIndex>,
    /// The first scope behind it and all that is inside.
    end: u32,
    /// Which one it is of those that the composite opens.
    number: u32,
}

/// How deep scopes may be nested. A document is limited before; this is for workflows made in Rust.
const MAX_DEPTH: usize = 32;

impl<'w> Outline<'w> {
    /// Lists the steps of a workflow; `None` if they are nested too deeply.
    pub(crate) fn new(workflow: &'w Workflow, broken: &[bool]) -> Option<Self> {
        let mut outline = Self { workflow, steps: Vec::new(), scopes: Vec::new() };
        outline.scope(&workflow.steps, None, 0, broken, MAX_DEPTH)?;
        Some(outline)
    }

    fn scope(
        &mut self,
        steps: &'w [Step],
        parent: Option<StepIndex>,
        number: u32,
        broken: &[bool],
        depth: usize,
    ) -> Option<()> {
        let below = depth.checked_sub(1)?;
        let own = self.scopes.len();
        let scope = ScopeIndex(index(own));
        self.scopes.push(OutlineScope { parent, steps: Vec::with_capacity(steps.len()), end: 0, number });
        for (position, step) in steps.iter().enumerate() {
            let place = self.steps.len();
            let first = index(self.scopes.len());
            self.scopes[own].steps.push(StepIndex(index(place)));
            self.steps.push(Placed {
                step,
                scope,
                position: index(position),
                inner: (first, first),
                broken: broken.get(place).copied().unwrap_or(false),
            });
            for (number, inner) in step.kind.scopes().enumerate() {
                self.scope(inner, Some(StepIndex(index(place))), index(number), broken, below)?;
            }
            self.steps[place].inner.1 = index(self.scopes.len());
        }
        self.scopes[own].end = index(self.scopes.len());
        Some(())
    }

    /// Returns every step with its index.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (StepIndex, &Placed<'w>)> {
        self.steps.iter().enumerate().map(|(place, placed)| (StepIndex(index(place)), placed))
    }

    pub(crate) fn step(&self, step: StepIndex) -> &'w Step {
        self.steps[step.get()].step
    }

    pub(crate) fn scope_of(&self, step: StepIndex) -> ScopeIndex {
        self.steps[step.get()].scope
    }

    /// Returns the scopes that a step opens itself, in the order of declaration.
    pub(crate) fn scopes_in(&self, step: StepIndex) -> impl Iterator<Item = ScopeIndex> {
        let (first, end) = self.steps[step.get()].inner;
        let within = move |scope: u32| (scope < end).then_some(scope);
        std::iter::successors(within(first), move |scope| within(self.scopes[*scope as usize].end)).map(ScopeIndex)
    }

    /// Whether one scope is another or stands inside it.
    pub(crate) fn is_within(&self, inner: ScopeIndex, outer: ScopeIndex) -> bool {
        (outer.0..self.scopes[outer.get()].end).contains(&inner.0)
    }

    /// Returns what stands for a step in one of the scopes around it: itself, or the composite that holds it.
    pub(crate) fn lift(&self, step: StepIndex, scope: ScopeIndex) -> Option<StepIndex> {
        let mut step = step;
        while self.scope_of(step) != scope {
            step = self.scopes[self.scope_of(step).get()].parent?;
        }
        Some(step)
    }

    /// Returns the scope, and then those around it.
    pub(crate) fn outward(&self, scope: ScopeIndex) -> impl Iterator<Item = ScopeIndex> {
        std::iter::successors(Some(scope), |scope| {
            self.scopes[scope.get()].parent.map(|composite| self.scope_of(composite))
        })
    }

    /// Returns the composites around a scope, the innermost first.
    pub(crate) fn composites(&self, scope: ScopeIndex) -> impl Iterator<Item = StepIndex> {
        self.outward(scope).filter_map(|scope| self.scopes[scope.get()].parent)
    }

    /// Returns what people call a scope: the composite that opens it, or the case of a branch.
    pub(crate) fn name(&self, scope: ScopeIndex) -> Option<String> {
        let scope = &self.scopes[scope.get()];
        let parent = self.step(scope.parent?);
        Some(match &parent.kind {
            StepKind::Branch(_) => format!("{}.{}", parent.id, self.case_name(scope.parent?, scope.number)),
            _ => parent.id.to_string(),
        })
    }

    /// Returns the name of a branch's case; the last number is the default's.
    pub(crate) fn case_name(&self, branch: StepIndex, number: u32) -> String {
        match &self.step(branch).kind {
            StepKind::Branch(branch) => match branch.cases.get(number as usize) {
                Some(case) => case.name.clone().unwrap_or_else(|| format!("case-{number}")),
                None => DefaultCase::NAME.to_owned(),
            },
            _ => String::new(),
        }
    }

    /// Returns the scopes as a valid workflow keeps them.
    pub(crate) fn into_scopes(self) -> Vec<ValidScope> {
        let scopes = self.scopes.into_iter();
        scopes.map(|OutlineScope { parent, steps, number, .. }| ValidScope { parent, steps, number }).collect()
    }

    /// Returns the JSON pointer of a step.
    pub(crate) fn pointer(&self, step: StepIndex) -> String {
        let mut places = Vec::new();
        let mut next = Some(step);
        while let Some(step) = next {
            let placed = &self.steps[step.get()];
            let scope = &self.scopes[placed.scope.get()];
            places.push((placed.position, scope.number));
            next = scope.parent;
        }
        let mut pointer = String::with_capacity(16 * places.len());
        let mut list: &[Step] = &self.workflow.steps;
        let mut holder: Option<&StepKind> = None;
        for (position, number) in places.into_iter().rev() {
            match holder {
                None => {}
                Some(StepKind::Branch(branch)) => {
                    let written = match branch.cases.get(number as usize) {
                        Some(case) => {
                            list = &case.steps;
                            write!(pointer, "/branch/cases/{number}")
                        }
                        None => {
                            list = branch.default.as_ref().map_or(&[], |default| &default.steps);
                            write!(pointer, "/branch/default")
                        }
                    };
                    debug_assert!(written.is_ok(), "a string takes everything");
                }
                Some(kind) => {
                    list = kind.scopes().next().unwrap_or_default();
                    pointer.push('/');
                    pointer.push_str(kind.key());
                }
            }
            pointer.push_str("/steps");
            let written = write!(pointer, "/{position}");
            debug_assert!(written.is_ok(), "a string takes everything");
            holder = list.get(position as usize).map(|step| &step.kind);
        }
        pointer
    }
}

/// Workflows have far fewer than four thousand million steps.
pub(crate) fn index(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

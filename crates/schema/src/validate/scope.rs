//! From where an expression looks, and what it sees from there.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use super::outline::{Outline, ScopeIndex};
use crate::{
    StepIndex,
    expression::{OwnField, Path},
    workflow::{HookPoint, StepKind},
};

/// The roots that are visible everywhere.
pub(crate) const ROOTS: [&str; 6] = ["steps", "inputs", "variables", "env", "context", "metadata"];

/// The roots that are visible in some places, and have a name of their own.
pub(crate) const PLACED_ROOTS: [&str; 3] = ["loop", "accumulator", "self"];

/// The place of an expression. Everything that one step writes belongs to a few of these.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// The step that reads; none for the workflow itself.
    pub(crate) reader: Option<StepIndex>,
    pub(crate) steps: Shown,
    /// Which maps and loops show their roots.
    frames: Frames,
    /// What `self` has.
    pub(crate) own: &'static [OwnField],
    /// Whether it is the reader's own accumulator that is computed.
    accumulates: bool,
}

/// Which steps can be read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shown {
    /// None: at this point it would depend on what ran first.
    None(&'static str),
    /// Those of the reader's scope and of the scopes around it, if the reader waits for them.
    Outside,
    /// Also those that the reader holds; these have ended.
    Inside,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Frames {
    Outside,
    Inside,
}

/// What a name in front of a path means.
pub(crate) enum Found {
    /// A root that is visible everywhere.
    Fixed,
    /// The item of a map.
    Item(StepIndex),
    /// The index of a map's item.
    ItemIndex(StepIndex),
    Loop(StepIndex),
    Accumulator(StepIndex),
    /// The accumulator of a map whose items run at the same time.
    RacingAccumulator(StepIndex),
    Own,
}

impl View {
    /// What the workflow's outputs see: every step has ended.
    pub(crate) const OUTPUTS: Self =
        Self { reader: None, steps: Shown::Inside, frames: Frames::Outside, own: &[], accumulates: false };

    /// What a step's own fields see: `input`, `condition` and the like.
    pub(crate) fn of_step(step: StepIndex) -> Self {
        Self { reader: Some(step), ..Self::OUTPUTS }.with_steps(Shown::Outside)
    }

    /// What is evaluated before the body of a map or a loop: `key` and `while`.
    pub(crate) fn before_body(step: StepIndex) -> Self {
        Self { frames: Frames::Inside, ..Self::of_step(step) }
    }

    /// What is evaluated after the body of a composite: `value`, `until`, and `output` of maps.
    pub(crate) fn after_body(step: StepIndex) -> Self {
        Self { steps: Shown::Inside, ..Self::before_body(step) }
    }

    /// What computes the accumulator of a map.
    pub(crate) fn accumulating(step: StepIndex) -> Self {
        Self { accumulates: true, ..Self::after_body(step) }
    }

    /// What replaces the output of a step whose body is gone: map, loop and workflow.
    pub(crate) fn own_output(step: StepIndex) -> Self {
        Self { own: &[OwnField::Output], ..Self::of_step(step) }
    }

    pub(crate) fn compensation(step: StepIndex) -> Self {
        use OwnField::{Error, Input, Output, Status, StepId, StepPath};
        Self { own: &[StepId, StepPath, Input, Output, Error, Status], ..Self::of_step(step) }
    }

    pub(crate) fn step_hook(step: StepIndex, point: HookPoint) -> Self {
        Self { own: own_fields(point, true), ..Self::of_step(step) }
    }

    pub(crate) fn workflow_hook(point: HookPoint) -> Self {
        let steps = match point {
            HookPoint::AfterExecution | HookPoint::OnCancel | HookPoint::OnError => Shown::Inside,
            _ => Shown::None(point.key()),
        };
        Self { own: own_fields(point, false), ..Self::OUTPUTS }.with_steps(steps)
    }

    fn with_steps(self, steps: Shown) -> Self {
        Self { steps, ..self }
    }

    /// Finds out what a root means here.
    pub(crate) fn find(&self, root: &str, outline: &Outline<'_>) -> Option<Found> {
        match root {
            root if ROOTS.contains(&root) => Some(Found::Fixed),
            "self" => (!self.own.is_empty()).then_some(Found::Own),
            "loop" => {
                let is_loop = |step: &StepIndex| matches!(outline.step(*step).kind, StepKind::Loop(_));
                self.frames(outline).find(is_loop).map(Found::Loop)
            }
            "accumulator" => self.frames(outline).find_map(|step| match &outline.step(step).kind {
                StepKind::Map(map) if map.accumulator.is_some() => {
                    let computes = self.accumulates && self.reader == Some(step);
                    let races = map.concurrency > 1 && !computes;
                    Some(if races { Found::RacingAccumulator(step) } else { Found::Accumulator(step) })
                }
                _ => None,
            }),
            root => self.frames(outline).find_map(|step| match &outline.step(step).kind {
                StepKind::Map(map) if map.item.as_str() == root => Some(Found::Item(step)),
                StepKind::Map(map) if map.index.as_str() == root => Some(Found::ItemIndex(step)),
                _ => None,
            }),
        }
    }

    /// Returns the names of all roots that are visible here.
    pub(crate) fn roots<'w>(&self, outline: &Outline<'w>) -> Vec<&'w str> {
        let mut roots = ROOTS.to_vec();
        for step in self.frames(outline) {
            match &outline.step(step).kind {
                StepKind::Map(map) => roots.extend([map.item.as_str(), map.index.as_str()]),
                StepKind::Loop(_) if !roots.contains(&"loop") => roots.push("loop"),
                _ => {}
            }
        }
        roots.extend((!self.own.is_empty()).then_some("self"));
        roots
    }

    /// Returns the maps and loops, and whatever else, that the place is inside of; the innermost first.
    fn frames(&self, outline: &Outline<'_>) -> impl Iterator<Item = StepIndex> {
        let own = self.reader.filter(|_| self.frames == Frames::Inside);
        own.into_iter().chain(self.reader.into_iter().flat_map(|step| outline.composites(outline.scope_of(step))))
    }

    /// Returns the scopes whose steps can be read, the innermost first, each with what waits there: the reader, or the composite
    /// that holds it. Nobody waits in scopes that have ended.
    pub(crate) fn levels(&self, outline: &Outline<'_>) -> Vec<(ScopeIndex, Option<StepIndex>)> {
        let mut levels = Vec::new();
        match (self.steps, self.reader) {
            (Shown::None(_), _) => {}
            (_, None) => levels.push((ScopeIndex::ROOT, None)),
            (shown, Some(reader)) => {
                if shown == Shown::Inside {
                    levels.extend(outline.scopes_in(reader).map(|scope| (scope, None)));
                }
                let around = outline.outward(outline.scope_of(reader));
                levels.extend(around.map(|scope| (scope, outline.lift(reader, scope))));
            }
        }
        levels
    }
}

fn own_fields(point: HookPoint, of_step: bool) -> &'static [OwnField] {
    use OwnField::{Error, Input, Output, Point, Status, StepId, StepPath};
    match point {
        HookPoint::BeforeExecution => &[Input, Point],
        HookPoint::AfterExecution => &[Input, Output, Error, Point, Status],
        HookPoint::OnCancel => &[Input, Error, Point, Status],
        HookPoint::OnError if !of_step => &[Input, Error, Point, Status],
        HookPoint::Before | HookPoint::BeforeStep => &[StepId, StepPath, Input, Point],
        HookPoint::After | HookPoint::AfterStep => &[StepId, StepPath, Input, Output, Point, Status],
        HookPoint::OnError | HookPoint::OnStepError => &[StepId, StepPath, Input, Error, Point, Status],
    }
}

/// What names mean in a workflow, wherever they stand.
#[derive(Debug)]
pub(crate) struct Names<'w> {
    pub(crate) outline: &'w Outline<'w>,
    pub(crate) ids: IndexMap<&'w str, StepIndex>,
    /// The direct dependencies of each step, ascending.
    pub(crate) direct: Vec<Vec<StepIndex>>,
    pub(crate) captures: Captures<'w>,
    /// The scopes in which some step sets a variable.
    pub(crate) capturing: HashSet<ScopeIndex>,
    /// A map for each name under which some map shows its item or index.
    pub(crate) items: HashMap<&'w str, StepIndex>,
}

/// The variables that steps set: for each name and scope, which steps in the order of declaration, and from what.
pub(crate) type Captures<'w> = IndexMap<&'w str, HashMap<ScopeIndex, Vec<(StepIndex, Path)>>>;

/// Returns the path from which a step sets a variable.
pub(super) fn capture<'c>(
    captures: &'c Captures<'_>,
    name: &str,
    scope: ScopeIndex,
    step: StepIndex,
) -> Option<&'c Path> {
    let list = captures.get(name)?.get(&scope)?;
    list.binary_search_by_key(&step, |(step, _)| *step).ok().map(|place| &list[place].1)
}

impl<'w> Names<'w> {
    pub(super) fn new(
        outline: &'w Outline<'w>,
        ids: IndexMap<&'w str, StepIndex>,
        captures: Captures<'w>,
        hard: &[Vec<StepIndex>],
    ) -> Self {
        let mut items = HashMap::new();
        for (index, placed) in outline.iter() {
            if let StepKind::Map(map) = &placed.step.kind {
                items.entry(map.item.as_str()).or_insert(index);
                items.entry(map.index.as_str()).or_insert(index);
            }
        }
        let sorted = |dependencies: &Vec<StepIndex>| {
            let mut sorted = dependencies.clone();
            sorted.sort_unstable();
            sorted
        };
        let direct = hard.iter().map(sorted).collect();
        let capturing = captures.values().flat_map(HashMap::keys).copied().collect();
        Self { outline, ids, direct, captures, capturing, items }
    }

    /// Whether some step that can be read from here sets a variable.
    pub(crate) fn is_captured(&self, name: &str, view: &View) -> bool {
        self.captures
            .get(name)
            .is_some_and(|by_scope| view.levels(self.outline).iter().any(|(scope, _)| by_scope.contains_key(scope)))
    }

    /// Whether some step that can be read from here sets any variable.
    pub(crate) fn captures_any(&self, view: &View) -> bool {
        !self.capturing.is_empty() && view.levels(self.outline).iter().any(|(scope, _)| self.capturing.contains(scope))
    }

    /// Returns the composite through which a step can be read from a scope that cannot see it.
    pub(crate) fn stand_in(&self, step: StepIndex, from: ScopeIndex) -> Option<StepIndex> {
        let around = self.outline.composites(self.outline.scope_of(step));
        around.into_iter().find(|composite| self.outline.is_within(from, self.outline.scope_of(*composite)))
    }
}

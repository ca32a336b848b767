//! Variables that steps set: who sets which, and who sees whose.
//!
//! A reader sees the captures of its dependencies, the last in their order; where it has none and the variable is not declared,
//! the last one at all, for which it has to wait. Scopes are asked from the inside out.

use std::collections::HashMap;

use super::{
    Checking,
    graph::{Edges, Order},
    outline::{Outline, ScopeIndex},
    scope::{self, Captures, Shown},
};
use crate::{
    Code, StepIndex,
    expression::{
        Path, Root, Segment, StepField,
        compile::{Captured, Reference, Seen, Target, is_forbidden},
        parse,
    },
    problem::{At, Problems},
    workflow::Capture,
};

/// The most variables that are shown by reading `variables` as a whole, over all readers.
const MAX_SHOWN: usize = 1_000_000;

/// Reads where steps set variables.
pub(super) fn captures<'w>(outline: &Outline<'w>, problems: &mut Problems) -> Captures<'w> {
    let mut captures = Captures::new();
    for (step, placed) in outline.iter() {
        let Some(capture) = placed.step.output.as_ref().and_then(|output| output.capture.as_ref()) else { continue };
        if placed.broken {
            continue;
        }
        let pointer = outline.pointer(step);
        let at = At::pointer(&pointer);
        let at = at.key("output");
        let at = at.key("capture");
        let mut add = |name: &'w str, segments: Vec<Segment>| {
            let root = Root::Step { step, field: StepField::Output };
            let by_scope: &mut HashMap<_, Vec<_>> = captures.entry(name).or_default();
            by_scope.entry(placed.scope).or_default().push((step, Path { root, segments }));
        };
        match capture {
            Capture::Fields(names) => {
                for (index, name) in names.iter().enumerate() {
                    if check_name(name, &at.index(index), problems) {
                        add(name, vec![Segment::Name(name.as_str().into())]);
                    }
                }
            }
            Capture::Paths(paths) => {
                for (name, path) in paths {
                    let at = at.key(name);
                    if !check_name(name, &at, problems) {
                        continue;
                    }
                    match parse::path(path) {
                        Some(pieces) => add(name, pieces.iter().map(Segment::from).collect()),
                        None => {
                            problems
                                .report(Code::ExpressionSyntax, at, "this is no path in the output")
                                .help("paths look like items[0].name");
                        }
                    }
                }
            }
        }
    }
    captures
}

fn check_name(name: &str, at: &At<'_>, problems: &mut Problems) -> bool {
    if is_forbidden(name) {
        problems.report(Code::ForbiddenName, at, format!("`{name}` is not allowed"));
        return false;
    }
    if name.is_empty() {
        problems.report(Code::WrongForm, at, "a variable needs a name");
        return false;
    }
    true
}

/// Which captures are seen from where.
#[derive(Default)]
pub(super) struct Decided(HashMap<Option<StepIndex>, Vec<SeenCapture>>);

/// A capture that is seen by one reader.
struct SeenCapture {
    /// Whether it is seen from inside the reader, after its body.
    inside: bool,
    name: String,
    /// Who captures it; the first one that has counts.
    steps: Vec<StepIndex>,
    /// Whether it belongs to `variables` as a whole.
    shown: bool,
}

impl Decided {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the steps that see captures; the workflow itself is none of them.
    pub(super) fn readers(&self) -> impl Iterator<Item = StepIndex> {
        self.0.keys().filter_map(|reader| *reader)
    }

    /// Returns what one reader sees.
    pub(super) fn seen<'a>(
        &'a self,
        reader: Option<StepIndex>,
        outline: &Outline<'_>,
        captures: &'a Captures<'_>,
    ) -> Seen<'a> {
        let mut seen = Seen::default();
        for capture in self.0.get(&reader).into_iter().flatten() {
            let path = |step: &StepIndex| scope::capture(captures, &capture.name, outline.scope_of(*step), *step);
            let paths = capture.steps.iter().filter_map(path).collect();
            let side = if capture.inside { &mut seen.inside } else { &mut seen.outside };
            side.entry(capture.name.as_str()).or_insert(Captured { paths, shown: capture.shown });
        }
        seen
    }
}

/// Somebody reads a variable that may be captured.
struct Question<'r> {
    reference: &'r Reference,
    name: &'r str,
    /// Whether it is named, not shown with all others.
    named: bool,
    /// The scopes that set it, the innermost first, each with what would have to wait for it.
    levels: Vec<(ScopeIndex, Option<StepIndex>)>,
}

impl Checking<'_> {
    /// Decides which captures each reader sees, and lets it wait where it must.
    pub(super) fn capture_references(&mut self, references: &[Reference], all: &Order) -> Decided {
        let questions = self.questions(references);
        let mut by_rank: HashMap<(&str, ScopeIndex), Vec<StepIndex>> = HashMap::new();
        for question in &questions {
            for (scope, _) in &question.levels {
                by_rank.entry((question.name, *scope)).or_insert_with(|| {
                    let found = self.names.captures.get(question.name).and_then(|by_scope| by_scope.get(scope));
                    let mut steps: Vec<_> = found.into_iter().flatten().map(|(step, _)| *step).collect();
                    steps.sort_by_key(|step| std::cmp::Reverse(all.rank(*step)));
                    steps
                });
            }
        }
        let nearest = self.nearest(&questions, &by_rank);
        let mut decided = Decided::default();
        for (question, nearest) in questions.iter().zip(nearest) {
            let declared = self.names.outline.workflow.context.variables.contains_key(question.name);
            let by_rank = |scope: ScopeIndex| by_rank[&(question.name, scope)].iter().copied();
            // Nobody waits in scopes that have ended; all that was captured there is seen.
            let ended = question.levels.iter().filter(|(_, waits)| waits.is_none());
            let mut steps: Vec<_> = ended.flat_map(|(scope, _)| by_rank(*scope)).chain(nearest).collect();
            let shown = !steps.is_empty();
            if !shown
                && question.named
                && !declared
                && let Some((scope, Some(waits))) = question.levels.first()
                && let Some(last) = by_rank(*scope).next()
            {
                self.edge(*waits, last, question.reference, Some(question.name));
                steps.push(last);
            }
            if !steps.is_empty() {
                let view = &question.reference.view;
                decided.0.entry(view.reader).or_default().push(SeenCapture {
                    inside: view.steps == Shown::Inside,
                    name: question.name.to_owned(),
                    steps,
                    shown,
                });
            }
        }
        decided
    }

    fn questions<'r>(&mut self, references: &'r [Reference]) -> Vec<Question<'r>>
    where
        Self: 'r,
    {
        let outline = self.names.outline;
        let mut questions = Vec::new();
        for reference in references {
            let levels = || reference.view.levels(outline);
            let setting = |by_scope: &HashMap<ScopeIndex, Vec<(StepIndex, Path)>>,
                           levels: &[(ScopeIndex, Option<StepIndex>)]| {
                levels.iter().filter(|(scope, _)| by_scope.contains_key(scope)).copied().collect::<Vec<_>>()
            };
            match &reference.target {
                Target::Step { .. } => {}
                Target::Variable(name) => {
                    if let Some((name, by_scope)) = self.names.captures.get_key_value(name.as_str()) {
                        let levels = setting(by_scope, &levels());
                        questions.push(Question { reference, name, named: true, levels });
                    }
                }
                Target::Variables => {
                    let levels = levels();
                    for (name, by_scope) in &self.names.captures {
                        let levels = setting(by_scope, &levels);
                        questions.push(Question { reference, name, named: false, levels });
                    }
                }
            }
            if questions.len() > MAX_SHOWN {
                let message = "`variables` as a whole shows too many captures";
                self.problems.report(Code::ExpressionLimit, &reference.path, message).help("name the variables");
                return Vec::new();
            }
        }
        questions
    }

    /// Finds, for each question, the last of the captures that comes before the reader by dependencies alone.
    fn nearest(
        &self,
        questions: &[Question<'_>],
        by_rank: &HashMap<(&str, ScopeIndex), Vec<StepIndex>>,
    ) -> Vec<Option<StepIndex>> {
        /// Above this, one pass over the scope answers for all readers of a name.
        const FEW: usize = 8;
        let hard = self.graph.order(Edges::Hard);
        let mut pairs = Vec::new();
        let mut passes: HashMap<(&str, ScopeIndex), HashMap<StepIndex, StepIndex>> = HashMap::new();
        let pass = |key: (&str, ScopeIndex)| self.graph.last_before(&by_rank[&key], key.1, &hard);
        let waiting = |question: &Question<'_>| -> Vec<(ScopeIndex, StepIndex)> {
            question.levels.iter().filter_map(|(scope, waits)| Some((*scope, (*waits)?))).collect()
        };
        for question in questions {
            for (scope, waits) in waiting(question) {
                let steps = &by_rank[&(question.name, scope)];
                if steps.len() <= FEW {
                    pairs.extend(steps.iter().map(|step| (waits, *step)));
                }
            }
        }
        let mut answers = self.graph.come_before(&pairs, &hard, Edges::Hard).into_iter();
        let mut nearest = Vec::with_capacity(questions.len());
        for question in questions {
            let mut found = None;
            for (scope, waits) in waiting(question) {
                let key = (question.name, scope);
                let steps = &by_rank[&key];
                let before = if steps.len() <= FEW {
                    // Every answer is taken, also when an inner scope has decided already.
                    let before: Vec<bool> = answers.by_ref().take(steps.len()).collect();
                    steps.iter().zip(before).find(|(_, before)| *before).map(|(step, _)| *step)
                } else {
                    passes.entry(key).or_insert_with(|| pass(key)).get(&waits).copied()
                };
                found = found.or(before);
            }
            nearest.push(found);
        }
        nearest
    }

    /// Reports steps that set the same variable at the same time.
    pub(super) fn concurrent_captures(&mut self, order: &Order) {
        let mut pairs = Vec::new();
        let mut names = Vec::new();
        for (name, by_scope) in &self.names.captures {
            let mut scopes: Vec<_> = by_scope.iter().collect();
            scopes.sort_unstable_by_key(|(scope, _)| **scope);
            for (_, list) in scopes {
                let mut steps: Vec<_> = list.iter().map(|(step, _)| *step).collect();
                steps.sort_by_key(|step| order.rank(*step));
                steps.dedup();
                for pair in steps.windows(2) {
                    pairs.push((pair[1], pair[0]));
                    names.push(*name);
                }
            }
        }
        let before = self.graph.come_before(&pairs, order, Edges::All);
        for (((a, b), name), before) in pairs.into_iter().zip(names).zip(before) {
            // A fallback and the step it stands in for never capture both.
            if before || self.graph.is_fallback_of(a, b) || self.graph.is_fallback_of(b, a) {
                continue;
            }
            let (first, second) = (a.min(b), a.max(b));
            let outline = self.names.outline;
            let (one, other) = (&outline.step(first).id, &outline.step(second).id);
            let path = format!("{}/output/capture", outline.pointer(second));
            self.problems
                .report(Code::ConcurrentCaptures, path, format!("`{one}` and `{other}` both capture `{name}`"))
                .help(format!("order them: add `{one}` to `dependencies` of `{other}`"));
        }
    }
}

//! Rules about the values of steps that hold for each kind by itself: bounds, names, and keys that do not belong there.

use std::collections::{HashMap, HashSet};

use super::{
    outline::Outline,
    policies::{out_of_range, range},
    scope::{PLACED_ROOTS, ROOTS},
    structure::length,
};
use crate::{
    Code, Step, StepIndex,
    expression::compile::is_forbidden,
    id::ItemName,
    policy::OnError,
    problem::{At, Problems, quote},
    workflow::{
        BranchStep, DefaultCase, Hook, HookMode, HookPoint, LoopStep, MapStep, OnTimeout, StepKind, WorkflowStep,
    },
};

/// Checks the workflow's hooks and every step.
pub(super) fn check(outline: &Outline<'_>, problems: &mut Problems) {
    let root = At::ROOT;
    hooks(outline.workflow.hooks.iter(), &root.key("hooks"), problems);
    for (index, placed) in outline.iter() {
        if placed.broken {
            continue;
        }
        let pointer = outline.pointer(index);
        step(placed.step, index, outline, &At::pointer(&pointer), problems);
    }
}

fn step(step: &Step, index: StepIndex, outline: &Outline<'_>, at: &At<'_>, problems: &mut Problems) {
    length(step.name.as_deref(), 255, &at.key("name"), problems);
    length(step.description.as_deref(), 1000, &at.key("description"), problems);
    let key = step.kind.key();
    if step.on_error == OnError::Retry && !step.kind.is_leaf() {
        problems
            .report(Code::RetryOnNonLeaf, at.key("onError"), "only agent and tool steps retry")
            .help("put it on the inner step");
    }
    if step.compensate.is_some() && !step.kind.is_leaf() {
        let help =
            if step.kind.is_composite() { "put it on the inner step" } else { "only what is called can be undone" };
        problems
            .report(Code::KeyNotForKind, at.key("compensate"), format!("`compensate` on {} step", article(key)))
            .on_key()
            .help(help);
    }
    if step.output.as_ref().is_some_and(|output| output.value.is_some()) && !step.kind.is_composite() {
        let output = at.key("output");
        problems
            .report(Code::KeyNotForKind, output.key("value"), format!("`output.value` on {} step", article(key)))
            .on_key()
            .help("only composites have one; readers pick what they need");
    }
    if let Some(condition) = &step.condition
        && let crate::workflow::Condition::Comparison(comparison) = condition
    {
        let condition = at.key("condition");
        no_expression(&comparison.value, &condition.key("value"), "`value`", "compare in `if` instead", problems);
    }
    hooks(step.hooks.iter(), &at.key("hooks"), problems);
    let at = at.key(key);
    match &step.kind {
        StepKind::Agent(_) | StepKind::Tool(_) | StepKind::Wait(_) => {}
        StepKind::Parallel(parallel) => {
            body(&parallel.steps, "a parallel group", &at, problems);
            if !parallel.cancel_remaining && parallel.join == crate::workflow::Join::All {
                problems
                    .report(Code::NoEffect, at.key("cancelRemaining"), "`cancelRemaining` with `join: all`")
                    .on_key()
                    .help("nothing remains when all have ended");
            }
        }
        StepKind::Branch(branch) => cases(branch, &at, problems),
        StepKind::Map(map) => {
            body(&map.steps, "a map", &at, problems);
            range(Some(map.concurrency.into()), 1, 10_000, &at.key("concurrency"), problems);
            range(Some(map.max_items.into()), 1, 100_000, &at.key("maxItems"), problems);
            item_names(map, index, outline, &at, problems);
        }
        StepKind::Loop(looped) => bounds(looped, &at, problems),
        StepKind::Workflow(child) => reference(child, &at, problems),
        StepKind::Approval(approval) => {
            if approval.timeout.is_none() && approval.on_timeout != OnTimeout::Fail {
                problems
                    .report(Code::NoEffect, at.key("onTimeout"), "`onTimeout` without `timeout`")
                    .on_key()
                    .help("give a `timeout`");
            }
            if let OnTimeout::Answer(answer) = &approval.on_timeout {
                let on_timeout = at.key("onTimeout");
                no_expression(
                    answer,
                    &on_timeout.key("answer"),
                    "an answer",
                    "read `inputs` where it is used",
                    problems,
                );
            }
        }
    }
}

fn article(kind: &str) -> String {
    if kind.starts_with('a') { format!("an {kind}") } else { format!("a {kind}") }
}

fn body(steps: &[Step], what: &str, at: &At<'_>, problems: &mut Problems) {
    if steps.is_empty() {
        problems.report(Code::Empty, at.key("steps"), format!("{what} needs a step")).on_key();
    }
}

fn cases(branch: &BranchStep, at: &At<'_>, problems: &mut Problems) {
    let list = at.key("cases");
    if branch.cases.is_empty() {
        problems.report(Code::Empty, list, "a branch needs a case").on_key();
    }
    let mut names = HashSet::new();
    for (number, case) in branch.cases.iter().enumerate() {
        let at = list.index(number);
        body(&case.steps, "a case", &at, problems);
        let name = at.key("name");
        match case.name.as_deref() {
            Some(DefaultCase::NAME) => {
                problems
                    .report(Code::ReservedName, name, format!("`{}` is reserved", DefaultCase::NAME))
                    .help("it is what the default case is called");
                continue;
            }
            Some(text) if !(1..=255).contains(&text.chars().count()) => {
                problems.report(Code::WrongForm, name, "a case's name has 1 to 255 characters");
                continue;
            }
            _ => {}
        }
        let text = case.name.clone().unwrap_or_else(|| format!("case-{number}"));
        let message = format!("two cases are called `{}`", quote(&text));
        if !names.insert(text) {
            problems.report(Code::WrongForm, name, message).help("rename one");
        }
    }
}

/// Checks under which names a map shows its item and index.
fn item_names(map: &MapStep, index: StepIndex, outline: &Outline<'_>, at: &At<'_>, problems: &mut Problems) {
    let mut taken: HashMap<&str, StepIndex> = HashMap::new();
    for composite in outline.composites(outline.scope_of(index)) {
        if let StepKind::Map(outer) = &outline.step(composite).kind {
            for name in [&outer.item, &outer.index] {
                taken.entry(name.as_str()).or_insert(composite);
            }
        }
    }
    let mut check = |name: &ItemName, key: &str| {
        // A default has no key of its own to point at.
        let is_default = *name == if key == "as" { ItemName::item() } else { ItemName::index() };
        let place = if is_default { at.to_string() } else { at.key(key).to_string() };
        let spot = |problem: &mut crate::problem::Problem| {
            if is_default {
                problem.on_key();
            }
        };
        if ROOTS.contains(&name.as_str()) || PLACED_ROOTS.contains(&name.as_str()) {
            spot(problems.report(Code::ReservedName, place, format!("`{name}` is reserved")).help("it is a root"));
        } else if is_forbidden(name.as_str()) {
            problems.report(Code::ForbiddenName, place, format!("`{name}` is not allowed"));
        } else if let Some(outer) = taken.get(name.as_str()) {
            let message = format!("`{name}` hides that of the map `{}`", outline.step(*outer).id);
            spot(problems.report(Code::ReservedName, place, message).help(format!("give `{key}` another name")));
        }
    };
    check(&map.item, "as");
    check(&map.index, "indexAs");
    if map.item == map.index {
        let message = format!("item and index are both called `{}`", map.item);
        let key = if map.index == ItemName::index() { "as" } else { "indexAs" };
        problems.report(Code::ReservedName, at.key(key), message).help("rename one");
    }
}

fn bounds(looped: &LoopStep, at: &At<'_>, problems: &mut Problems) {
    body(&looped.steps, "a loop", at, problems);
    if !(1..=10_000).contains(&looped.max_iterations) {
        out_of_range("1 to 10000", &at.key("maxIterations"), problems);
    }
    // As long as anything else may wait.
    range(Some(looped.delay.0), 0, 30 * 24 * 3_600_000, &at.key("delay"), problems);
}

fn reference(child: &WorkflowStep, at: &At<'_>, problems: &mut Problems) {
    let length = child.reference.chars().count();
    if !(1..=1024).contains(&length) {
        problems.report(Code::WrongForm, at.key("ref"), "a reference has 1 to 1024 characters");
    } else if child.reference.contains("${") {
        problems
            .report(Code::ExpressionNotEvaluated, at.key("ref"), "`${` in `ref` stays text")
            .help("use a branch with a sub-workflow in each case");
    }
}

fn hooks<'h>(points: impl Iterator<Item = (HookPoint, &'h [Hook])>, at: &At<'_>, problems: &mut Problems) {
    for (point, hooks) in points {
        let list = at.key(point.key());
        for (index, hook) in hooks.iter().enumerate() {
            let at = list.index(index);
            if hook.mode == HookMode::Guard && !point.allows_guards() {
                problems
                    .report(Code::Guard, at.key("mode"), format!("guard at `{}`", point.key()))
                    .help("guards can act at `beforeExecution`, `beforeStep` and `before`");
            }
            range(hook.timeout.map(|timeout| timeout.0), 1, 24 * 3_600_000, &at.key("timeout"), problems);
        }
    }
}

/// Warns of an expression in a value that is taken as it is.
fn no_expression(value: &serde_json::Value, at: &At<'_>, what: &str, help: &str, problems: &mut Problems) {
    if value.as_str().is_some_and(|text| text.contains("${")) {
        problems.report(Code::ExpressionNotEvaluated, at, format!("`${{` in {what} stays text")).help(help);
    }
}

//! What can never happen: steps and cases that never run, loops that never end, conditions that never change.

use std::collections::HashMap;

use super::{
    graph::{Graph, Order},
    kind::{LoopTest, ValidBranch, ValidKind, ValidLoop},
    outline::Outline,
    valid::ValidStep,
};
use crate::{
    Code, StepIndex,
    expression::{Operand, Path, Root},
    problem::{At, Problems, quote},
    workflow::{BranchStep, OnLimit, StepKind},
};

/// Reports steps, cases and loops that cannot be meant so.
pub(super) fn check(
    outline: &Outline<'_>,
    graph: &Graph,
    order: &Order,
    steps: &[Option<ValidStep>],
    problems: &mut Problems,
) {
    never_run(outline, graph, order, steps, problems);
    for (index, placed) in outline.iter() {
        let Some(step) = &steps[index.get()] else { continue };
        match (&step.kind, &placed.step.kind) {
            (ValidKind::Branch(branch), StepKind::Branch(written)) => {
                let pointer = outline.pointer(index);
                cases(branch, written, &At::pointer(&pointer).key("branch"), problems);
            }
            (ValidKind::Loop(looped), StepKind::Loop(_)) => {
                let pointer = outline.pointer(index);
                exit(looped, index, outline, &At::pointer(&pointer).key("loop"), problems);
            }
            _ => {}
        }
    }
}

/// Reports steps that wait for one that never runs.
fn never_run(
    outline: &Outline<'_>,
    graph: &Graph,
    order: &Order,
    steps: &[Option<ValidStep>],
    problems: &mut Problems,
) {
    let mut never = vec![false; steps.len()];
    for step in order.steps() {
        let valid = steps[step.get()].as_ref();
        let condition = valid.and_then(|valid| valid.condition.as_ref());
        if condition.is_some_and(|condition| condition.constant() == Some(false)) {
            never[step.get()] = true;
            continue;
        }
        // A fallback that is not needed still satisfies its dependents.
        let dead = |other: &&StepIndex| never[other.get()] && graph.serves[other.get()].is_none();
        let (verb, cause) = match (graph.hard[step.get()].iter().find(dead), graph.serves[step.get()]) {
            (Some(cause), _) => ("depends on", *cause),
            (None, Some(served)) if never[served.get()] => ("stands in for", served),
            _ => continue,
        };
        never[step.get()] = true;
        let message = format!("`{}` can never run", outline.step(step).id);
        problems
            .report(Code::Unreachable, format!("{}/id", outline.pointer(step)), message)
            .label(format!("it {verb} `{}`, which never runs", outline.step(cause).id));
    }
}

fn cases(branch: &ValidBranch, written: &BranchStep, at: &At<'_>, problems: &mut Problems) {
    let list = at.key("cases");
    let mut texts: HashMap<&str, &str> = HashMap::new();
    let mut always = false;
    for (number, (case, written)) in branch.cases.iter().zip(&written.cases).enumerate() {
        let at = list.index(number);
        let when = at.key("when");
        let name = quote(&case.name);
        if always {
            let message = format!("case `{name}` follows one that always matches");
            problems.report(Code::Unreachable, at, message).help("the first case that holds is taken");
            continue;
        }
        if let Some(first) = texts.get(written.when.as_str()) {
            let message = format!("case `{name}` has the condition of case `{}`", quote(first));
            problems.report(Code::Unreachable, when, message).help("the first case that holds is taken");
            continue;
        }
        texts.insert(&written.when, &case.name);
        match case.when.constant() {
            Some(true) => {
                problems.report(Code::ConstantCondition, when, "`when` is always true").help("write it as `default`");
                always = true;
            }
            Some(false) => {
                problems
                    .report(Code::ConstantCondition, when, "`when` can never be true")
                    .help("in JMESPath, literals stand in backticks and names of roots are bare");
            }
            None => {}
        }
    }
    if always && written.default.is_some() {
        problems
            .report(Code::Unreachable, at.key("default"), "the default follows a case that always matches")
            .on_key();
    }
}

fn exit(looped: &ValidLoop, step: StepIndex, outline: &Outline<'_>, at: &At<'_>, problems: &mut Problems) {
    let (key, ends) = match &looped.condition {
        LoopTest::While(_) => ("while", false),
        LoopTest::Until(_) => ("until", true),
    };
    let at = at.key(key);
    if looped.condition.condition().constant() == Some(ends) {
        let message = if ends { "`until` is always true" } else { "`while` can never be true" };
        let help = if ends { "the body runs once" } else { "the body never runs" };
        problems.report(Code::ConstantCondition, at, message).help(help);
        return;
    }
    let mut changes = false;
    let is_inside = |path: &Path| match path.root {
        Root::Loop { step: other, .. } => other == step,
        Root::Step { step: read, .. } => outline.lift(read, outline.scope_of(step)) == Some(step),
        _ => false,
    };
    looped.condition.condition().visit(|operand| {
        changes |= match operand {
            Operand::Loop(other) => *other == step,
            Operand::Path(path) => is_inside(path),
            Operand::First(paths) => paths.iter().any(is_inside),
            Operand::Variables(captures) => captures.iter().any(|(_, path)| is_inside(path)),
            Operand::Context | Operand::Own(_) | Operand::Literal(_) => false,
        };
    });
    // A fixed number of iterations is written with a limit that is accepted.
    if !changes && looped.on_limit == OnLimit::Fail {
        problems
            .report(Code::EndlessLoop, at, format!("`{key}` reads nothing that changes"))
            .help("read `loop.value`, `loop.index` or a step of the body");
    }
}

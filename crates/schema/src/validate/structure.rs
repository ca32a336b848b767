//! Rules about single values: forms, lengths, ids, dependencies, fallbacks.

use std::collections::HashSet;

use indexmap::IndexMap;

use super::graph::Graph;
use crate::{
    Code, Step, StepIndex, Workflow,
    expression::compile::is_forbidden,
    policy::OnError,
    problem::{At, Problems, quote},
    source::Options,
    workflow::Metadata,
};

/// Checks the root's own fields.
pub(super) fn root(workflow: &Workflow, options: &Options<'_>, problems: &mut Problems) {
    let at = At::ROOT;
    if !is_version(&workflow.version) {
        let message = format!("`{}` is no version", quote(&workflow.version));
        problems.report(Code::WrongForm, at.key("version"), message).help("versions look like 1.0.0");
    }
    if let Some(version) = &workflow.schema_version {
        if !is_version(version) {
            let message = format!("`{}` is no version", quote(version));
            problems.report(Code::WrongForm, at.key("schemaVersion"), message).help("versions look like 1.0.0");
        } else if version.split('.').next() != Some("1") {
            let message = format!("version {} of the format is not supported", quote(version));
            problems.report(Code::SchemaVersion, at.key("schemaVersion"), message).help("use schemaVersion 1.0.0");
        }
    }
    if let Some(hash) = &workflow.schema_hash {
        if hash.len() != 64 || !hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            problems
                .report(Code::SchemaHashForm, at.key("schemaHash"), "the hash must be SHA-256")
                .help("64 lowercase hex digits, or omit it");
        } else if options.strict && *hash != crate::json_schema::schema_hash() {
            problems.report(Code::SchemaHash, at.key("schemaHash"), "the schema was modified").help("omit schemaHash");
        }
    }
    metadata(&workflow.metadata, problems);
    let context = at.key("context");
    for name in workflow.context.variables.keys().filter(|name| is_forbidden(name)) {
        let variables = context.key("variables");
        problems.report(Code::ForbiddenName, variables.key(name), format!("`{name}` is not allowed")).on_key();
    }
    for (index, secret) in workflow.context.secret_refs.iter().enumerate() {
        let valid = secret.strip_prefix("secret://").is_some_and(|path| {
            !path.is_empty() && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte))
        });
        if !valid {
            let message = format!("`{}` is no reference to a secret", quote(secret));
            problems
                .report(Code::WrongForm, context.key("secretRefs").index(index), message)
                .help("they look like secret://provider/key");
        }
    }
    for (index, name) in workflow.allowed_env_vars.iter().enumerate() {
        let mut bytes = name.bytes();
        let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !(first && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')) {
            let message = format!("`{}` is no name of a process variable", quote(name));
            problems
                .report(Code::WrongForm, at.key("allowedEnvVars").index(index), message)
                .help("letters, digits and `_`");
        }
    }
}

fn metadata(metadata: &Metadata, problems: &mut Problems) {
    let root = At::ROOT;
    let at = root.key("metadata");
    for (name, text) in [("id", &metadata.id), ("name", &metadata.name)] {
        if !(1..=255).contains(&text.chars().count()) {
            problems.report(Code::WrongForm, at.key(name), format!("`{name}` has 1 to 255 characters"));
        }
    }
    length(metadata.description.as_deref(), 1000, &at.key("description"), problems);
}

fn length(text: Option<&str>, most: usize, at: &At<'_>, problems: &mut Problems) {
    if text.is_some_and(|text| text.chars().count() > most) {
        problems.report(Code::WrongForm, at, format!("at most {most} characters are allowed"));
    }
}

fn is_version(text: &str) -> bool {
    let mut parts = 0;
    text.split('.').all(|part| {
        parts += 1;
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
    }) && parts == 3
}

/// Checks ids, dependencies and fallbacks, and returns what exists of them.
///
/// `broken` tells which steps are stand-ins; they are known by name and otherwise left alone.
pub(super) fn steps<'w>(
    workflow: &'w Workflow,
    broken: &[bool],
    problems: &mut Problems,
) -> (IndexMap<&'w str, StepIndex>, Graph) {
    let root = At::ROOT;
    let list = root.key("steps");
    let mut ids: IndexMap<&str, StepIndex> = IndexMap::with_capacity(workflow.steps.len());
    for (index, step) in workflow.steps.iter().enumerate() {
        let at = list.index(index);
        let place = StepIndex(u32::try_from(index).unwrap_or(u32::MAX));
        if ids.contains_key(step.id.as_str()) {
            problems
                .report(Code::DuplicateStep, at.key("id"), format!("`{}` is used twice", step.id))
                .help("rename one");
        } else {
            ids.insert(step.id.as_str(), place);
        }
        length(step.name.as_deref(), 255, &at.key("name"), problems);
        length(step.description.as_deref(), 1000, &at.key("description"), problems);
    }
    let count = workflow.steps.len();
    let mut graph = Graph {
        hard: Vec::with_capacity(count),
        soft: vec![Vec::new(); count],
        fallback: vec![None; count],
        serves: vec![None; count],
    };
    let is_broken = |index: usize| broken.get(index).copied().unwrap_or(false);
    for (index, step) in workflow.steps.iter().enumerate() {
        let at = list.index(index);
        let dependencies = dependencies(step, &ids, &at, problems);
        graph.hard.push(dependencies);
        if !is_broken(index) {
            graph.fallback[index] = fallback(step, &ids, &at, problems);
        }
    }
    for index in 0..count {
        let Some(fallback) = graph.fallback[index] else { continue };
        let at = list.index(index);
        match graph.serves[fallback.get()] {
            Some(served) => {
                let id = &workflow.steps[fallback.get()].id;
                let message = format!("`{id}` already serves `{}`", workflow.steps[served.get()].id);
                problems.report(Code::SharedFallback, at.key("fallbackStepId"), message).help("add another step");
                graph.fallback[index] = None;
            }
            None => graph.serves[fallback.get()] = Some(StepIndex(u32::try_from(index).unwrap_or(u32::MAX))),
        }
    }
    fallback_cycles(workflow, &mut graph, problems);
    (ids, graph)
}

fn dependencies(step: &Step, ids: &IndexMap<&str, StepIndex>, at: &At<'_>, problems: &mut Problems) -> Vec<StepIndex> {
    let list = at.key("dependencies");
    let mut found = Vec::with_capacity(step.dependencies.len());
    let mut seen = HashSet::with_capacity(step.dependencies.len());
    for (index, id) in step.dependencies.iter().enumerate() {
        let at = list.index(index);
        if *id == step.id {
            problems.report(Code::SelfDependency, at, format!("`{id}` depends on itself")).help("remove it");
        } else if !seen.insert(id) {
            problems.report(Code::DuplicateDependency, at, format!("`{id}` is listed twice")).help("remove one");
        } else if let Some(dependency) = ids.get(id.as_str()) {
            found.push(*dependency);
        } else {
            let help = problems.did_you_mean(id.as_str(), ids.keys().copied());
            let problem = problems.report(Code::UnknownDependency, at, format!("no step `{id}`"));
            if let Some(help) = help {
                problem.help(help);
            }
        }
    }
    found
}

fn fallback(step: &Step, ids: &IndexMap<&str, StepIndex>, at: &At<'_>, problems: &mut Problems) -> Option<StepIndex> {
    let key = at.key("fallbackStepId");
    match (&step.fallback_step_id, step.on_error) {
        (None, OnError::Fallback) => {
            problems
                .report(Code::Fallback, at.key("onError"), "`fallback` needs fallbackStepId")
                .help("name the step that stands in");
            None
        }
        (None, _) => None,
        (Some(_), OnError::Fail | OnError::Continue | OnError::Retry) => {
            problems
                .report(Code::Fallback, key, "fallbackStepId without `onError: fallback`")
                .on_key()
                .help("add `onError: fallback`, or remove it");
            None
        }
        (Some(id), OnError::Fallback) if *id == step.id => {
            problems.report(Code::Fallback, key, format!("`{id}` is its own fallback")).help("name another step");
            None
        }
        (Some(id), OnError::Fallback) => {
            let found = ids.get(id.as_str()).copied();
            if found.is_none() {
                let help = problems.did_you_mean(id.as_str(), ids.keys().copied());
                let problem = problems.report(Code::Fallback, key, format!("no step `{id}`"));
                if let Some(help) = help {
                    problem.help(help);
                }
            }
            found
        }
    }
}

/// Reports fallbacks that end in each other, and takes them out of the graph.
fn fallback_cycles(workflow: &Workflow, graph: &mut Graph, problems: &mut Problems) {
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
            names.push(workflow.steps[next].id.as_str());
            graph.serves[fallback.get()] = None;
            next = fallback.get();
        }
        let first = names.first().copied().unwrap_or_default();
        let message = format!("fallbacks form a cycle: {} → {first}", names.join(" → "));
        problems.report(Code::FallbackCycle, format_args!("/steps/{at}/fallbackStepId"), message).help("end the chain");
    }
}

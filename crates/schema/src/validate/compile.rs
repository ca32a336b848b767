//! Compilation of a step: every template, condition and schema that it holds.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    ScopeIndex,
    input::compile_schema,
    kind::{
        LoopTest, ValidApproval, ValidBranch, ValidCase, ValidCompensation, ValidHook, ValidKind, ValidLoop, ValidMap,
        ValidParallel, ValidWait,
    },
    scope::{Names, View, capture},
    valid::{ValidInput, ValidStep, ValidWorkflow},
};
use crate::{
    Code, StepIndex,
    expression::{
        Path, Template, TextPart,
        compile::{Compiler, Reference, Seen},
    },
    problem::{At, Problems},
    workflow::{
        Capture, Compensation, ExpressionSecurity, Hook, HookPoint, Join, LoopCondition, OnTimeout, StepKind,
        WaitDuration, WaitStep, WaitUntil,
    },
};

/// What the compilation of one place gave.
pub(super) struct Compiled<T> {
    pub(super) value: T,
    pub(super) references: Vec<Reference>,
}

/// Compiles a step. `seen` are the captures that it sees, where they are known already. `None` if something in it has no value
/// at all, which has been reported.
pub(super) fn step(
    index: StepIndex,
    names: &Names<'_>,
    child: Option<&ValidWorkflow>,
    dependencies: &[StepIndex],
    seen: &Seen<'_>,
    problems: &mut Problems,
) -> Compiled<Option<ValidStep>> {
    let pointer = names.outline.pointer(index);
    let mut compiler = Compiler::new(names, View::of_step(index), seen, problems);
    let value = compiler.step_at(index, child, dependencies, &At::pointer(&pointer));
    Compiled { value, references: compiler.references }
}

/// Compiles the workflow's outputs.
pub(super) fn outputs(
    names: &Names<'_>,
    seen: &Seen<'_>,
    problems: &mut Problems,
) -> Compiled<Option<Vec<(String, Template)>>> {
    let root = At::ROOT;
    let at = root.key("outputs");
    let mut compiler = Compiler::new(names, View::OUTPUTS, seen, problems);
    let outputs = names.outline.workflow.outputs.as_ref();
    let value = outputs.map(|outputs| {
        outputs.iter().map(|(name, value)| (name.clone(), compiler.template(value, &at.key(name)))).collect()
    });
    Compiled { value, references: compiler.references }
}

/// Compiles the workflow's hooks.
pub(super) fn hooks(names: &Names<'_>, seen: &Seen<'_>, problems: &mut Problems) -> Compiled<Vec<ValidHook>> {
    let root = At::ROOT;
    let at = root.key("hooks");
    let mut compiler = Compiler::new(names, View::OUTPUTS, seen, problems);
    let value = compiler.hooks(names.outline.workflow.hooks.iter(), View::workflow_hook, &at);
    Compiled { value, references: compiler.references }
}

impl<'a> Compiler<'a> {
    fn new(names: &'a Names<'a>, view: View, seen: &'a Seen<'a>, problems: &'a mut Problems) -> Self {
        let max_depth = ExpressionSecurity::default().max_expansion_depth as usize;
        Self { names, view, seen, max_depth, problems, references: Vec::new() }
    }

    fn step_at(
        &mut self,
        index: StepIndex,
        child: Option<&ValidWorkflow>,
        dependencies: &[StepIndex],
        at: &At<'_>,
    ) -> Option<ValidStep> {
        let placed = &self.names.outline.steps[index.get()];
        let step = placed.step;
        let condition = step.condition.as_ref().map(|condition| self.condition(condition, &at.key("condition")));
        let input = self.step_input(&step.kind, at);
        let kind = self.kind(index, child, at);
        let policies = at.key("policies");
        let idempotency_key = step.policies.idempotency_key.as_ref().map(|key| self.key(key, &policies));
        let output = step.output.as_ref();
        let output_at = at.key("output");
        let output_schema = output
            .and_then(|output| output.schema.as_ref())
            .and_then(|schema| compile_schema(schema, &output_at.key("schema"), self.problems));
        let output_value = output.and_then(|output| output.value.as_ref()).map(|value| {
            let view = match step.kind {
                StepKind::Parallel(_) | StepKind::Branch(_) => View::after_body(index),
                _ => View::own_output(index),
            };
            self.seen_from(view, |compiler| compiler.template(value, &output_at.key("value")))
        });
        let hooks = self.hooks(step.hooks.iter(), |point| View::step_hook(index, point), &at.key("hooks"));
        let compensate =
            step.compensate.as_ref().map(|compensation| self.compensation(compensation, index, &at.key("compensate")));
        Some(ValidStep {
            id: step.id.clone(),
            scope: placed.scope,
            position: placed.position,
            dependencies: dependencies.to_vec(),
            soft: Vec::new(),
            fallback: None,
            serves: None,
            condition: match condition {
                None => None,
                Some(condition) => Some(condition?),
            },
            input,
            kind: kind?,
            output_schema,
            output_value: output_value.map(Box::new),
            captures: self.captures(index),
            idempotency_key: idempotency_key.map(Box::new),
            hooks,
            compensate: compensate.map(Box::new),
        })
    }

    fn key(&mut self, key: &str, policies: &At<'_>) -> Template {
        self.template(&Value::String(key.to_owned()), &policies.key("idempotencyKey"))
    }

    fn captures(&self, step: StepIndex) -> Vec<(String, Path)> {
        let outline = self.names.outline;
        let names: Vec<&str> = match outline.step(step).output.as_ref().and_then(|output| output.capture.as_ref()) {
            Some(Capture::Fields(names)) => names.iter().map(String::as_str).collect(),
            Some(Capture::Paths(paths)) => paths.keys().map(String::as_str).collect(),
            None => Vec::new(),
        };
        let found = names.into_iter().filter_map(|name| {
            let path = capture(&self.names.captures, name, outline.scope_of(step), step)?;
            Some((name.to_owned(), path.clone()))
        });
        found.collect()
    }

    /// Compiles what a step resolves when it is ready.
    fn step_input(&mut self, kind: &StepKind, at: &At<'_>) -> ValidInput {
        let field = |key: &str, template: Template| match template {
            Template::Literal(value) => Template::Literal(Value::Object(Map::from_iter([(key.to_owned(), value)]))),
            template => Template::Object(vec![(key.to_owned(), template)]),
        };
        let text = |text: &str| Value::String(text.to_owned());
        match kind {
            StepKind::Agent(agent) => match &agent.input {
                Some(input) => self.input(input, &at.key("input")),
                None => ValidInput::plain(Template::Literal(Value::Object(Map::new())), false),
            },
            StepKind::Tool(tool) => self.object_input(&tool.arguments, &at.key("tool").key("arguments")),
            StepKind::Workflow(child) => self.object_input(&child.input, &at.key("workflow").key("input")),
            StepKind::Approval(approval) => {
                // Whatever is known of its value, people are shown text.
                let prompt = match self.template(&text(&approval.prompt), &at.key("approval").key("prompt")) {
                    Template::Expression(expression) => Template::Text(vec![TextPart::Expression(expression)]),
                    prompt => prompt,
                };
                ValidInput::plain(field("prompt", prompt), true)
            }
            StepKind::Wait(wait) => {
                let at = at.key("wait");
                let template = match wait {
                    WaitStep::Duration { duration: WaitDuration::Fixed(duration) } => {
                        field("duration", Template::Literal(Value::from(duration.0)))
                    }
                    WaitStep::Duration { duration: WaitDuration::Template(template) } => {
                        field("duration", self.template(&text(template), &at.key("duration")))
                    }
                    WaitStep::Until { until: WaitUntil::At(time) } => {
                        field("until", Template::Literal(text(&time.to_string())))
                    }
                    WaitStep::Until { until: WaitUntil::Template(template) } => {
                        field("until", self.template(&text(template), &at.key("until")))
                    }
                    WaitStep::Signal { signal, .. } => field("signal", Template::Literal(text(signal.as_str()))),
                };
                ValidInput::plain(template, true)
            }
            StepKind::Parallel(_) | StepKind::Branch(_) | StepKind::Map(_) | StepKind::Loop(_) => {
                ValidInput::plain(Template::Literal(Value::Object(Map::new())), false)
            }
        }
    }

    /// Compiles an object, or a text that gives one; null is the empty object.
    fn object_input(&mut self, value: &Value, at: &At<'_>) -> ValidInput {
        match value {
            Value::Null => ValidInput::plain(Template::Literal(Value::Object(Map::new())), false),
            value => ValidInput::plain(self.template(value, at), true),
        }
    }

    fn kind(&mut self, index: StepIndex, child: Option<&ValidWorkflow>, at: &At<'_>) -> Option<ValidKind> {
        let outline = self.names.outline;
        let kind = &outline.step(index).kind;
        let at = at.key(kind.key());
        let scopes: Vec<ScopeIndex> = outline.scopes_in(index).collect();
        let scope = scopes.first().copied();
        Some(match kind {
            StepKind::Agent(_) => ValidKind::Agent,
            StepKind::Tool(_) => ValidKind::Tool,
            StepKind::Parallel(parallel) => {
                let scope = scope?;
                let needed = match parallel.join {
                    Join::All => None,
                    Join::Any => Some(1),
                    Join::AtLeast(count) => Some(count),
                };
                ValidKind::Parallel(ValidParallel {
                    scope,
                    joined: Vec::new(),
                    needed,
                    cancel_remaining: parallel.cancel_remaining,
                })
            }
            StepKind::Branch(branch) => {
                let list = at.key("cases");
                let mut cases = Vec::with_capacity(branch.cases.len());
                let mut complete = true;
                for (number, case) in branch.cases.iter().enumerate() {
                    let at = list.index(number);
                    match (self.single(&case.when, &at.key("when")), scopes.get(number)) {
                        (Some(when), Some(scope)) => {
                            let name = case.name.as_deref().map_or_else(|| format!("case-{number}").into(), Arc::from);
                            cases.push(ValidCase { name, when, scope: *scope });
                        }
                        _ => complete = false,
                    }
                }
                if !complete {
                    return None;
                }
                ValidKind::Branch(ValidBranch { cases, default: scopes.get(branch.cases.len()).copied() })
            }
            StepKind::Map(map) => {
                let items = self.template(&map.items, &at.key("items"));
                let key = map.key.as_ref().map(|key| {
                    self.seen_from(View::before_body(index), |compiler| compiler.template(key, &at.key("key")))
                });
                let output = map.output.as_ref().map(|output| {
                    self.seen_from(View::after_body(index), |compiler| compiler.template(output, &at.key("output")))
                });
                let accumulator = map.accumulator.as_ref().map(|accumulator| {
                    let at = at.key("accumulator");
                    let init = self.template(&accumulator.init, &at.key("init"));
                    let view = View::accumulating(index);
                    let value =
                        self.seen_from(view, |compiler| compiler.template(&accumulator.value, &at.key("value")));
                    (init, value)
                });
                ValidKind::Map(Box::new(ValidMap {
                    scope: scope?,
                    items,
                    key,
                    output,
                    accumulator,
                    concurrency: map.concurrency,
                    on_item_error: map.on_item_error,
                    max_items: map.max_items,
                }))
            }
            StepKind::Loop(looped) => {
                let init = self.template(&looped.init, &at.key("init"));
                let value = looped.value.as_ref().map(|value| {
                    self.seen_from(View::after_body(index), |compiler| compiler.template(value, &at.key("value")))
                });
                let text_at = at.key(looped.condition.key());
                let condition = match &looped.condition {
                    LoopCondition::While(text) => self
                        .seen_from(View::before_body(index), |compiler| compiler.single(text, &text_at))
                        .map(LoopTest::While),
                    LoopCondition::Until(text) => self
                        .seen_from(View::after_body(index), |compiler| compiler.single(text, &text_at))
                        .map(LoopTest::Until),
                };
                ValidKind::Loop(Box::new(ValidLoop {
                    scope: scope?,
                    condition: condition?,
                    init,
                    value,
                    max_iterations: looped.max_iterations,
                    delay: looped.delay,
                    on_limit: looped.on_limit,
                }))
            }
            StepKind::Workflow(_) => ValidKind::Workflow(child?.clone()),
            StepKind::Wait(wait) => ValidKind::Wait(match wait {
                WaitStep::Duration { .. } => ValidWait::Duration,
                WaitStep::Until { .. } => ValidWait::Until,
                WaitStep::Signal { signal, timeout } => ValidWait::Signal { name: signal.clone(), timeout: *timeout },
            }),
            StepKind::Approval(approval) => {
                let schema = match &approval.schema {
                    Some(schema) => Some(compile_schema(schema, &at.key("schema"), self.problems)?),
                    None => None,
                };
                if let (OnTimeout::Answer(answer), Some(schema)) = (&approval.on_timeout, &schema) {
                    let place = at.key("onTimeout");
                    let place = place.key("answer");
                    for violation in schema.validate(answer).err().into_iter().flatten() {
                        let path = format!("{place}{}", violation.path());
                        self.problems.report(Code::ConstantViolatesSchema, path, violation.message());
                    }
                }
                ValidKind::Approval(ValidApproval {
                    schema,
                    timeout: approval.timeout,
                    on_timeout: approval.on_timeout.clone(),
                })
            }
        })
    }

    fn hooks<'h>(
        &mut self,
        points: impl Iterator<Item = (HookPoint, &'h [Hook])>,
        view: impl Fn(HookPoint) -> View,
        at: &At<'_>,
    ) -> Vec<ValidHook> {
        let mut compiled = Vec::new();
        for (point, hooks) in points {
            let list = at.key(point.key());
            for (index, hook) in hooks.iter().enumerate() {
                let at = list.index(index);
                let input = hook
                    .input
                    .as_ref()
                    .map(|input| self.seen_from(view(point), |compiler| compiler.template(input, &at.key("input"))));
                compiled.push(ValidHook {
                    point,
                    index: super::outline::index(index),
                    call: hook.call.clone(),
                    input,
                    mode: hook.mode,
                    timeout: hook.timeout.unwrap_or(Hook::DEFAULT_TIMEOUT),
                });
            }
        }
        compiled
    }

    fn compensation(&mut self, compensation: &Compensation, step: StepIndex, at: &At<'_>) -> ValidCompensation {
        self.seen_from(View::compensation(step), |compiler| ValidCompensation {
            call: compensation.call.clone(),
            input: compiler.object_input(&compensation.input, &at.key("input")).template,
            policies: compensation.policies.clone(),
            idempotency_key: compensation
                .policies
                .idempotency_key
                .as_ref()
                .map(|key| compiler.key(key, &at.key("policies"))),
            on: compensation.on,
        })
    }
}

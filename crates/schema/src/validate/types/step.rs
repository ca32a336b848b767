//! One step: what is given to it, and what it gives.

use super::{
    Checker, Cx, Report,
    frame::{End, StepRef},
    template::Wanted,
};
use crate::{
    Code, Step,
    expression::parse::Parsed,
    problem::At,
    types::{Type, Verdict},
    workflow::{
        AgentStep, ApprovalStep, CompensateOn, Condition, HookPoint, StepKind, WaitDuration, WaitStep, WaitUntil,
    },
};
use serde_json::{Map, Value};

impl<'w> Checker<'w> {
    /// Checks the steps of a frame; each only once, whoever comes first.
    pub(super) fn steps(&mut self, frame: usize) {
        for step in self.frames[frame].order.clone() {
            self.look_at(StepRef { frame, step });
        }
    }

    /// Checks one step and returns what it gives itself.
    pub(super) fn check_step(&mut self, step: StepRef) -> Type {
        let declared = self.step(step);
        let path = format!("{}/{}", self.frames[step.frame].path, step.step);
        if self.broken.contains(&path) {
            return Type::unknown("it has errors");
        }
        let at = At::pointer(&path);
        let cx = Cx { frame: step.frame, step: Some(step.step) };
        if let Some(condition) = &declared.condition {
            self.condition(condition, &at.key("condition"), cx);
        }
        if let Some(key) = &declared.policies.idempotency_key {
            self.idempotency_key(key, &at.key("policies"), cx);
        }
        let (input, natural) = match &declared.kind {
            StepKind::Agent(agent) => {
                let (input, output) = self.agent(agent, step, &at, cx);
                (Some(input), output)
            }
            StepKind::Tool(tool) => {
                let tool_at = at.key("tool");
                let schemas = self.tool_schemas(&tool.name);
                let input = match self.served_input(step, tool.arguments.is_null()) {
                    Some(input) => {
                        let by = format!("`{}`", tool.name);
                        self.inherited(&input, schemas.wanted(&by), &tool_at);
                        input
                    }
                    None => self.arguments(&tool.name, &tool.arguments, &tool_at, cx),
                };
                let output = schemas.output.as_ref().map_or(Type::ANY, Type::of_schema);
                (Some(input), output)
            }
            StepKind::Wait(wait) => (None, self.wait(wait, &at.key("wait"), cx)),
            StepKind::Approval(approval) => (None, self.approval(approval, &at.key("approval"), cx)),
            StepKind::Parallel(_)
            | StepKind::Branch(_)
            | StepKind::Map(_)
            | StepKind::Loop(_)
            | StepKind::Workflow(_) => (None, self.composite(step, &at)),
        };
        self.frames[step.frame].inputs[step.step].clone_from(&input);
        let output = self.declared_output(declared, natural, &at);
        self.captures_exist(declared, &output, &at);
        self.calls_around(declared, input.as_ref(), &output, &at, step);
        output
    }

    fn agent(&mut self, agent: &AgentStep, step: StepRef, at: &At<'_>, cx: Cx) -> (Type, Type) {
        let call_at = at.key("agent");
        if self.is_broken(&call_at) {
            return (Type::ANY, Type::ANY);
        }
        self.config(&agent.agent, &call_at);
        let schemas = self.schemas(&agent.agent);
        let input = match (&agent.input, self.served_input(step, agent.input.is_none())) {
            (None, Some(input)) => {
                let by = format!("`{}`", agent.agent.id);
                self.inherited(&input, schemas.wanted(&by), &call_at);
                input
            }
            // None is written, so the agent is what can be pointed at.
            (None, None) => self.call(&agent.agent, &Map::new(), &call_at, cx),
            (Some(input), _) => self.input(&agent.agent, input, at, cx),
        };
        (input, schemas.output.as_ref().map_or(Type::ANY, Type::of_schema))
    }

    /// Returns what a fallback is given that has no input of its own: that of the step that it stands in for.
    pub(super) fn served_input(&mut self, step: StepRef, has_none: bool) -> Option<Type> {
        let served = self.frames[step.frame].serves[step.step].filter(|_| has_none)?;
        let served = StepRef { step: served, ..step };
        self.look_at(served);
        Some(self.frames[served.frame].inputs[served.step].clone().unwrap_or(Type::ANY))
    }

    fn idempotency_key(&mut self, key: &str, policies: &At<'_>, cx: Cx) {
        self.text_of(key, "an idempotency key", &policies.key("idempotencyKey"), cx);
    }

    /// Checks a template that has to give text.
    fn text_of(&mut self, template: &str, by: &str, at: &At<'_>, cx: Cx) {
        self.template(&Value::String(template.to_owned()), at, cx, Some(Wanted { of: &Type::text(), by }));
    }

    /// Returns what a step gives when its own schema and value have been applied.
    fn declared_output(&mut self, declared: &Step, natural: Type, at: &At<'_>) -> Type {
        let Some(output) = &declared.output else { return natural };
        let output_at = at.key("output");
        let at = output_at.key("schema");
        let Some(schema) = output.schema.as_ref().filter(|_| !self.is_broken(&at)) else { return natural };
        let own = Type::of_schema(schema);
        if natural.excludes(&own) {
            let message = format!("expected {own}, `{}` gives {natural}", declared.id);
            self.report(Report::new(Code::TypeMismatch, &at, message));
            return natural;
        }
        if !matches!(own.accepts(&natural), Verdict::Proven) {
            // The author narrows what the agent promises; that is checked when it has answered.
            self.note(at, format!("whether the output of `{}` satisfies its schema", declared.id));
        }
        let schemas = match &declared.kind {
            StepKind::Agent(agent) => Some(self.schemas(&agent.agent)),
            StepKind::Tool(tool) => Some(self.tool_schemas(&tool.name)),
            _ => None,
        };
        match schemas.as_ref().and_then(|schemas| schemas.output.as_ref()) {
            Some(given) => Type::of_schemas(&[given, schema]),
            None if matches!(own.accepts(&natural), Verdict::Proven) => natural,
            None => own,
        }
    }

    fn condition(&mut self, condition: &Condition, at: &At<'_>, cx: Cx) {
        match condition {
            Condition::Predicates { if_, unless } => {
                for (key, text) in [("if", if_), ("unless", unless)] {
                    if let Some(text) = text {
                        self.condition_text(text, &at.key(key), cx);
                    }
                }
            }
            Condition::Comparison(comparison) => {
                self.condition_text(&comparison.expression, &at.key("expression"), cx);
            }
        }
    }

    /// Returns the type of a chain of operands where what is missing is null.
    pub(super) fn operands_or_null(&mut self, parsed: &Parsed<'_>, at: &At<'_>, cx: Cx) -> Type {
        self.chain(parsed, at, cx, true)
    }

    fn wait(&mut self, wait: &WaitStep, at: &At<'_>, cx: Cx) -> Type {
        let reason = |reason: &str| ("reason".to_owned(), Type::of_value(&reason.into()), true);
        match wait {
            WaitStep::Duration { duration } => {
                if let WaitDuration::Template(text) = duration {
                    let of = self.template(&Value::String(text.clone()), &at.key("duration"), cx, None);
                    self.expect(&of, &Type::text().or(Type::integer()), "a wait", &at.key("duration"));
                }
                Type::record([reason("elapsed")])
            }
            WaitStep::Until { until } => {
                if let WaitUntil::Template(text) = until {
                    let of = self.template(&Value::String(text.clone()), &at.key("until"), cx, None);
                    self.expect(&of, &Type::text(), "a wait", &at.key("until"));
                }
                Type::record([reason("elapsed")])
            }
            WaitStep::Signal { .. } => Type::record([reason("signal"), ("payload".to_owned(), Type::ANY, true)]),
        }
    }

    /// Notes what the form of a text decides, and reports a type that never has that form.
    fn expect(&mut self, of: &Type, wanted: &Type, by: &str, at: &At<'_>) {
        if wanted.excludes(of) {
            self.report(Report::new(Code::TypeMismatch, at, format!("expected {wanted}, found {of}")));
        } else {
            self.note(at, format!("whether {by} is given what it takes"));
        }
    }

    fn approval(&mut self, approval: &ApprovalStep, at: &At<'_>, cx: Cx) -> Type {
        self.text_of(&approval.prompt, "a prompt", &at.key("prompt"), cx);
        let schema = approval.schema.as_ref().filter(|_| !self.is_broken(&at.key("schema")));
        // Whoever approves may leave out the answer, which is null then; but only if the schema allows that.
        let answer = schema.map_or(Type::ANY, Type::of_schema);
        let text_or_null = || Type::text().or(Type::null());
        Type::record([
            ("approved".to_owned(), Type::of_value(&true.into()), true),
            ("answer".to_owned(), answer, true),
            ("comment".to_owned(), text_or_null(), true),
            ("by".to_owned(), text_or_null(), true),
        ])
    }

    /// Reports captures of what cannot exist.
    fn captures_exist(&mut self, declared: &Step, output: &Type, at: &At<'_>) {
        use crate::workflow::Capture;
        let Some(capture) = declared.output.as_ref().and_then(|output| output.capture.as_ref()) else { return };
        let at = at.key("output");
        let at = at.key("capture");
        let name = format!("output of `{}`", declared.id);
        match capture {
            Capture::Fields(fields) => {
                for (index, field) in fields.iter().enumerate() {
                    self.capture_exists(field, output, &name, &at.index(index));
                }
            }
            Capture::Paths(paths) => {
                for (variable, path) in paths {
                    self.capture_exists(path, output, &name, &at.key(variable));
                }
            }
        }
    }

    /// Checks what is called around a step: to undo it, and by its hooks.
    fn calls_around(&mut self, declared: &'w Step, input: Option<&Type>, output: &Type, at: &At<'_>, step: StepRef) {
        if declared.compensate.is_none() && declared.hooks.iter().all(|(_, hooks)| hooks.is_empty()) {
            return;
        }
        // A frame of its own, in which `self` is known.
        let frame = self.open(Some(step), &[], String::new(), End::Some);
        let cx = Cx { frame, step: None };
        // What is not known of a composite's is there all the same.
        let input = input.cloned().unwrap_or(Type::ANY);
        if let Some(compensate) = &declared.compensate {
            let at = at.key("compensate");
            self.frames[frame].bindings = vec![("self", undone(compensate.on, input.clone(), output.clone()))];
            if let Some(key) = &compensate.policies.idempotency_key {
                self.idempotency_key(key, &at.key("policies"), cx);
            }
            self.other_call(&compensate.call, Some(&compensate.input), &at, cx);
        }
        let hooks_at = at.key("hooks");
        for (point, hooks) in declared.hooks.iter() {
            self.frames[frame].bindings = vec![("self", hooked(point, input.clone(), output.clone()))];
            let at = hooks_at.key(point.key());
            for (index, hook) in hooks.iter().enumerate() {
                self.other_call(&hook.call, hook.input.as_ref(), &at.index(index), cx);
            }
        }
    }
}

/// What `self` shows to a compensation.
fn undone(on: CompensateOn, input: Type, output: Type) -> Type {
    let mut fields = own(input);
    let (has_output, states): (_, &[&str]) = match on {
        CompensateOn::Completed => (true, &["completed"]),
        CompensateOn::Attempt => (false, &["completed", "failed", "cancelled"]),
    };
    fields.push(("output", output, has_output));
    fields.push(("error", Type::failure(), false));
    fields.push(("status", Type::one_of(states), true));
    record(fields)
}

/// What `self` shows to a hook of a step.
fn hooked(point: HookPoint, input: Type, output: Type) -> Type {
    let mut fields = own(input);
    fields.push(("point", Type::one_of(&[point.key()]), true));
    match point {
        HookPoint::After => {
            fields.push(("output", output, true));
            fields.push(("status", Type::one_of(&["completed"]), true));
        }
        HookPoint::OnError => {
            fields.push(("error", Type::failure(), true));
            fields.push(("status", Type::one_of(&["failed"]), true));
        }
        _ => {}
    }
    record(fields)
}

fn own(input: Type) -> Vec<(&'static str, Type, bool)> {
    vec![("stepId", Type::text(), true), ("stepPath", Type::text(), true), ("input", input, true)]
}

fn record(fields: Vec<(&'static str, Type, bool)>) -> Type {
    Type::record(fields.into_iter().map(|(name, of, required)| (name.to_owned(), of, required)))
}

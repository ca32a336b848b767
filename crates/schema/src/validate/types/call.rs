//! What is given to agents, and what they give.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    Checker, Cx, Report,
    jmespath::On,
    template::{Given, Wanted},
};
use crate::{
    Code,
    id::ToolName,
    jmespath::JmesPath,
    json_schema::JsonValidator,
    problem::At,
    types::Type,
    validate::CallSchemas,
    workflow::{AgentCall, Call, Input, StructuredInput},
};

/// What an agent takes and gives, as far as it says so.
pub(super) struct Schemas {
    input: Option<(Type, Value)>,
    pub(super) output: Option<Value>,
    config: Option<Value>,
}

impl Schemas {
    /// Returns what is asked for, if anything is. `by` is who asks, as messages call it.
    pub(super) fn wanted<'a>(&'a self, by: &'a str) -> Option<Wanted<'a>> {
        self.input.as_ref().map(|(of, _)| Wanted { of, by })
    }
}

impl Checker<'_> {
    pub(super) fn schemas(&mut self, agent: &AgentCall) -> Arc<Schemas> {
        let key = (agent.id.to_string(), agent.version.to_string());
        let agents = self.agents;
        self.known(key, || agents.schemas(&agent.id, &agent.version))
    }

    pub(super) fn tool_schemas(&mut self, name: &ToolName) -> Arc<Schemas> {
        let agents = self.agents;
        self.known((name.to_string(), String::new()), || agents.tool_schemas(name))
    }

    fn known(&mut self, key: (String, String), ask: impl FnOnce() -> Option<CallSchemas>) -> Arc<Schemas> {
        let known = self.schemas.entry(key).or_insert_with(|| {
            let schemas = ask().unwrap_or_default();
            let input = schemas.input.map(|schema| (Type::of_schema(&schema), schema));
            Arc::new(Schemas { input, output: schemas.output, config: schemas.config })
        });
        Arc::clone(known)
    }

    /// Checks a tool's arguments, and returns their type.
    pub(super) fn arguments(&mut self, name: &ToolName, arguments: &Value, at: &At<'_>, cx: Cx) -> Type {
        let schemas = self.tool_schemas(name);
        let by = format!("`{name}`");
        let any = Type::any_object();
        let wanted = Some(Wanted { of: schemas.input.as_ref().map_or(&any, |(of, _)| of), by: &by });
        match arguments {
            // None are written, so the tool is what can be pointed at.
            Value::Null => self.object(&Map::new(), at, cx, wanted),
            arguments => self.template(arguments, &at.key("arguments"), cx, wanted),
        }
    }

    /// Checks the configuration that a step or hook gives. Its parts only: what is required may come from the registration.
    pub(super) fn config(&mut self, agent: &AgentCall, at: &At<'_>) {
        let at = at.key("config");
        let (Some(config), false) = (&agent.config, self.is_broken(&at)) else { return };
        let schemas = self.schemas(agent);
        let Some(validator) = schemas.config.as_ref().and_then(|schema| JsonValidator::compile(schema).ok()) else {
            return;
        };
        let violations = validator.validate(&Value::Object(config.clone())).err();
        for violation in violations.into_iter().flatten().filter(|violation| !violation.is_missing()) {
            let path = format!("{at}{}", violation.path());
            self.report(Report::new(Code::ConstantViolatesSchema, &path, violation.message()));
        }
    }

    /// Checks an agent step's input, and returns its type. `at` is the step's place.
    pub(super) fn input(&mut self, agent: &AgentCall, input: &Input, at: &At<'_>, cx: Cx) -> Type {
        let place = at.key("input");
        match input {
            Input::Plain(map) if Input::looks_structured(map) => self.call(agent, map, &place.key("mapping"), cx),
            Input::Plain(map) => self.call(agent, map, &place, cx),
            Input::Structured(input) => self.structured(agent, input, &place, cx),
        }
    }

    fn structured(&mut self, agent: &AgentCall, input: &StructuredInput, at: &At<'_>, cx: Cx) -> Type {
        let none = Map::new();
        let mapping = input.mapping.as_ref().unwrap_or(&none);
        let place = at.key("mapping");
        let schema = input.schema.as_ref().filter(|_| !self.is_broken(&at.key("schema")));
        if let Some(text) = &input.transform {
            let of = self.object(mapping, &place, cx, None);
            let at = at.key("transform");
            let mut of = match JmesPath::compile(text) {
                Ok(path) => self.jmespath(&path, &On::Value(of), &at, cx, &|offset| offset),
                Err(_) => Type::ANY,
            };
            if let Some(schema) = schema {
                let wanted = Type::of_schema(schema);
                self.fit(&of, Some(Wanted { of: &wanted, by: "the schema" }), &at, &Given::Named("`transform`"));
                of = wanted;
            }
            let schemas = self.schemas(agent);
            let by = format!("`{}`", agent.id);
            self.fit(&of, schemas.wanted(&by), &at, &Given::Named("`transform`"));
            return of;
        }
        let Some(schema) = schema else { return self.call(agent, mapping, &place, cx) };
        let own = Type::of_schema(schema);
        let notes = self.notes.len();
        let of = self.object(mapping, &place, cx, Some(Wanted { of: &own, by: "the schema" }));
        // What the mapping gives has been said; what its schema leaves open, the agent's may ask for.
        let schemas = self.schemas(agent);
        let by = format!("`{}`", agent.id);
        let Some(wanted) = schemas.wanted(&by) else { return of };
        if self.notes.len() == notes {
            self.fit_mapping(mapping, &of, wanted, &place, cx);
        } else {
            // Where the mapping could not be seen through, its schema tells what comes out.
            self.fit(&own, Some(wanted), &place, &Given::Named("the schema"));
        }
        of
    }

    fn fit_mapping(&mut self, mapping: &Map<String, Value>, of: &Type, wanted: Wanted<'_>, at: &At<'_>, cx: Cx) {
        if matches!(wanted.of.accepts(of), crate::types::Verdict::Proven) {
            return;
        }
        // The expressions have been looked at; once more, for the places at which the agent asks for something else.
        let errors = self.problems.errors();
        self.object(mapping, at, cx, Some(wanted));
        debug_assert!(self.silent > 0 || self.problems.errors() >= errors);
    }

    /// Checks the input of a call that is written as an object; `at` is where it stands.
    pub(super) fn call(&mut self, agent: &AgentCall, map: &Map<String, Value>, at: &At<'_>, cx: Cx) -> Type {
        let schemas = self.schemas(agent);
        let by = format!("`{}`", agent.id);
        let Some((wanted, schema)) = &schemas.input else { return self.object(map, at, cx, None) };
        let (notes, errors) = (self.notes.len(), self.problems.errors());
        let of = self.object(map, at, cx, Some(Wanted { of: wanted, by: &by }));
        if self.notes.len() > notes && self.problems.errors() == errors && self.silent == 0 {
            self.check_literal(map, schema, at, notes);
        }
        of
    }

    /// Decides about an input without expressions what its type cannot decide.
    fn check_literal(&mut self, map: &Map<String, Value>, schema: &Value, at: &At<'_>, notes: usize) {
        if !map.values().all(is_literal) {
            return;
        }
        let Ok(validator) = JsonValidator::compile(schema) else { return };
        self.notes.truncate(notes);
        let violations = validator.validate(&Value::Object(map.clone())).err();
        for violation in violations.into_iter().flatten() {
            let code = if violation.is_missing() { Code::MissingInput } else { Code::ConstantViolatesSchema };
            let path = format!("{at}{}", violation.path());
            self.report(Report::new(code, &path, violation.message()));
        }
    }

    /// Walks an object that is written as one.
    fn object(&mut self, map: &Map<String, Value>, at: &At<'_>, cx: Cx, wanted: Option<Wanted<'_>>) -> Type {
        self.template(&Value::Object(map.clone()), at, cx, wanted)
    }

    /// Checks a call that is no step: a hook or a compensation.
    pub(super) fn other_call(&mut self, call: &Call, input: Option<&Value>, at: &At<'_>, cx: Cx) {
        let (schemas, by) = match call {
            Call::Agent(agent) => {
                self.config(agent, &at.key("agent"));
                (self.schemas(agent), format!("`{}`", agent.id))
            }
            Call::Tool(tool) => (self.tool_schemas(&tool.name), format!("`{}`", tool.name)),
        };
        let wanted = schemas.wanted(&by);
        match input {
            Some(input) => {
                self.template(input, &at.key("input"), cx, wanted);
            }
            None if wanted.is_some() => self.note(at, format!("whether {by} takes all of `self`")),
            None => {}
        }
    }

    /// Checks an input that is another step's, for a fallback that has none of its own.
    pub(super) fn inherited(&mut self, of: &Type, wanted: Option<Wanted<'_>>, at: &At<'_>) {
        self.fit(of, wanted, at, &Given::Named("the input of the step that it stands in for"));
    }
}

fn is_literal(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.contains("${"),
        Value::Array(items) => items.iter().all(is_literal),
        Value::Object(map) => map.values().all(is_literal),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

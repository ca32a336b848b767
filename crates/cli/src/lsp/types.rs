//! What is known of the values that expressions read, from the schemas that stand in the document and those of its agents, and
//! from what the verifier infers of all others.
//!
//! This is the one place that the other files ask about types. What nothing is known of is an empty schema. Schemas go first,
//! since they say what their values mean; the verifier, which reads the whole document, is asked where somebody looks.

use std::{cell::OnceCell, collections::BTreeSet};

use orchestr8_agent_base::{AgentManifest, AgentRegistry};
use orchestr8_schema::{
    expression::{ContextField, LoopField, OwnField, StepField},
    source::{Options, infer},
    types::{Access, Type},
    validate::Inferred,
};
use serde_json::{Map, Value, json};

use super::{
    outline::Outline,
    schema,
    syntax::{NodeId, Token, Tree},
};
use crate::workflow_folder::WorkflowFolder;

/// A place in a document from which expressions look around.
pub(super) struct View<'a> {
    pub(super) tree: &'a Tree<'a>,
    pub(super) outline: &'a Outline,
    pub(super) agents: &'a AgentRegistry,
    /// The step that reads; `None` in the workflow's outputs.
    pub(super) step: Option<usize>,
    /// The part of the document that reads.
    pub(super) node: NodeId,
    /// The name of the document.
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    /// What the verifier has inferred, once that was asked for.
    pub(super) inferred: OnceCell<Option<Inferred>>,
}

/// A value that can be read, as a schema and as what was inferred.
pub(super) struct Known {
    root: Value,
    path: Vec<Token>,
    inferred: Option<Type>,
}

/// A name that can be read, and what is known of it.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) type_name: String,
    pub(super) documentation: String,
}

impl Known {
    fn new(root: Value) -> Self {
        Self { root, path: Vec::new(), inferred: None }
    }

    /// Returns the names that an object is known to have.
    pub(super) fn members(&self) -> Vec<Member> {
        let parts = schema::walk(&self.root, &self.path);
        let keys = schema::keys(&self.root, &parts).into_iter();
        let mut members: Vec<_> = keys
            .map(|(name, parts, _)| Member {
                name: name.to_owned(),
                type_name: schema::type_name(&self.root, &parts),
                documentation: schema::description(&parts).unwrap_or_default().to_owned(),
            })
            .collect();
        for name in self.inferred.iter().flat_map(Type::fields) {
            let type_name = self.inferred.as_ref().and_then(|of| below(of, &name)).and_then(|of| shown(&of));
            match members.iter_mut().find(|member| member.name == name) {
                Some(member) if member.type_name == "any" => member.type_name = type_name.unwrap_or_default(),
                Some(_) => {}
                None => members.push(Member {
                    name,
                    type_name: type_name.unwrap_or_default(),
                    documentation: String::new(),
                }),
            }
        }
        members
    }

    /// Returns the values that are named one by one.
    pub(super) fn choices(&self) -> Vec<(Value, String)> {
        let parts = schema::walk(&self.root, &self.path);
        let choices = schema::choices(&self.root, &parts).into_iter();
        choices.map(|(value, documentation)| (value.clone(), documentation.to_owned())).collect()
    }

    /// Says what the value is, in a word, and what it means; `None` of a value that is not known to exist.
    pub(super) fn describe(&self) -> Option<(String, String)> {
        let parts = schema::walk(&self.root, &self.path);
        let description = schema::description(&parts).unwrap_or_default().to_owned();
        let inferred = self.inferred.as_ref().and_then(shown);
        let type_name = match schema::type_name(&self.root, &parts) {
            any if any == "any" => inferred.clone().unwrap_or(any),
            named => named,
        };
        (!parts.is_empty() || inferred.is_some()).then_some((type_name, description))
    }
}

impl<'a> View<'a> {
    /// Returns what is known of the value at a path; of no names, the object of all roots.
    pub(super) fn known(&self, names: &[&str]) -> Option<Known> {
        let (root, rest) = match names {
            [] => (self.roots(), &[][..]),
            ["steps"] => (self.steps(), &[][..]),
            ["steps", id, rest @ ..] => {
                let step =
                    self.outline.visible(self.step).into_iter().find(|step| self.outline.steps[*step].id == *id)?;
                match rest {
                    ["output", rest @ ..] => (self.output(step), rest),
                    rest => (self.step_fields(step), rest),
                }
            }
            [root, rest @ ..] => (self.root(root)?, rest),
        };
        let mut known = Known::new(root);
        known.path = rest
            .iter()
            .map(|name| match name.parse() {
                Ok(index) => Token::Index(index),
                Err(_) => Token::Key((*name).to_owned()),
            })
            .collect();
        known.inferred = self.inferred(names);
        Some(known)
    }

    /// Returns what the verifier has inferred of the value at a path.
    fn inferred(&self, names: &[&str]) -> Option<Type> {
        let inferred = || {
            let folder = WorkflowFolder::default();
            infer(self.text, &Options::new().file_name(self.name).agents(self.agents).workflows(&folder))
        };
        let (of, rest) = match names {
            ["steps", id, "output", rest @ ..] => {
                let mut visible = self.outline.visible(self.step).into_iter();
                let step = visible.find(|step| self.outline.steps[*step].id == *id)?;
                let place = pointer(&self.tree.path(self.outline.steps[step].node));
                (self.inferred.get_or_init(inferred).as_ref()?.output(&place)?, rest)
            }
            [name, rest @ ..] if self.placed_roots().iter().any(|(placed, _)| placed == name) => {
                let place = pointer(&self.tree.path(self.node));
                let inferred = self.inferred.get_or_init(inferred).as_ref()?;
                // The names of a map or a loop are seen in its steps, and in some of its own fields.
                let inside = self.step.map(|step| pointer(&self.tree.path(self.outline.steps[step].node)));
                let inside =
                    inside.into_iter().flat_map(|step| ["map", "loop"].map(|kind| format!("{step}/{kind}/steps")));
                let of = inferred
                    .name(&place, name)
                    .or_else(|| inside.into_iter().find_map(|place| inferred.name(&place, name)))?;
                (of, rest)
            }
            _ => return None,
        };
        rest.iter().try_fold(of.clone(), |of, name| below(&of, name))
    }

    /// Returns what an agent takes: `input` or `config`.
    pub(super) fn call(&self, call: NodeId, key: &str, path: &[Token]) -> Option<Known> {
        let manifest = self.manifest(call)?;
        let root = match key {
            "config" => manifest.config_schema.clone()?,
            _ => manifest.input_schema.clone()?,
        };
        Some(Known { root, path: path.to_vec(), inferred: None })
    }

    /// Returns the manifest of the agent that an `agent` object names.
    pub(super) fn manifest(&self, call: NodeId) -> Option<&'a AgentManifest> {
        let id = self.tree.scalar(self.tree.get(call, "id")?)?;
        self.agents.latest(&id.parse().ok()?).map(|agent| agent.manifest())
    }

    fn roots(&self) -> Value {
        let mut names = BTreeSet::from(["inputs", "variables", "env", "context", "metadata"].map(str::to_owned));
        if !self.outline.visible(self.step).is_empty() {
            names.insert("steps".to_owned());
        }
        names.extend(self.placed_roots().into_iter().map(|(name, _)| name));
        let properties = names.into_iter().map(|name| {
            let mut schema =
                if name == "steps" { json!({ "type": "object" }) } else { self.root(&name).unwrap_or_default() };
            if let (Some(schema), Some(says)) = (schema.as_object_mut(), says(&name)) {
                schema.insert("description".to_owned(), says.into());
            }
            (name, schema)
        });
        object(properties)
    }

    /// Returns the roots that there are only in some places.
    fn placed_roots(&self) -> Vec<(String, Value)> {
        let mut roots = Vec::new();
        for owner in self.step.into_iter().flat_map(|step| std::iter::once(step).chain(self.outline.owners(step))) {
            let step = &self.outline.steps[owner];
            let body = step.kind.and_then(|kind| self.tree.get(step.node, kind));
            // A composite's own fields are evaluated around it, but for a few.
            let is_own = Some(owner) == self.step;
            let Some(body) = body else { continue };
            let own_key = self.key_below(body);
            match step.kind {
                Some("map") if !is_own || matches!(own_key.as_deref(), Some("key" | "output" | "accumulator")) => {
                    let name = |key: &str, default: &str| {
                        let name = self.tree.get(body, key).and_then(|name| self.tree.scalar(name));
                        name.map_or_else(|| default.to_owned(), std::borrow::Cow::into_owned)
                    };
                    roots.push((name("as", "item"), json!({})));
                    roots.push((name("indexAs", "index"), json!({ "type": "integer" })));
                    if self.tree.get(body, "accumulator").is_some() {
                        roots.push(("accumulator".to_owned(), json!({})));
                    }
                }
                Some("loop") if !is_own || matches!(own_key.as_deref(), Some("while" | "until" | "value")) => {
                    roots.push((
                        "loop".to_owned(),
                        object(LoopField::ALL.map(|field| {
                            let type_name =
                                if field == LoopField::Index { json!({ "type": "integer" }) } else { json!({}) };
                            (field.as_str().to_owned(), type_name)
                        })),
                    ));
                }
                _ => {}
            }
        }
        let path = self.tree.path(self.node);
        let is_within = |key: &str| path.iter().any(|token| matches!(token, Token::Key(other) if other == key));
        if is_within("hooks") || is_within("compensate") || is_within("output") {
            roots.push(("self".to_owned(), object(OwnField::ALL.map(|field| (field.as_str().to_owned(), json!({}))))));
        }
        roots
    }

    /// Returns the key of an object under which the reading part stands.
    fn key_below(&self, object: NodeId) -> Option<String> {
        let path = self.tree.path(self.node);
        let above = self.tree.path(object);
        match path.strip_prefix(above.as_slice())?.first()? {
            Token::Key(key) => Some(key.clone()),
            Token::Index(_) => None,
        }
    }

    fn root(&self, name: &str) -> Option<Value> {
        if let Some((_, schema)) = self.placed_roots().into_iter().find(|(placed, _)| placed == name) {
            return Some(schema);
        }
        let below_root = |path: &[&str]| path.iter().try_fold(self.tree.root()?, |node, key| self.tree.get(node, key));
        Some(match name {
            "inputs" => {
                below_root(&["inputs"]).map_or_else(|| json!({ "type": "object" }), |node| self.tree.value(node))
            }
            "variables" => {
                let declared = below_root(&["context", "variables"]);
                let entries = declared.map_or(&[][..], |declared| self.tree.entries(declared));
                let declared = entries.iter().map(|entry| {
                    let value = entry.value.map_or(Value::Null, |value| self.tree.value(value));
                    (self.tree.key(entry).into_owned(), literal(&value, 0))
                });
                object(self.captures().into_iter().chain(declared))
            }
            "env" => {
                let declared = below_root(&["context", "environment"]);
                let declared = declared.map_or(&[][..], |declared| self.tree.entries(declared));
                let declared = declared.iter().map(|entry| self.tree.key(entry).into_owned());
                let allowed = below_root(&["allowedEnvVars"]).map_or(&[][..], |allowed| self.tree.items(allowed));
                let allowed = allowed.iter().filter_map(|name| Some(self.tree.scalar(*name)?.into_owned()));
                object(declared.chain(allowed).map(|name| (name, json!({ "type": "string" }))))
            }
            "context" => {
                object(ContextField::ALL.map(|field| (field.as_str().to_owned(), json!({ "type": "string" }))))
            }
            "metadata" => literal(&self.tree.value(below_root(&["metadata"])?), 0),
            _ => return None,
        })
    }

    /// Returns the names that outputs are captured under.
    fn captures(&self) -> Vec<(String, Value)> {
        let mut captures = Vec::new();
        for step in &self.outline.steps {
            let Some(output) = self.tree.get(step.node, "output") else { continue };
            let Some(capture) = self.tree.get(output, "capture") else { continue };
            let says = json!({ "description": format!("captured from the output of `{}`", step.id) });
            captures.extend(
                self.tree.entries(capture).iter().map(|entry| (self.tree.key(entry).into_owned(), says.clone())),
            );
            let names = self.tree.items(capture).iter().filter_map(|name| self.tree.scalar(*name));
            captures.extend(names.map(|name| (name.into_owned(), says.clone())));
        }
        captures
    }

    fn steps(&self) -> Value {
        object(self.outline.visible(self.step).into_iter().filter(|step| !self.outline.steps[*step].id.is_empty()).map(
            |step| {
                let says = self.summary(step);
                (self.outline.steps[step].id.clone(), json!({ "type": "object", "description": says }))
            },
        ))
    }

    /// Says in a few words what a step is: its kind, what it calls, its description.
    pub(super) fn summary(&self, step: usize) -> String {
        let step = &self.outline.steps[step];
        let body = step.kind.and_then(|kind| self.tree.get(step.node, kind));
        let called = body.and_then(|body| {
            let key = if step.kind == Some("agent") { "id" } else { "name" };
            self.tree.scalar(self.tree.get(body, key).filter(|_| matches!(step.kind, Some("agent" | "tool")))?)
        });
        let mut text = match (step.kind, called) {
            (Some(kind), Some(called)) => format!("{kind} `{called}`"),
            (Some(kind), None) => kind.to_owned(),
            (None, _) => "step".to_owned(),
        };
        let says = ["description", "name"].into_iter().find_map(|key| self.tree.scalar(self.tree.get(step.node, key)?));
        if let Some(says) = says {
            text.push_str(": ");
            text.push_str(&says);
        }
        text
    }

    fn step_fields(&self, step: usize) -> Value {
        let fields = StepField::ALL
            .into_iter()
            .filter(|field| *field != StepField::Case || self.outline.steps[step].kind == Some("branch"));
        object(fields.map(|field| {
            let schema = match field {
                StepField::Output => self.output(step),
                StepField::Status => json!({
                    "enum": ["completed", "failed", "skipped", "cancelled"],
                    "description": "How the step ended."
                }),
                StepField::Error => json!({ "type": "object", "description": "Its failure.", "properties": {
                    "code": { "type": "string" }, "message": { "type": "string" }, "isRetryable": { "type": "boolean" }
                } }),
                StepField::Attempts => json!({ "type": "integer", "description": "How many calls were made." }),
                StepField::Case => json!({ "type": "string", "description": "The case that was taken." }),
                _ => json!({ "type": "string", "description": "The fallback that recovered it." }),
            };
            (field.as_str().to_owned(), schema)
        }))
    }

    /// Returns the schema of a step's output.
    pub(super) fn output(&self, step: usize) -> Value {
        let Some(step_node) = self.outline.steps.get(step) else { return json!({}) };
        let own = self.tree.get(step_node.node, "output").and_then(|output| self.tree.get(output, "schema"));
        if let Some(schema) = own.map(|schema| self.tree.value(schema)).filter(Value::is_object) {
            return schema;
        }
        let body = step_node.kind.and_then(|kind| self.tree.get(step_node.node, kind));
        match (step_node.kind, body) {
            (Some("agent"), Some(call)) => {
                self.manifest(call).and_then(|manifest| manifest.output_schema.clone()).unwrap_or_else(|| json!({}))
            }
            (Some("parallel" | "branch"), _) => {
                let inner = self.outline.inside(step).filter(|inner| !self.outline.steps[*inner].id.is_empty());
                object(inner.map(|inner| (self.outline.steps[inner].id.clone(), embedded(self.output(inner)))))
            }
            (Some("map"), Some(body)) if self.tree.get(body, "accumulator").is_none() => json!({ "type": "array" }),
            (Some("loop"), _) => json!({ "type": "object", "properties": {
                "value": {}, "iterations": { "type": "integer" }, "reason": { "enum": ["condition", "limit"] }
            } }),
            (Some("wait"), _) => json!({ "type": "object", "properties": {
                "reason": { "enum": ["elapsed", "signal"] }, "payload": {}
            } }),
            (Some("approval"), Some(body)) => {
                let answer = self.tree.get(body, "schema").map_or_else(|| json!({}), |schema| self.tree.value(schema));
                json!({ "type": "object", "properties": {
                    "approved": { "type": "boolean" }, "answer": embedded(answer),
                    "comment": { "type": "string" }, "by": { "type": "string" }
                } })
            }
            _ => json!({}),
        }
    }
}

/// Returns the type of a property or an element, where there is one.
fn below(of: &Type, name: &str) -> Option<Type> {
    let access = match name.parse() {
        Ok(index) => of.index(index),
        Err(_) => of.property(name),
    };
    match access {
        Access::Present(of) | Access::MaybeAbsent { of, .. } => Some(of),
        _ => None,
    }
}

/// Writes a type in a few words, if anything is known of it.
fn shown(of: &Type) -> Option<String> {
    of.why_unknown().is_none().then(|| of.to_string())
}

/// Writes a path as a JSON pointer.
fn pointer(path: &[Token]) -> String {
    let mut pointer = String::new();
    for token in path {
        pointer.push('/');
        match token {
            Token::Key(key) => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
            Token::Index(index) => pointer.push_str(&index.to_string()),
        }
    }
    pointer
}

/// A schema that refers to parts of itself loses its way inside another one; what it says at its top is kept.
fn embedded(schema: Value) -> Value {
    let refers = schema.get("$defs").is_some() || schema.get("definitions").is_some();
    if refers { json!({ "type": schema.get("type").cloned().unwrap_or_else(|| json!("object")) }) } else { schema }
}

fn object(properties: impl IntoIterator<Item = (String, Value)>) -> Value {
    json!({ "type": "object", "properties": properties.into_iter().collect::<Map<_, _>>() })
}

/// Returns the schema of a literal.
fn literal(value: &Value, depth: usize) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(_) => json!({ "type": "boolean" }),
        Value::Number(number) if number.is_f64() => json!({ "type": "number" }),
        Value::Number(_) => json!({ "type": "integer" }),
        Value::String(_) => json!({ "type": "string" }),
        Value::Array(_) => json!({ "type": "array" }),
        Value::Object(map) if depth < 8 => {
            object(map.iter().map(|(key, value)| (key.clone(), literal(value, depth + 1))))
        }
        Value::Object(_) => json!({ "type": "object" }),
    }
}

/// Says what a root shows.
fn says(root: &str) -> Option<&'static str> {
    Some(match root {
        "steps" => "The steps that have settled: `steps.<id>.output`.",
        "inputs" => "The execution's input.",
        "variables" => "Declared and captured variables.",
        "env" => "`context.environment`, and the process variables in `allowedEnvVars`.",
        "context" => "Facts about the execution.",
        "metadata" => "The workflow's metadata.",
        "loop" => "The number of the iteration, and the value that it began with.",
        "accumulator" => "The running value of the map.",
        "self" => "What this is about: its input, output, error.",
        _ => return None,
    })
}

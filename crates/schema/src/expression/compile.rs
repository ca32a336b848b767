//! Compilation: names become what they mean at one place of a workflow.

use std::{collections::HashMap, ops::Range};

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::{
    ContextField, Expression, Operand, Path, Root, Segment, StepField, Template, TextPart,
    parse::{self, Form, Parsed, ParsedOperand, Part, SyntaxError},
};
use crate::{
    Code, StepIndex, Workflow,
    problem::{At, Problems, quote},
};

pub(crate) const ROOTS: [&str; 6] = ["steps", "inputs", "variables", "env", "context", "metadata"];
const LATER_ROOTS: [(&str, &str); 3] =
    [("loop", "outside a loop"), ("accumulator", "outside a map"), ("self", "outside hooks and compensation")];
const SECRET_NAMES: [&str; 4] = ["secrets", "secret", "secretRefs", "secretRef"];
const FORBIDDEN: [&str; 5] = ["__proto__", "prototype", "constructor", "toString", "valueOf"];
const METADATA: [&str; 6] = ["id", "name", "description", "tags", "createdAt", "updatedAt"];

/// Whether a name is rejected everywhere.
pub(crate) fn is_forbidden(name: &str) -> bool {
    FORBIDDEN.contains(&name)
}

/// What every place of a workflow can see.
pub(crate) struct Visible<'w> {
    pub(crate) workflow: &'w Workflow,
    pub(crate) steps: IndexMap<&'w str, StepIndex>,
    /// The captures of each variable, in the order of declaration.
    pub(crate) captures: IndexMap<&'w str, Vec<(StepIndex, Path)>>,
}

/// What a place reads of other steps.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) target: Target,
    /// Whether the reader gets by without it.
    pub(crate) soft: bool,
    pub(crate) path: String,
    pub(crate) range: Range<usize>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Target {
    Step(StepIndex),
    /// A variable that some step captures.
    Variable(String),
    /// All variables, where some step captures one.
    Variables,
}

/// Compiles what stands at one step, or in the workflow's outputs.
pub(crate) struct Compiler<'a> {
    pub(crate) visible: &'a Visible<'a>,
    /// The direct dependencies, ascending. `None` for the outputs, to which all steps are settled.
    pub(crate) dependencies: Option<&'a [StepIndex]>,
    /// The captures that are seen here; known once the graph is.
    pub(crate) captured: &'a HashMap<&'a str, &'a Path>,
    pub(crate) max_depth: usize,
    pub(crate) problems: &'a mut Problems,
    pub(crate) references: Vec<Reference>,
}

impl Compiler<'_> {
    /// Compiles a value; parts with problems become `null`.
    pub(crate) fn template(&mut self, value: &Value, at: &At<'_>) -> Template {
        match value {
            Value::String(text) if text.contains("${") => self.text(text, at),
            Value::Array(items) => {
                let items: Vec<_> =
                    items.iter().enumerate().map(|(index, item)| self.template(item, &at.index(index))).collect();
                if items.iter().all(Template::is_literal) {
                    Template::Literal(items.into_iter().filter_map(into_literal).collect())
                } else {
                    Template::Array(items)
                }
            }
            Value::Object(map) => self.object(map, at),
            literal => Template::Literal(literal.clone()),
        }
    }

    /// Compiles an object.
    pub(crate) fn object(&mut self, map: &Map<String, Value>, at: &At<'_>) -> Template {
        let entries: Vec<_> =
            map.iter().map(|(key, value)| (key.clone(), self.template(value, &at.key(key)))).collect();
        if entries.iter().all(|(_, value)| value.is_literal()) {
            let entries = entries.into_iter().filter_map(|(key, value)| Some((key, into_literal(value)?)));
            Template::Literal(Value::Object(entries.collect()))
        } else {
            Template::Object(entries)
        }
    }

    fn text(&mut self, text: &str, at: &At<'_>) -> Template {
        let (parts, error) = parse::parse(text);
        if let Some(error) = error {
            self.syntax_error(error, at);
        }
        let mut compiled: Vec<TextPart> = parts
            .into_iter()
            .map(|part| match part {
                Part::Text(text) => TextPart::Text(text),
                Part::Expression(parsed) => TextPart::Expression(self.expression(&parsed, text, at, Reads::Chain)),
            })
            .collect();
        match (compiled.len(), compiled.pop()) {
            (1, Some(TextPart::Expression(expression))) => Template::Expression(expression),
            (1, Some(TextPart::Text(text))) => Template::Literal(Value::String(text)),
            (_, last) => {
                compiled.extend(last);
                Template::Text(compiled)
            }
        }
    }

    pub(crate) fn syntax_error(&mut self, error: SyntaxError, at: &At<'_>) {
        let problem = self.problems.report(error.code, at, error.message).within(error.range);
        if let Some(help) = error.help {
            problem.help(help);
        }
    }

    /// Compiles an expression that begins somewhere in `text`.
    pub(crate) fn expression(&mut self, parsed: &Parsed, text: &str, at: &At<'_>, reads: Reads) -> Expression {
        let [others @ .., last] = &*parsed.operands else {
            return Expression { text: text[parsed.range.clone()].into(), operands: Vec::new() };
        };
        let soft = reads == Reads::Soft || !Self::is_path(last);
        let whole = &parsed.range;
        let mut operands = Vec::with_capacity(parsed.operands.len());
        if others.is_empty() && !Self::is_path(last) {
            self.first_operand(last, text, at);
            return Expression { text: text[whole.clone()].into(), operands };
        }
        for (index, operand) in others.iter().enumerate() {
            if Self::is_path(operand) {
                operands.extend(self.path_operand(operand, text, whole, at, soft));
            } else if index == 0 {
                self.first_operand(operand, text, at);
            } else {
                self.problems
                    .report(Code::ExpressionSyntax, at, "a literal is not the last operand")
                    .within(operand.range.clone())
                    .help("what comes behind it is never reached");
            }
        }
        match &last.form {
            Form::Path(_) if Self::is_path(last) => {
                operands.extend(self.path_operand(last, text, whole, at, soft));
            }
            Form::Literal(value) => operands.push(Operand::Literal(value.clone())),
            Form::Path(_) | Form::Bare => {
                self.later_root(last, at);
                operands.push(Operand::Literal(Value::String(text[last.range.clone()].to_owned())));
            }
        }
        Expression { text: text[whole.clone()].into(), operands }
    }

    fn is_path(operand: &ParsedOperand) -> bool {
        matches!(&operand.form, Form::Path(segments) if matches!(&segments[0], Segment::Name(root) if ROOTS.contains(&&**root)))
    }

    /// Explains why the first operand is no path.
    fn first_operand(&mut self, operand: &ParsedOperand, text: &str, at: &At<'_>) {
        let raw = &text[operand.range.clone()];
        if self.later_root(operand, at) {
            return;
        }
        let root = match &operand.form {
            Form::Path(segments) => match &segments[0] {
                Segment::Name(root) => &**root,
                Segment::Index(_) => raw,
            },
            Form::Bare if raw.starts_with("secret:") => "secret",
            Form::Bare | Form::Literal(_) => {
                self.problems
                    .report(Code::ExpressionSyntax, at, "an expression begins with a path")
                    .within(operand.range.clone())
                    .help("such as `inputs.name` or `steps.fetch.output`; write `$${` for a literal `${`");
                return;
            }
        };
        if SECRET_NAMES.contains(&root) {
            self.secret(operand.range.clone(), at);
            return;
        }
        let help = self.problems.did_you_mean(root, ROOTS).unwrap_or_else(|| format!("roots: {}", ROOTS.join(", ")));
        self.problems
            .report(Code::UnknownName, at, format!("no root `{}`", quote(root)))
            .within(operand.range.clone())
            .help(help);
    }

    /// Reports a root that exists, but not here.
    fn later_root(&mut self, operand: &ParsedOperand, at: &At<'_>) -> bool {
        let Form::Path(segments) = &operand.form else { return false };
        let (Segment::Name(root), true) = (&segments[0], segments.len() > 1) else { return false };
        let Some((root, place)) = LATER_ROOTS.iter().find(|(name, _)| *name == &**root) else { return false };
        self.problems
            .report(Code::RootOutOfScope, at, format!("`{root}` {place}"))
            .within(operand.range.clone())
            .help("if it is meant as text, put it in quotes");
        true
    }

    fn secret(&mut self, range: Range<usize>, at: &At<'_>) {
        self.problems
            .report(Code::SecretInExpression, at, "secrets cannot be read here")
            .within(range)
            .help("the agent reads secrets");
    }

    fn path_operand(
        &mut self,
        operand: &ParsedOperand,
        text: &str,
        whole: &Range<usize>,
        at: &At<'_>,
        soft: bool,
    ) -> Option<Operand> {
        let Form::Path(segments) = &operand.form else { return None };
        if matches!(&segments[0], Segment::Name(root) if &**root == "steps") && segments.len() < 3 {
            self.problems
                .report(
                    Code::ExpressionSyntax,
                    at,
                    format!("`{}` needs an id and a field", quote(&text[operand.range.clone()])),
                )
                .within(operand.range.clone())
                .help("such as `steps.fetch.output`");
            return None;
        }
        let below = segments.len().saturating_sub(if &*name(&segments[0]) == "steps" { 3 } else { 2 });
        if below > self.max_depth {
            self.problems
                .report(Code::ExpressionLimit, at, format!("path has {below} parts, {} are allowed", self.max_depth))
                .within(operand.range.clone())
                .help("select less deeply, or raise maxExpansionDepth");
            return None;
        }
        self.read(segments, &Place { path: at, range: operand.range.clone(), whole: whole.clone() }, soft)
    }

    /// Compiles a path and notes what it reads of other steps.
    pub(crate) fn read(&mut self, segments: &[Segment], place: &Place<'_>, soft: bool) -> Option<Operand> {
        for segment in segments {
            if let Segment::Name(name) = segment
                && is_forbidden(name)
            {
                self.problems
                    .report(Code::ForbiddenName, place.path, format!("`{name}` is not allowed"))
                    .within(place.range.clone());
                return None;
            }
        }
        let (root, rest) = segments.split_first()?;
        let path = |root, rest: &[Segment]| Some(Operand::Path(Path { root, segments: rest.to_vec() }));
        match (&*name(root), rest) {
            ("steps", [id, field, rest @ ..]) => {
                let step = self.step(&name(id), place, soft)?;
                let field = self.field(StepField::ALL.map(StepField::as_str), &name(field), "a step", place)?;
                path(Root::Step { step, field: StepField::ALL[field] }, rest)
            }
            ("inputs", rest) => path(Root::Inputs, rest),
            ("metadata", [first, ..]) => {
                self.field(METADATA, &name(first), "`metadata`", place)?;
                path(Root::Metadata, rest)
            }
            ("metadata", []) => path(Root::Metadata, rest),
            ("context", []) => Some(Operand::Context),
            ("context", [first, rest @ ..]) => {
                let first = name(first);
                if SECRET_NAMES.contains(&&*first) {
                    self.secret(place.range.clone(), place.path);
                    return None;
                }
                let field = self.field(ContextField::ALL.map(ContextField::as_str), &first, "`context`", place)?;
                path(Root::Context(ContextField::ALL[field]), rest)
            }
            ("env", []) => path(Root::Env, rest),
            ("env", [first, ..]) => {
                self.environment(&name(first), place)?;
                path(Root::Env, rest)
            }
            ("variables", []) => Some(self.variables(place)),
            ("variables", [first, below @ ..]) => self.variable(&name(first), rest, below, place, soft),
            _ => None,
        }
    }

    fn step(&mut self, id: &str, place: &Place<'_>, soft: bool) -> Option<StepIndex> {
        let Some(step) = self.visible.steps.get(id).copied() else {
            let help = self.problems.did_you_mean(id, self.visible.steps.keys().copied());
            let message = format!("no step `{}` in scope", quote(id));
            let problem = self.problems.report(Code::UnknownStep, place.path, message).within(place.range.clone());
            if let Some(help) = help {
                problem.help(help);
            }
            return None;
        };
        if let Some(dependencies) = self.dependencies
            && dependencies.binary_search(&step).is_err()
        {
            self.note(Target::Step(step), place, soft);
        }
        Some(step)
    }

    fn note(&mut self, target: Target, place: &Place<'_>, soft: bool) {
        let (path, range) = (place.path.to_string(), place.whole.clone());
        self.references.push(Reference { target, soft, path, range });
    }

    fn field<const N: usize>(&mut self, known: [&str; N], field: &str, of: &str, place: &Place<'_>) -> Option<usize> {
        let found = known.iter().position(|name| *name == field);
        if found.is_none() {
            let help =
                self.problems.did_you_mean(field, known).unwrap_or_else(|| format!("{of} has {}", known.join(", ")));
            let message = format!("{of} has no `{}`", quote(field));
            self.problems.report(Code::UnknownName, place.path, message).within(place.range.clone()).help(help);
        }
        found
    }

    fn environment(&mut self, name: &str, place: &Place<'_>) -> Option<()> {
        let workflow = self.visible.workflow;
        if workflow.context.environment.contains_key(name)
            || workflow.allowed_env_vars.iter().any(|known| known == name)
        {
            return Some(());
        }
        let message = format!("`{}` is not in allowedEnvVars", quote(name));
        self.problems
            .report(Code::VariableNotAllowed, place.path, message)
            .within(place.range.clone())
            .help("add it there, or to `context.environment`");
        None
    }

    fn variables(&mut self, place: &Place<'_>) -> Operand {
        if !self.visible.captures.is_empty() {
            self.note(Target::Variables, place, true);
        }
        let mut captured: Vec<(String, Path)> =
            self.captured.iter().map(|(name, path)| ((*name).to_owned(), Path::clone(path))).collect();
        captured.sort_by(|(left, _), (right, _)| left.cmp(right));
        Operand::Variables(captured)
    }

    fn variable(
        &mut self,
        name: &str,
        rest: &[Segment],
        below: &[Segment],
        place: &Place<'_>,
        soft: bool,
    ) -> Option<Operand> {
        if self.visible.captures.contains_key(name) {
            self.note(Target::Variable(name.to_owned()), place, soft);
        } else if !soft && !self.visible.workflow.context.variables.contains_key(name) {
            let candidates = self.visible.workflow.context.variables.keys().map(String::as_str);
            let help = self
                .problems
                .did_you_mean(name, candidates.chain(self.visible.captures.keys().copied()))
                .unwrap_or_else(|| "declare it in `context.variables`, or give a default with `??`".to_owned());
            let message = format!("no variable `{}`", quote(name));
            self.problems.report(Code::UnknownName, place.path, message).within(place.range.clone()).help(help);
            return None;
        }
        Some(Operand::Path(match self.captured.get(name) {
            Some(path) => Path { root: path.root, segments: path.segments.iter().chain(below).cloned().collect() },
            None => Path { root: Root::Variables, segments: rest.to_vec() },
        }))
    }
}

/// How missing values are met.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Reads {
    /// By a literal at the end of the chain, or not at all.
    Chain,
    /// Always, as in conditions.
    Soft,
}

/// Where a path is written.
pub(crate) struct Place<'a> {
    pub(crate) path: &'a At<'a>,
    pub(crate) range: Range<usize>,
    /// The expression that it belongs to.
    pub(crate) whole: Range<usize>,
}

fn name(segment: &Segment) -> std::borrow::Cow<'_, str> {
    match segment {
        Segment::Name(name) => (&**name).into(),
        Segment::Index(index) => index.to_string().into(),
    }
}

fn into_literal(template: Template) -> Option<Value> {
    match template {
        Template::Literal(value) => Some(value),
        _ => None,
    }
}

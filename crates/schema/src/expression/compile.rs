//! Compilation: names become what they mean at one place of a workflow.

use std::{collections::HashMap, ops::Range};

use serde_json::{Map, Value};

use super::{
    ContextField, Expression, LoopField, Operand, OwnField, Path, Root, Segment, StepField, Template, TextPart,
    parse::{self, Form, Parsed, ParsedOperand, Part, Piece, SyntaxError},
};
use crate::{
    Code, StepIndex,
    problem::{At, Problems, quote},
    validate::scope::{Found, Names, PLACED_ROOTS, Shown, View},
};

const SECRET_NAMES: [&str; 4] = ["secrets", "secret", "secretRefs", "secretRef"];
const FORBIDDEN: [&str; 5] = ["__proto__", "prototype", "constructor", "toString", "valueOf"];
const METADATA: [&str; 6] = ["id", "name", "description", "tags", "createdAt", "updatedAt"];

/// Whether a name is rejected everywhere.
pub(crate) fn is_forbidden(name: &str) -> bool {
    FORBIDDEN.contains(&name)
}

/// What a place reads of steps.
#[derive(Debug)]
pub(crate) struct Reference {
    /// From where it is read.
    pub(crate) view: View,
    pub(crate) target: Target,
    /// Whether the reader gets by without it.
    pub(crate) soft: bool,
    pub(crate) path: String,
    pub(crate) range: Range<usize>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Target {
    /// A step, and who has to wait for it: the reader, or the composite around it that stands beside the step.
    Step { step: StepIndex, waits: StepIndex },
    /// A variable that some step captures.
    Variable(String),
    /// All variables, where some step captures one.
    Variables,
}

/// The captures that are seen from one step, by name; those seen from inside it, after its body, are apart.
#[derive(Debug, Default)]
pub(crate) struct Seen<'a> {
    pub(crate) outside: HashMap<&'a str, Captured<'a>>,
    pub(crate) inside: HashMap<&'a str, Captured<'a>>,
}

/// Where a captured variable is read.
#[derive(Debug)]
pub(crate) struct Captured<'a> {
    /// The first that leads to a value counts; at least one.
    pub(crate) paths: Vec<&'a Path>,
    /// Whether it belongs to `variables` as a whole, or only its name leads there.
    pub(crate) shown: bool,
}

/// Compiles what stands at one place.
pub(crate) struct Compiler<'a> {
    pub(crate) names: &'a Names<'a>,
    pub(crate) view: View,
    /// The captures that are seen here; known once the graph is.
    pub(crate) seen: &'a Seen<'a>,
    pub(crate) max_depth: usize,
    pub(crate) problems: &'a mut Problems,
    pub(crate) references: Vec<Reference>,
}

impl<'a> Compiler<'a> {
    /// Compiles something from another place.
    pub(crate) fn seen_from<T>(&mut self, view: View, compile: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.view, view);
        let result = compile(self);
        self.view = outer;
        result
    }

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
    pub(crate) fn expression(&mut self, parsed: &Parsed<'_>, text: &str, at: &At<'_>, reads: Reads) -> Expression {
        let [others @ .., last] = &*parsed.operands else {
            return Expression { text: text[parsed.range.clone()].into(), operands: Vec::new(), ranges: Vec::new() };
        };
        let soft = reads == Reads::Soft || !self.is_path(last);
        let whole = &parsed.range;
        let mut operands = Vec::with_capacity(parsed.operands.len());
        // Of an expression with problems nobody asks for its ranges.
        let ranges = parsed.operands.iter().map(|operand| operand.range.clone()).collect();
        if others.is_empty() && !self.is_path(last) {
            self.first_operand(last, text, at);
            return Expression { text: text[whole.clone()].into(), operands, ranges };
        }
        for (index, operand) in others.iter().enumerate() {
            if self.is_path(operand) {
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
            Form::Path(_) if self.is_path(last) => {
                operands.extend(self.path_operand(last, text, whole, at, soft));
            }
            Form::Literal(value) => operands.push(Operand::Literal(value.clone())),
            Form::Path(_) | Form::Bare => {
                self.root_elsewhere(last, 2, at);
                operands.push(Operand::Literal(Value::String(text[last.range.clone()].to_owned())));
            }
        }
        Expression { text: text[whole.clone()].into(), operands, ranges }
    }

    fn is_path(&self, operand: &ParsedOperand<'_>) -> bool {
        match &operand.form {
            Form::Path(segments) => self.view.find(&segments[0].name(), self.names.outline).is_some(),
            Form::Literal(_) | Form::Bare => false,
        }
    }

    /// Explains why the first operand is no path.
    fn first_operand(&mut self, operand: &ParsedOperand<'_>, text: &str, at: &At<'_>) {
        let raw = &text[operand.range.clone()];
        if self.root_elsewhere(operand, 1, at) {
            return;
        }
        let root = match &operand.form {
            Form::Path(segments) => match &segments[0] {
                Piece::Name(root) => &**root,
                Piece::Index(_) => raw,
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
        self.unknown_root(root, &Place { path: at, range: operand.range.clone(), whole: operand.range.clone() });
    }

    /// Reports a root that does not exist, or not here.
    pub(crate) fn unknown_root(&mut self, root: &str, place: &Place<'_>) {
        if let Some(place_of_root) = self.place_of(root) {
            let message = format!("`{}` {place_of_root}", quote(root));
            self.problems.report(Code::RootOutOfScope, place.path, message).within(place.range.clone());
            return;
        }
        let roots = self.view.roots(self.names.outline);
        let help = self
            .problems
            .did_you_mean(root, roots.iter().copied())
            .unwrap_or_else(|| format!("roots: {}; texts stand in single quotes", roots.join(", ")));
        let message = format!("no root `{}`", quote(root));
        self.problems.report(Code::UnknownName, place.path, message).within(place.range.clone()).help(help);
    }

    /// Says where a root can be read that cannot be read here.
    fn place_of(&self, root: &str) -> Option<String> {
        Some(match root {
            "loop" => "outside a loop".to_owned(),
            "accumulator" => "outside a map with an accumulator".to_owned(),
            "self" => "outside hooks, compensation and `output.value`".to_owned(),
            root => match self.names.items.get(root) {
                Some(map) => format!("outside the map `{}`", self.names.outline.step(*map).id),
                None if ["item", "index"].contains(&root) => "outside a map".to_owned(),
                None => return None,
            },
        })
    }

    /// Reports a root that exists, but not here, if the operand is a path of at least so many parts.
    fn root_elsewhere(&mut self, operand: &ParsedOperand<'_>, least: usize, at: &At<'_>) -> bool {
        let Form::Path(segments) = &operand.form else { return false };
        let root = segments[0].name();
        let known = PLACED_ROOTS.contains(&&*root)
            || self.names.items.contains_key(&*root)
            || ["item", "index"].contains(&&*root);
        let Some(place) = (segments.len() >= least && known).then(|| self.place_of(&root)).flatten() else {
            return false;
        };
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
        operand: &ParsedOperand<'_>,
        text: &str,
        whole: &Range<usize>,
        at: &At<'_>,
        soft: bool,
    ) -> Option<Operand> {
        let Form::Path(segments) = &operand.form else { return None };
        if matches!(&segments[0], Piece::Name(root) if &**root == "steps") && segments.len() < 3 {
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
        let below = segments.len().saturating_sub(if &*segments[0].name() == "steps" { 3 } else { 2 });
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
    pub(crate) fn read(&mut self, segments: &[Piece<'_>], place: &Place<'_>, soft: bool) -> Option<Operand> {
        for segment in segments {
            if let Piece::Name(name) = segment
                && is_forbidden(name)
            {
                self.problems
                    .report(Code::ForbiddenName, place.path, format!("`{name}` is not allowed"))
                    .within(place.range.clone());
                return None;
            }
        }
        let (first, rest) = segments.split_first()?;
        let first = first.name();
        let path = |root, rest: &[Piece<'_>]| {
            Some(Operand::Path(Path { root, segments: rest.iter().map(Segment::from).collect() }))
        };
        let Some(found) = self.view.find(&first, self.names.outline) else {
            self.unknown_root(&first, place);
            return None;
        };
        match found {
            Found::Fixed => {}
            Found::Item(map) => return path(Root::Item(map), rest),
            Found::ItemIndex(map) => return path(Root::ItemIndex(map), rest),
            Found::Accumulator(map) => return path(Root::Accumulator(map), rest),
            Found::RacingAccumulator(map) => {
                let map = &self.names.outline.step(map).id;
                let message = format!("the body of `{map}` reads `accumulator`, and items would race");
                self.problems
                    .report(Code::RacingAccumulator, place.path, message)
                    .within(place.range.clone())
                    .help(format!("set `concurrency` of `{map}` to 1, or read it in `accumulator.value` only"));
                return None;
            }
            Found::Loop(step) => {
                let Some((first, rest)) = rest.split_first() else { return Some(Operand::Loop(step)) };
                let field = self.field(&LoopField::ALL.map(LoopField::as_str), &first.name(), "`loop`", place)?;
                return path(Root::Loop { step, field: LoopField::ALL[field] }, rest);
            }
            Found::Own => {
                let own = self.view.own;
                let Some((first, rest)) = rest.split_first() else { return Some(Operand::Own(own)) };
                let names: Vec<_> = own.iter().map(|field: &OwnField| field.as_str()).collect();
                let field = self.field(&names, &first.name(), "`self`", place)?;
                return path(Root::Own(own[field]), rest);
            }
        }
        match (&*first, rest) {
            ("steps", [id, field, rest @ ..]) => {
                let step = self.step(&id.name(), place, soft)?;
                let field = self.field(&StepField::ALL.map(StepField::as_str), &field.name(), "a step", place)?;
                path(Root::Step { step, field: StepField::ALL[field] }, rest)
            }
            ("inputs", rest) => path(Root::Inputs, rest),
            ("metadata", [first, ..]) => {
                self.field(&METADATA, &first.name(), "`metadata`", place)?;
                path(Root::Metadata, rest)
            }
            ("metadata", []) => path(Root::Metadata, rest),
            ("context", []) => Some(Operand::Context),
            ("context", [first, rest @ ..]) => {
                let first = first.name();
                if SECRET_NAMES.contains(&&*first) {
                    self.secret(place.range.clone(), place.path);
                    return None;
                }
                let field = self.field(&ContextField::ALL.map(ContextField::as_str), &first, "`context`", place)?;
                path(Root::Context(ContextField::ALL[field]), rest)
            }
            ("env", []) => path(Root::Env, rest),
            ("env", [first, ..]) => {
                self.environment(&first.name(), place)?;
                path(Root::Env, rest)
            }
            ("variables", []) => Some(self.variables(place)),
            ("variables", [first, below @ ..]) => self.variable(&first.name(), rest, below, place, soft),
            _ => None,
        }
    }

    /// Finds a step that can be read from here.
    pub(crate) fn visible_step(&mut self, id: &str, place: &Place<'_>) -> Option<StepIndex> {
        let names = self.names;
        let outline = names.outline;
        if let Shown::None(point) = self.view.steps {
            self.problems
                .report(Code::RootOutOfScope, place.path, format!("`steps` cannot be read in `{point}`"))
                .within(place.range.clone())
                .help("what it shows would depend on which step finished first; read `self`");
            return None;
        }
        let Some(step) = names.ids.get(id).copied() else {
            let levels = self.view.levels(outline);
            let visible = names.ids.iter().filter(|(_, step)| {
                let scope = outline.scope_of(**step);
                levels.iter().any(|(level, _)| *level == scope)
            });
            let help = self.problems.did_you_mean(id, visible.map(|(id, _)| *id));
            let message = format!("no step `{}` in scope", quote(id));
            let problem = self.problems.report(Code::UnknownStep, place.path, message).within(place.range.clone());
            if let Some(help) = help {
                problem.help(help);
            }
            return None;
        };
        let scope = outline.scope_of(step);
        let own = self.view.reader.map_or(crate::validate::ScopeIndex::ROOT, |reader| outline.scope_of(reader));
        let held = self.view.steps == Shown::Inside && outline.scopes[scope.get()].parent == self.view.reader;
        if held || outline.is_within(own, scope) {
            return Some(step);
        }
        let problem = match names.stand_in(step, own) {
            Some(composite) if Some(composite) == self.view.reader => self
                .problems
                .report(Code::UnknownStep, place.path, format!("no step `{}` in scope", quote(id)))
                .help("the steps inside have not run here"),
            Some(composite) => {
                let composite = &outline.step(composite).id;
                let message = format!("no step `{}` in scope: it is inside `{composite}`", quote(id));
                self.problems
                    .report(Code::UnknownStep, place.path, message)
                    .help(format!("read `steps.{composite}.output`"))
            }
            None => self.problems.report(Code::UnknownStep, place.path, format!("no step `{}` in scope", quote(id))),
        };
        problem.within(place.range.clone());
        None
    }

    fn step(&mut self, id: &str, place: &Place<'_>, soft: bool) -> Option<StepIndex> {
        let step = self.visible_step(id, place)?;
        let waits =
            self.view.reader.and_then(|reader| self.names.outline.lift(reader, self.names.outline.scope_of(step)));
        if let Some(waits) = waits
            && self.names.direct[waits.get()].binary_search(&step).is_err()
        {
            self.note(Target::Step { step, waits }, place, soft);
        }
        Some(step)
    }

    fn note(&mut self, target: Target, place: &Place<'_>, soft: bool) {
        let (path, range) = (place.path.to_string(), place.whole.clone());
        self.references.push(Reference { view: self.view, target, soft, path, range });
    }

    fn field(&mut self, known: &[&str], field: &str, of: &str, place: &Place<'_>) -> Option<usize> {
        let found = known.iter().position(|name| *name == field);
        if found.is_none() {
            let help = self
                .problems
                .did_you_mean(field, known.iter().copied())
                .unwrap_or_else(|| format!("{of} has {}", known.join(", ")));
            let message = format!("{of} has no `{}`", quote(field));
            self.problems.report(Code::UnknownName, place.path, message).within(place.range.clone()).help(help);
        }
        found
    }

    fn environment(&mut self, name: &str, place: &Place<'_>) -> Option<()> {
        let workflow = self.names.outline.workflow;
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

    fn captured(&self) -> &'a HashMap<&'a str, Captured<'a>> {
        if self.view.steps == Shown::Inside { &self.seen.inside } else { &self.seen.outside }
    }

    fn variables(&mut self, place: &Place<'_>) -> Operand {
        let names = self.names;
        if names.captures_any(&self.view) {
            self.note(Target::Variables, place, true);
        }
        let mut shown: Vec<_> = self.captured().iter().filter(|(_, captured)| captured.shown).collect();
        shown.sort_by_key(|(name, _)| **name);
        // What is laid over later counts.
        let paths = shown.into_iter().flat_map(|(name, captured)| {
            captured.paths.iter().rev().map(|path| ((*name).to_owned(), Path::clone(path)))
        });
        Operand::Variables(paths.collect())
    }

    fn variable(
        &mut self,
        name: &str,
        rest: &[Piece<'_>],
        below: &[Piece<'_>],
        place: &Place<'_>,
        soft: bool,
    ) -> Option<Operand> {
        let names = self.names;
        let declared = &names.outline.workflow.context.variables;
        if names.is_captured(name, &self.view) {
            self.note(Target::Variable(name.to_owned()), place, soft);
        } else if !soft && !declared.contains_key(name) {
            let captured = names.captures.keys().filter(|name| names.is_captured(name, &self.view));
            let candidates = declared.keys().map(String::as_str).chain(captured.copied());
            let help = self
                .problems
                .did_you_mean(name, candidates)
                .unwrap_or_else(|| "declare it in `context.variables`, or give a default with `??`".to_owned());
            let message = format!("no variable `{}`", quote(name));
            self.problems.report(Code::UnknownName, place.path, message).within(place.range.clone()).help(help);
            return None;
        }
        let own = Path { root: Root::Variables, segments: rest.iter().map(Segment::from).collect() };
        let Some(captured) = self.captured().get(name) else { return Some(Operand::Path(own)) };
        let below = |path: &&Path| Path {
            root: path.root,
            segments: path.segments.iter().cloned().chain(below.iter().map(Segment::from)).collect(),
        };
        let mut paths: Vec<_> = captured.paths.iter().map(below).collect();
        // Where nothing was captured after all, what is declared is seen.
        paths.extend(declared.contains_key(name).then_some(own));
        Some(match <[Path; 1]>::try_from(paths) {
            Ok([path]) => Operand::Path(path),
            Err(paths) => Operand::First(paths.into()),
        })
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

fn into_literal(template: Template) -> Option<Value> {
    match template {
        Template::Literal(value) => Some(value),
        _ => None,
    }
}

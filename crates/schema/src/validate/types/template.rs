//! Templates, walked side by side with the type that is asked for.

use std::ops::Range;

use serde_json::Value;

use super::{
    Checker, Cx, Report,
    path::{There, show},
};
use crate::{
    Code,
    expression::parse::{self, Form, Parsed, Part, Piece},
    problem::{At, quote},
    types::{ArrayView, Mismatch, ObjectView, Problem, Slot, Type, Verdict},
};

/// What is asked for at a place, and by whom.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) of: &'a Type,
    /// Who asks, as messages call it.
    pub(super) by: &'a str,
}

impl Checker<'_> {
    /// Returns the type of a template's value; reports what is missing in it, and what differs from what is asked for.
    pub(super) fn template(&mut self, value: &Value, at: &At<'_>, cx: Cx, wanted: Option<Wanted<'_>>) -> Type {
        match value {
            Value::String(text) if text.contains("${") => self.text(text, at, cx, wanted),
            Value::Object(map) => match wanted.and_then(|wanted| Some((wanted, wanted.of.sole_object()?))) {
                Some((wanted, view)) => {
                    self.missing(|name| map.contains_key(name), &view, at, wanted);
                    let fields: Vec<_> = map
                        .iter()
                        .map(|(key, value)| (key.clone(), self.entry(key, value, &view, at, cx, wanted), true))
                        .collect();
                    if let Some(why) = view.unseen() {
                        self.note(at, format!("whether it is what {} asks for: {why}", wanted.by));
                    }
                    Type::record(fields)
                }
                None => {
                    let fields: Vec<_> = map
                        .iter()
                        .map(|(key, value)| (key.clone(), self.template(value, &at.key(key), cx, None), true))
                        .collect();
                    let of = Type::record(fields);
                    self.fit(&of, wanted, at, &Given::Written);
                    of
                }
            },
            Value::Array(items) => match wanted.and_then(|wanted| Some((wanted, wanted.of.sole_array()?))) {
                Some((wanted, view)) => self.items(items, &view, at, cx, wanted),
                None => {
                    let items = items.iter().enumerate();
                    let items = items.map(|(index, item)| self.template(item, &at.index(index), cx, None)).collect();
                    let of = Type::tuple(items);
                    self.fit(&of, wanted, at, &Given::Written);
                    of
                }
            },
            literal => {
                let of = Type::of_value(literal);
                self.fit(&of, wanted, at, &Given::Written);
                of
            }
        }
    }

    /// Reports the properties that are required and not there.
    fn missing(&mut self, has: impl Fn(&str) -> bool, view: &ObjectView, at: &At<'_>, wanted: Wanted<'_>) {
        for name in view.required().filter(|name| !has(name)) {
            let message = format!("{} needs `{}`", wanted.by, quote(name));
            self.report(Report::new(Code::MissingInput, at, message));
        }
    }

    fn entry(&mut self, key: &str, value: &Value, view: &ObjectView, at: &At<'_>, cx: Cx, wanted: Wanted<'_>) -> Type {
        let at = at.key(key);
        match view.slot(key) {
            Slot::Of(of) => self.template(value, &at, cx, Some(Wanted { of: &of, by: wanted.by })),
            Slot::Anything => self.template(value, &at, cx, None),
            Slot::Nothing => {
                let fields = wanted.of.fields();
                let help = self.did_you_mean(key, &fields);
                let help = help.or_else(|| (!fields.is_empty()).then(|| super::path::has(&fields)));
                let message = format!("{} takes no `{}`", wanted.by, quote(key));
                self.report(Report::new(Code::NoSuchProperty, &at, message).help(help).on_key());
                self.template(value, &at, cx, None)
            }
        }
    }

    fn items(&mut self, items: &[Value], view: &ArrayView, at: &At<'_>, cx: Cx, wanted: Wanted<'_>) -> Type {
        if let Some(expected) = view.wrong_length(items.len()) {
            let message = format!("expected {expected}, found {}", items.len());
            self.report(Report::new(Code::ConstantViolatesSchema, at, message));
        }
        if let Some(why) = view.unseen() {
            self.note(at, format!("whether it is what {} asks for: {why}", wanted.by));
        }
        let items = items.iter().enumerate().map(|(index, item)| {
            let at = at.index(index);
            match view.slot(index) {
                Slot::Of(of) => self.template(item, &at, cx, Some(Wanted { of: &of, by: wanted.by })),
                Slot::Anything | Slot::Nothing => self.template(item, &at, cx, None),
            }
        });
        Type::tuple(items.collect())
    }

    fn text(&mut self, text: &str, at: &At<'_>, cx: Cx, wanted: Option<Wanted<'_>>) -> Type {
        if self.is_broken(at) {
            return Type::unknown("it has errors");
        }
        let (parts, error) = parse::parse(text);
        if error.is_some() {
            return Type::unknown("it has errors");
        }
        match &parts[..] {
            [Part::Expression(parsed)] => {
                let of = self.expression(parsed, at, cx);
                self.fit(&of, wanted, at, &Given::Expression { parsed, text });
                of
            }
            [] | [Part::Text(_)] => {
                let literal = match parts.into_iter().next() {
                    Some(Part::Text(text)) => Value::String(text),
                    _ => Value::String(String::new()),
                };
                let of = Type::of_value(&literal);
                self.fit(&of, wanted, at, &Given::Written);
                of
            }
            parts => {
                for part in parts {
                    if let Part::Expression(parsed) = part {
                        self.expression(parsed, at, cx);
                    }
                }
                let of = Type::text();
                self.fit(&of, wanted, at, &Given::Text);
                of
            }
        }
    }

    /// Returns the type of a chain of operands: what is missing or null gives way.
    fn expression(&mut self, parsed: &Parsed<'_>, at: &At<'_>, cx: Cx) -> Type {
        self.chain(parsed, at, cx, false)
    }

    /// Returns the type of a chain of operands. In a condition what is missing is null.
    pub(super) fn chain(&mut self, parsed: &Parsed<'_>, at: &At<'_>, cx: Cx, in_condition: bool) -> Type {
        let mut of: Option<Type> = None;
        let add = |of: Option<Type>, more: Type| {
            Some(match of {
                Some(of) => of.or(more),
                None => more,
            })
        };
        let is_path = |checker: &Self, form: &Form<'_>| match form {
            Form::Path(segments) => checker.is_root(segments, cx),
            Form::Literal(_) | Form::Bare => false,
        };
        let Some((last, others)) = parsed.operands.split_last() else { return Type::ANY };
        let has_default = !is_path(self, &last.form);
        for operand in others {
            let Form::Path(segments) = &operand.form else { return Type::ANY };
            let Some(found) = self.path(segments, cx, has_default || in_condition) else {
                return Type::unknown("it has errors");
            };
            match found.presence {
                There::Always if !found.of.is_nullable() => return add(of, found.of).unwrap_or(Type::ANY),
                There::Never(lack) => {
                    let report = Report::new(Code::NoSuchProperty, at, lack.message).help(lack.help);
                    self.report(report.within(operand.range.clone()));
                }
                There::Always | There::Sometimes(_) | There::Unseen(_) => of = add(of, found.of.without_null()),
            }
        }
        let more = match &last.form {
            Form::Path(segments) if !has_default => {
                let Some(found) = self.path(segments, cx, in_condition) else {
                    return Type::unknown("it has errors");
                };
                match found.presence {
                    There::Always => {}
                    There::Never(lack) => {
                        let report = Report::new(Code::NoSuchProperty, at, lack.message).help(lack.help);
                        self.report(report.within(last.range.clone()));
                        return Type::ANY;
                    }
                    There::Sometimes(_) | There::Unseen(_) if in_condition => {
                        return add(of, found.of.or(Type::null())).unwrap_or(Type::ANY);
                    }
                    There::Sometimes(lack) => {
                        let help = lack.help.or_else(|| Some(way_out(segments)));
                        let report = Report::new(Code::NoSuchProperty, at, lack.message).help(help);
                        self.report(report.within(last.range.clone()));
                    }
                    There::Unseen(why) => self.note(at, why),
                }
                found.of
            }
            Form::Literal(value) => Type::of_value(value),
            // A text without quotes.
            Form::Path(_) | Form::Bare => Type::text(),
        };
        add(of, more).unwrap_or(Type::ANY)
    }

    fn is_root(&self, segments: &[Piece<'_>], cx: Cx) -> bool {
        const ROOTS: [&str; 6] = ["steps", "inputs", "variables", "env", "context", "metadata"];
        matches!(segments.first(), Some(Piece::Name(root))
            if ROOTS.contains(&&**root) || self.binding(cx.frame, root).is_some())
    }

    /// Compares a type with what is asked for, and reports the difference.
    pub(super) fn fit(&mut self, of: &Type, wanted: Option<Wanted<'_>>, at: &At<'_>, given: &Given<'_>) {
        let Some(wanted) = wanted else { return };
        match wanted.of.accepts(of) {
            Verdict::Proven => {}
            Verdict::Unproven(why) => {
                self.note(at, format!("whether it is what {} asks for: {why}", wanted.by));
            }
            Verdict::Refuted(mismatch) => self.mismatch(&mismatch, wanted, at, given),
        }
    }

    fn mismatch(&mut self, mismatch: &Mismatch, wanted: Wanted<'_>, at: &At<'_>, given: &Given<'_>) {
        let name = given.name();
        let below = match &*mismatch.path {
            "" => String::new(),
            path => format!(" at `{}`", quote(path)),
        };
        let by = wanted.by;
        let (code, message, help) = match (&mismatch.problem, given) {
            (Problem::Violates(message), Given::Written) => (Code::ConstantViolatesSchema, message.clone(), None),
            (Problem::Violates(message), _) => (Code::TypeMismatch, format!("{name} gives {message}"), None),
            (Problem::Disagree { expected, found }, Given::Written) => {
                (Code::ConstantViolatesSchema, format!("expected {expected}{below}, found {found}"), None)
            }
            (Problem::Disagree { expected, found }, Given::Text) => (
                Code::TypeMismatch,
                format!("expected {expected}, found {found}"),
                Some("an expression with text around it gives text; let it stand alone".to_owned()),
            ),
            (Problem::Disagree { expected, found }, _) => {
                (Code::TypeMismatch, format!("expected {expected}{below}, {name} gives {found}"), None)
            }
            (Problem::Nullable { expected }, _) => (
                Code::TypeMismatch,
                format!("expected {expected}{below}, {name} may be null"),
                below.is_empty().then(|| "give a default with `??`".to_owned()),
            ),
            (Problem::Missing, _) => {
                (Code::MissingInput, format!("{by} needs `{}`, {name} lacks it", quote(&mismatch.path)), None)
            }
            (Problem::MaybeMissing, _) => {
                (Code::TypeMismatch, format!("{by} needs `{}`, {name} may lack it", quote(&mismatch.path)), None)
            }
            (Problem::Excess, _) => {
                (Code::NoSuchProperty, format!("{by} takes no `{}`, {name} has it", quote(&mismatch.path)), None)
            }
            (Problem::Length { expected }, _) => {
                (Code::TypeMismatch, format!("expected {expected}{below}, {name} has another number"), None)
            }
        };
        self.report(Report::new(code, at, message).help(help).within(given.range()));
    }
}

/// Says what to do about a value that may be missing.
fn way_out(segments: &[Piece<'_>]) -> String {
    let path = show(segments);
    match segments {
        [Piece::Name(root), Piece::Name(_)] if &**root == "inputs" => {
            format!("list it in `required`, give it a `default`, or write `${{{path} ?? …}}`")
        }
        _ => format!("give a default: `${{{path} ?? …}}`"),
    }
}

/// What stands at a place where something is asked for.
pub(super) enum Given<'a> {
    /// A value, or a structure with expressions in it.
    Written,
    /// Text with expressions in it.
    Text,
    /// Exactly one expression.
    Expression { parsed: &'a Parsed<'a>, text: &'a str },
    /// Something that is not written here, as messages call it.
    Named(&'a str),
}

impl Given<'_> {
    fn name(&self) -> String {
        match self {
            Self::Written | Self::Text => "it".to_owned(),
            Self::Named(name) => (*name).to_owned(),
            Self::Expression { parsed, text } => match &parsed.operands[..] {
                [operand] => format!("`{}`", quote(&text[operand.range.clone()])),
                _ => "the expression".to_owned(),
            },
        }
    }

    fn range(&self) -> Option<Range<usize>> {
        match self {
            Self::Expression { parsed, .. } => Some(parsed.range.clone()),
            Self::Written | Self::Text | Self::Named(_) => None,
        }
    }
}

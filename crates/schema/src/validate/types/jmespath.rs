//! Types of JMESPath: what a condition or transformation gives, as far as names, comparisons and functions tell.
//!
//! What is absent is null there, so only a name that cannot exist is an error; so is a function whose argument can never be of
//! the type that it takes. Values that only may be of another type are noted.

use std::ops::Range;

use ::jmespath::ast::Ast;

use super::{
    Checker, Cx, Report,
    frame::StepRef,
    path::{Found, There},
};
use crate::{
    Code,
    expression::{StepField, parse::Piece},
    jmespath::{JmesPath, export},
    problem::At,
    types::{Access, Type, Verdict},
};

/// What a node is evaluated on.
#[derive(Clone)]
pub(super) enum On {
    /// The object of all roots.
    Roots,
    /// The object of all steps.
    Steps,
    Step(StepRef),
    Value(Type),
}

impl Checker<'_> {
    /// Returns the type of a condition's value.
    pub(super) fn condition_text(&mut self, text: &str, at: &At<'_>, cx: Cx) -> Type {
        use crate::expression::parse::{self, Part};
        if self.is_broken(at) {
            return Type::ANY;
        }
        if text.contains("${") {
            let (parts, _) = parse::parse(text);
            let parsed = parts.iter().find_map(|part| match part {
                Part::Expression(parsed) => Some(parsed),
                Part::Text(_) => None,
            });
            // A missing value is null here.
            return parsed.map_or(Type::ANY, |parsed| self.operands_or_null(parsed, at, cx));
        }
        let quoted = crate::validate::condition::Quoted::new(text);
        match JmesPath::compile(quoted.text()) {
            Ok(path) => self.jmespath(&path, &On::Roots, at, cx, &|offset| quoted.original(offset)),
            Err(_) => Type::ANY,
        }
    }

    /// Returns the type of what an expression gives.
    ///
    /// `original` finds in the text as written what has an offset in the one that was compiled.
    pub(super) fn jmespath(
        &mut self,
        path: &JmesPath,
        on: &On,
        at: &At<'_>,
        cx: Cx,
        original: &dyn Fn(usize) -> usize,
    ) -> Type {
        let on = Typing { checker: self, at, cx, text: path.as_str(), original }.node(path.ast(), on);
        match on {
            On::Value(of) => of,
            On::Roots | On::Steps | On::Step(_) => Type::any_object(),
        }
    }
}

struct Typing<'c, 'w, 'a> {
    checker: &'c mut Checker<'w>,
    at: &'c At<'a>,
    cx: Cx,
    /// What was compiled.
    text: &'c str,
    original: &'c dyn Fn(usize) -> usize,
}

impl Typing<'_, '_, '_> {
    fn node(&mut self, node: &Ast, on: &On) -> On {
        On::Value(match node {
            Ast::Identity { .. } => return on.clone(),
            Ast::Field { name, offset } => return self.field(name, *offset, on),
            Ast::Subexpr { .. } => return self.chain(node, on),
            Ast::Index { idx, .. } => Self::index(*idx, on),
            Ast::Literal { value, .. } => export(value).map_or(Type::ANY, |value| Type::of_value(&value)),
            Ast::And { .. } | Ast::Or { .. } => self.either(node, on),
            Ast::Not { node, .. } => {
                self.value(node, on);
                Type::boolean()
            }
            Ast::Comparison { lhs, rhs, .. } => {
                self.value(lhs, on);
                self.value(rhs, on);
                Type::boolean().or(Type::null())
            }
            Ast::Condition { predicate, then, .. } => {
                self.value(predicate, on);
                self.value(then, on).or(Type::null())
            }
            Ast::Projection { lhs, rhs, .. } => {
                let list = self.value(lhs, on).without_null();
                match list.elements() {
                    Some(element) => {
                        let of = self.value(rhs, &On::Value(element)).without_null();
                        Type::array_of(of, 0).or(Type::null())
                    }
                    None => {
                        self.value(rhs, &On::Value(Type::ANY));
                        Type::ANY
                    }
                }
            }
            Ast::Flatten { node, .. } => {
                let list = self.value(node, on);
                let flat = list.without_null().elements().and_then(|element| {
                    let inner = element.elements();
                    // A mix of arrays and others is flattened in part.
                    inner.or_else(|| element.is_no_array().then_some(element))
                });
                flat.map_or(Type::ANY, |of| Type::array_of(of, 0).or(Type::null()))
            }
            Ast::ObjectValues { node, .. } => {
                self.value(node, on);
                Type::ANY
            }
            Ast::Slice { .. } => match on {
                On::Value(of) => match of.clone().without_null().elements() {
                    Some(element) => Type::array_of(element, 0).or(Type::null()),
                    None => Type::ANY,
                },
                _ => Type::ANY,
            },
            Ast::MultiList { elements, .. } => {
                let items: Vec<_> = elements.iter().map(|element| self.value(element, on)).collect();
                or_null(Type::tuple(items), on)
            }
            Ast::MultiHash { elements, .. } => {
                let fields: Vec<_> =
                    elements.iter().map(|pair| (pair.key.clone(), self.value(&pair.value, on), true)).collect();
                or_null(Type::record(fields), on)
            }
            Ast::Expref { .. } => Type::ANY,
            Ast::Function { name, args, offset } => self.function(name, args, *offset, on),
        })
    }

    fn value(&mut self, node: &Ast, on: &On) -> Type {
        match self.node(node, on) {
            On::Value(of) => of,
            On::Roots | On::Steps | On::Step(_) => Type::any_object(),
        }
    }

    fn either(&mut self, node: &Ast, on: &On) -> Type {
        let mut node = node;
        let mut of: Option<Type> = None;
        while let Ast::And { lhs, rhs, .. } | Ast::Or { lhs, rhs, .. } = node {
            let right = self.value(rhs, on);
            of = Some(match of {
                Some(of) => of.or(right),
                None => right,
            });
            node = lhs;
        }
        let first = self.value(node, on);
        of.map_or(first.clone(), |of| of.or(first))
    }

    /// Chains lean to the left and may be long, so they are walked without recursion.
    fn chain(&mut self, node: &Ast, on: &On) -> On {
        let mut rest = Vec::new();
        let mut node = node;
        while let Ast::Subexpr { lhs, rhs, .. } = node {
            rest.push(rhs);
            node = lhs;
        }
        let mut on = self.node(node, on);
        for part in rest.into_iter().rev() {
            on = self.node(part, &on);
        }
        on
    }

    fn field(&mut self, name: &str, offset: usize, on: &On) -> On {
        let found = match on {
            On::Roots if name == "steps" => return On::Steps,
            On::Roots => self.checker.path(&[Piece::Name(name.into())], self.cx, true),
            On::Steps => {
                return match self.checker.find(self.cx.frame, name) {
                    Some(step) => On::Step(step),
                    None => On::Value(Type::ANY),
                };
            }
            On::Step(step) if StepField::ALL.iter().any(|field| field.as_str() == name) => {
                let id = self.checker.step(*step).id.to_string();
                self.checker.path(
                    &[Piece::Name("steps".into()), Piece::Name((&*id).into()), Piece::Name(name.into())],
                    self.cx,
                    true,
                )
            }
            On::Step(_) => return On::Value(Type::null()),
            On::Value(of) => return On::Value(self.property(name, offset, of)),
        };
        On::Value(match found {
            Some(Found { of, presence: There::Always }) => of,
            Some(Found { of, .. }) => of.or(Type::null()),
            None => Type::ANY,
        })
    }

    fn property(&mut self, name: &str, offset: usize, of: &Type) -> Type {
        match of.property(name) {
            Access::Present(of) => of,
            Access::MaybeAbsent { of, .. } => of.or(Type::null()),
            Access::Impossible => {
                let fields = of.fields();
                if of.is_only_null() {
                    return Type::null();
                }
                let help = self.checker.did_you_mean(name, &fields);
                let help = help.or_else(|| (!fields.is_empty()).then(|| super::path::has(&fields)));
                let what = if fields.is_empty() { of.to_string() } else { "the value".to_owned() };
                let message = format!("{what} has no `{}`", crate::problem::quote(name));
                let report = Report::new(Code::NoSuchProperty, self.at, message).help(help);
                self.checker.report(report.within(self.range(name, offset)));
                Type::null()
            }
            Access::Unknown(_) => Type::ANY,
        }
    }

    fn index(index: i32, on: &On) -> Type {
        let On::Value(of) = on else { return Type::null() };
        let Ok(place) = usize::try_from(index) else {
            return of.clone().without_null().elements().map_or(Type::ANY, |of| of.or(Type::null()));
        };
        match of.index(place) {
            Access::Present(of) => of,
            Access::MaybeAbsent { of, .. } => of.or(Type::null()),
            Access::Impossible => Type::null(),
            Access::Unknown(_) => Type::ANY,
        }
    }

    /// Finds a name in the text as it was written.
    fn range(&self, name: &str, offset: usize) -> Option<Range<usize>> {
        let found = self.text.get(offset..)?;
        let quote = usize::from(found.starts_with('"'));
        found.get(quote..)?.starts_with(name).then(|| {
            let start = (self.original)(offset + quote);
            start..start + name.len()
        })
    }

    fn function(&mut self, name: &str, args: &[Ast], offset: usize, on: &On) -> Type {
        let given: Vec<_> = args.iter().map(|argument| self.value(argument, on)).collect();
        let Some((takes, gives)) = signature(name, args) else {
            self.checker.note(self.at, format!("whether `{name}` gets what it takes"));
            return Type::ANY;
        };
        for (argument, wanted) in given.iter().zip(&takes) {
            match wanted.accepts(argument) {
                Verdict::Proven => {}
                _ if wanted.excludes(argument) => {
                    let message = format!("`{name}` takes {wanted}, and gets {argument}");
                    // The parser notes where the arguments begin.
                    let start = self.text.get(..offset).and_then(|before| before.rfind(name)).unwrap_or(offset);
                    let report = Report::new(Code::TypeMismatch, self.at, message);
                    self.checker.report(report.within(self.range(name, start)));
                }
                _ => self.checker.note(self.at, format!("whether `{name}` gets {wanted}: it may get {argument}")),
            }
        }
        gives
    }
}

/// A list or hash that is made of null is null.
fn or_null(of: Type, on: &On) -> Type {
    match on {
        On::Value(on) if on.is_nullable() => of.or(Type::null()),
        _ => of,
    }
}

/// Returns what a function takes and gives; `None` where that depends on an expression it is given.
fn signature(name: &str, args: &[Ast]) -> Option<(Vec<Type>, Type)> {
    let list = |of: Type| Type::array_of(of, 0);
    let any_list = || list(Type::ANY);
    let (number, text) = (Type::number, Type::text);
    let scalars = || list(Type::number()).or(list(Type::text()));
    Some(match (name, args.len()) {
        ("abs" | "ceil" | "floor", 1) => (vec![number()], number()),
        ("avg", 1) => (vec![list(number())], number().or(Type::null())),
        ("sum", 1) => (vec![list(number())], number()),
        ("contains", 2) => (vec![any_list().or(text()), Type::ANY], Type::boolean()),
        ("starts_with" | "ends_with", 2) => (vec![text(), text()], Type::boolean()),
        ("join", 2) => (vec![text(), list(text())], text()),
        ("keys", 1) => (vec![Type::any_object()], list(text())),
        ("values", 1) => (vec![Type::any_object()], any_list()),
        ("length", 1) => (vec![any_list().or(text()).or(Type::any_object())], Type::integer()),
        ("max" | "min", 1) => (vec![scalars()], number().or(text()).or(Type::null())),
        ("sort", 1) => (vec![scalars()], scalars()),
        ("reverse", 1) => (vec![any_list().or(text())], any_list().or(text())),
        ("not_null", count) => (vec![Type::ANY; count], Type::ANY),
        ("to_array", 1) => (vec![Type::ANY], any_list()),
        ("to_string", 1) => (vec![Type::ANY], text()),
        ("to_number", 1) => (vec![Type::ANY], number().or(Type::null())),
        ("type", 1) => (vec![Type::ANY], text()),
        _ => return None,
    })
}

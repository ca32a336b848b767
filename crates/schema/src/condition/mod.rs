//! Conditions: whether a step runs, compiled once and evaluated on nothing but what they name.

mod logic;

use std::{borrow::Cow, collections::BTreeMap};

use ::jmespath::Variable;
use serde_json::Value;

pub(crate) use self::logic::Logic;
use crate::{
    expression::{EvaluationError, Expression, Operand, Root, Scope},
    jmespath::{self, JmesPath, Shared, Visits, export},
    workflow::Operator,
};

/// A compiled condition.
///
/// Truth is that of JMESPath: `false`, `null`, `""`, `[]` and `{}` are false, everything else, also `0`, is true.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition(pub(crate) Kind);

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Few have an `unless`.
    Predicates {
        if_: Option<Test>,
        unless: Option<Box<Test>>,
    },
    Comparison(Box<Comparison>),
}

/// A value, and what it is compared with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Comparison {
    pub(crate) test: Test,
    pub(crate) operator: Operator,
    pub(crate) value: Value,
}

/// What is evaluated: JMESPath, be it simple or not, or exactly one expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Test {
    Logic { text: Box<str>, logic: Logic },
    JmesPath(Box<(JmesPath, Needs)>),
    Expression(Expression),
}

/// The parts of the visible roots that a JMESPath expression names; everything else is left out of what it is evaluated on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Needs {
    /// Everything from here on.
    Whole(Operand),
    /// These names of an object.
    Names(Vec<(String, Needs)>),
}

impl Condition {
    /// Evaluates the condition; what is missing is null.
    ///
    /// # Errors
    ///
    /// When a function gets arguments of the wrong type, or more than [`JmesPath::MAX_VISITS`] nodes are visited.
    pub fn holds(&self, scope: &dyn Scope) -> Result<bool, EvaluationError> {
        match &self.0 {
            Kind::Predicates { if_, unless } => Ok(match if_ {
                Some(test) if !test.is_true(scope)? => false,
                _ => match unless {
                    Some(test) => !test.is_true(scope)?,
                    None => true,
                },
            }),
            Kind::Comparison(comparison) => {
                let Comparison { test, operator, value } = &**comparison;
                Ok(compare(&*test.value(scope)?, *operator, value))
            }
        }
    }
}

impl Condition {
    /// Returns the result of a condition that reads nothing that can vary.
    pub(crate) fn constant(&self) -> Option<bool> {
        match &self.0 {
            Kind::Predicates { if_, unless } => {
                let constant = |test: &Test| test.constant()?.ok();
                let if_ = if_.as_ref().map_or(Some(true), constant);
                let unless = unless.as_deref().map_or(Some(false), constant);
                match (if_, unless) {
                    (Some(false), _) | (_, Some(true)) => Some(false),
                    (Some(true), Some(false)) => Some(true),
                    _ => None,
                }
            }
            Kind::Comparison(_) => None,
        }
    }

    /// Calls `visit` with everything that it reads.
    pub(crate) fn visit<'a>(&'a self, mut visit: impl FnMut(&'a Operand)) {
        match &self.0 {
            Kind::Predicates { if_, unless } => {
                if_.iter().chain(unless.as_deref()).for_each(|test| test.visit(&mut visit));
            }
            Kind::Comparison(comparison) => comparison.test.visit(&mut visit),
        }
    }
}

impl Test {
    pub(crate) fn is_true(&self, scope: &dyn Scope) -> Result<bool, EvaluationError> {
        match self {
            Self::Logic { text, logic } => Ok(is_true(&*evaluate(text, logic, scope)?)),
            Self::JmesPath(search) => Ok(self::search(search, scope)?.is_truthy()),
            Self::Expression(expression) => Ok(expression.evaluate(scope).is_some_and(|value| is_true(&value))),
        }
    }

    /// Returns the result of a test that reads nothing.
    pub(crate) fn constant(&self) -> Option<Result<bool, EvaluationError>> {
        let mut reads = matches!(self, Self::Expression(_));
        self.visit(&mut |_| reads = true);
        (!reads).then(|| self.is_true(&Nothing))
    }

    /// Calls `visit` with everything that it reads.
    fn visit<'a>(&'a self, visit: &mut impl FnMut(&'a Operand)) {
        match self {
            Self::Logic { logic, .. } => logic.visit(visit),
            Self::JmesPath(search) => search.1.visit(visit),
            Self::Expression(expression) => expression.operands().iter().for_each(visit),
        }
    }

    fn value<'a>(&'a self, scope: &'a dyn Scope) -> Result<Cow<'a, Value>, EvaluationError> {
        match self {
            Self::Logic { text, logic } => evaluate(text, logic, scope),
            Self::JmesPath(search) => {
                let value = self::search(search, scope)?;
                export(&value).map(Cow::Owned).map_err(|stop| jmespath::stopped(search.0.as_str(), &stop))
            }
            Self::Expression(expression) => Ok(expression.evaluate(scope).unwrap_or(Cow::Owned(Value::Null))),
        }
    }
}

fn evaluate<'a>(text: &str, logic: &'a Logic, scope: &'a dyn Scope) -> Result<Cow<'a, Value>, EvaluationError> {
    logic.evaluate(scope).map_err(|stop| jmespath::stopped(text, &stop))
}

fn search((path, needs): &(JmesPath, Needs), scope: &dyn Scope) -> Result<Shared, EvaluationError> {
    let mut visits = Visits::new(JmesPath::MAX_VISITS);
    let result = needs.import(scope, &mut visits).and_then(|data| {
        let data = data.unwrap_or_else(|| Shared::new(Variable::Object(BTreeMap::new())));
        path.search(&data, &mut visits)
    });
    result.map_err(|stop| jmespath::stopped(path.as_str(), &stop))
}

/// What an expression reads at a chain of names.
#[derive(Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) names: Vec<&'a str>,
    pub(crate) operand: Operand,
}

impl Needs {
    /// Makes one object of all that is shown.
    pub(crate) fn of(shown: Vec<Shown<'_>>) -> Self {
        let mut needs = Self::Names(Vec::new());
        for Shown { names, operand } in shown {
            needs.insert(&names, operand);
        }
        needs
    }

    /// Makes room for `operand` at a place, unless more is already shown there.
    fn insert(&mut self, names: &[&str], operand: Operand) {
        match (self, names) {
            (Self::Whole(_), _) => {}
            (this, []) => *this = Self::Whole(operand),
            (Self::Names(entries), [name, rest @ ..]) => {
                let index = entries.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                    entries.push(((*name).to_owned(), Self::Names(Vec::new())));
                    entries.len() - 1
                });
                entries[index].1.insert(rest, operand);
            }
        }
    }

    fn visit<'a>(&'a self, visit: &mut impl FnMut(&'a Operand)) {
        match self {
            Self::Whole(operand) => visit(operand),
            Self::Names(names) => names.iter().for_each(|(_, needs)| needs.visit(visit)),
        }
    }

    fn import(&self, scope: &dyn Scope, visits: &mut Visits) -> Result<Option<Shared>, crate::jmespath::Stop> {
        match self {
            Self::Whole(operand) => operand.evaluate(scope).map(|value| visits.import(&value)).transpose(),
            Self::Names(names) => {
                let mut map = BTreeMap::new();
                for (name, needs) in names {
                    if let Some(value) = needs.import(scope, visits)? {
                        map.insert(name.clone(), value);
                    }
                }
                Ok(Some(Shared::new(Variable::Object(map))))
            }
        }
    }
}

/// Nothing is visible to a condition that names nothing.
struct Nothing;

impl Scope for Nothing {
    fn root(&self, _: Root) -> Option<Cow<'_, Value>> {
        None
    }
}

/// Truth in the sense of JMESPath.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

fn compare(left: &Value, operator: Operator, right: &Value) -> bool {
    match operator {
        Operator::Equals => equal(left, right),
        Operator::NotEquals => !equal(left, right),
        Operator::NotEmpty => is_true(left),
        Operator::GreaterThan => precedes(right, left),
        Operator::LessThan => precedes(left, right),
        Operator::Contains => match (left, right) {
            (Value::Array(items), part) => items.iter().any(|item| equal(item, part)),
            (Value::String(text), Value::String(part)) => text.contains(part),
            (Value::Object(map), Value::String(key)) => map.contains_key(key),
            _ => false,
        },
    }
}

fn precedes(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() < right.as_f64(),
        (Value::String(left), Value::String(right)) => left < right,
        _ => false,
    }
}

/// Equality of JSON values, for which 1 and 1.0 are the same number.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left == right || ((left.is_f64() || right.is_f64()) && left.as_f64() == right.as_f64())
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| equal(value, other)))
        }
        (left, right) => left == right,
    }
}

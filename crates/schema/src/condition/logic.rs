//! The conditions that most people write: comparisons of what they read, joined by `&&`, `||` and `!`.
//!
//! They are evaluated in place, on borrowed values, with the results that the interpreter of all of JMESPath has; whatever calls a
//! function, projects or picks by index is left to that one.

use std::{borrow::Cow, iter};

use ::jmespath::{
    Variable,
    ast::{Ast, Comparator},
};
use serde_json::Value;

use super::{Shown, is_true};
use crate::{
    expression::{Operand, Scope},
    jmespath::{JmesPath, Stop, Visits, chain, export},
};

/// How deep a condition may be nested to be evaluated here.
const MAX_DEPTH: usize = 64;

static NULL: Value = Value::Null;

/// A condition that only reads, compares and joins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Logic {
    Read(Operand),
    Literal(Value),
    Not(Box<Self>),
    /// The first that is false, or the last.
    All(Vec<Self>),
    /// The first that is true, or the last.
    Any(Vec<Self>),
    Compare(Box<(Self, Comparator, Self)>),
}

impl Logic {
    /// Compiles a JMESPath expression that reads what is shown, if it is one of these.
    pub(crate) fn of(ast: &Ast, shown: &[Shown<'_>]) -> Option<Self> {
        Self::compile(ast, shown, MAX_DEPTH)
    }

    fn compile(ast: &Ast, shown: &[Shown<'_>], depth: usize) -> Option<Self> {
        let depth = depth.checked_sub(1)?;
        let both = |lhs: &Ast, rhs: &Ast| Some((Self::compile(lhs, shown, depth)?, Self::compile(rhs, shown, depth)?));
        // A chain of the same operator becomes one list.
        match ast {
            Ast::Literal { value, .. } => export(value).ok().map(Self::Literal),
            Ast::Not { node, .. } => Some(Self::Not(Box::new(Self::compile(node, shown, depth)?))),
            Ast::Comparison { comparator, lhs, rhs, .. } => {
                let (left, right) = both(lhs, rhs)?;
                Some(Self::Compare(Box::new((left, comparator.clone(), right))))
            }
            Ast::And { lhs, rhs, .. } => Some(match both(lhs, rhs)? {
                (Self::All(left), right) => Self::All(left.into_iter().chain(iter::once(right)).collect()),
                (left, right) => Self::All(vec![left, right]),
            }),
            Ast::Or { lhs, rhs, .. } => Some(match both(lhs, rhs)? {
                (Self::Any(left), right) => Self::Any(left.into_iter().chain(iter::once(right)).collect()),
                (left, right) => Self::Any(vec![left, right]),
            }),
            _ => {
                let names = chain(ast)?.names;
                shown.iter().find(|shown| shown.names == names).map(|shown| Self::Read(shown.operand.clone()))
            }
        }
    }

    /// Evaluates the condition; what is missing is null.
    pub(crate) fn evaluate<'a>(&'a self, scope: &'a dyn Scope) -> Result<Cow<'a, Value>, Stop> {
        self.value(scope, &mut Visits::new(JmesPath::MAX_VISITS))
    }

    fn value<'a>(&'a self, scope: &'a dyn Scope, visits: &mut Visits) -> Result<Cow<'a, Value>, Stop> {
        match self {
            Self::Read(operand) => Ok(operand.evaluate(scope).unwrap_or(Cow::Borrowed(&NULL))),
            Self::Literal(value) => Ok(Cow::Borrowed(value)),
            Self::Not(part) => part.value(scope, visits).map(|value| Cow::Owned(Value::Bool(!is_true(&value)))),
            Self::All(parts) => decide(parts, false, scope, visits),
            Self::Any(parts) => decide(parts, true, scope, visits),
            Self::Compare(comparison) => {
                let (left, comparator, right) = &**comparison;
                let (left, right) = (left.value(scope, visits)?, right.value(scope, visits)?);
                let result = compare(&left, comparator, &right, visits)?;
                Ok(Cow::Owned(result.map_or(Value::Null, Value::Bool)))
            }
        }
    }

    /// Calls `visit` with everything that is read.
    pub(crate) fn visit<'a>(&'a self, visit: &mut impl FnMut(&'a Operand)) {
        match self {
            Self::Read(operand) => visit(operand),
            Self::Literal(_) => {}
            Self::Not(part) => part.visit(visit),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.visit(visit)),
            Self::Compare(comparison) => {
                comparison.0.visit(visit);
                comparison.2.visit(visit);
            }
        }
    }
}

/// Evaluates parts until one has the truth that decides.
fn decide<'a>(
    parts: &'a [Logic],
    decisive: bool,
    scope: &'a dyn Scope,
    visits: &mut Visits,
) -> Result<Cow<'a, Value>, Stop> {
    let mut last = Cow::Borrowed(&NULL);
    for part in parts {
        last = part.value(scope, visits)?;
        if is_true(&last) == decisive {
            break;
        }
    }
    Ok(last)
}

/// Compares as JMESPath does: only numbers have an order, and what has none compares to null.
fn compare(left: &Value, comparator: &Comparator, right: &Value, visits: &mut Visits) -> Result<Option<bool>, Stop> {
    match (comparator, left, right) {
        (Comparator::Equal, ..) => equal(left, right, visits).map(Some),
        (Comparator::NotEqual, ..) => equal(left, right, visits).map(|equal| Some(!equal)),
        (_, Value::Number(left), Value::Number(right)) => {
            Ok(Variable::Number(left.clone()).compare(comparator, &Variable::Number(right.clone())))
        }
        _ => Ok(None),
    }
}

/// Equality as JMESPath has it, each pair of nodes being a visit.
fn equal(left: &Value, right: &Value, visits: &mut Visits) -> Result<bool, Stop> {
    visits.pay(1)?;
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            Ok(Variable::Number(left.clone()) == Variable::Number(right.clone()))
        }
        (Value::Array(left), Value::Array(right)) => {
            let same = left.len() == right.len();
            all(iter::zip(left, right).take_while(|_| same), visits).map(|equal| same && equal)
        }
        (Value::Object(left), Value::Object(right)) => {
            let same = left.len() == right.len() && left.keys().all(|key| right.contains_key(key));
            let pairs = left.iter().filter_map(|(key, value)| Some((value, right.get(key)?)));
            all(pairs.take_while(|_| same), visits).map(|equal| same && equal)
        }
        (left, right) => Ok(left == right),
    }
}

fn all<'a>(mut pairs: impl Iterator<Item = (&'a Value, &'a Value)>, visits: &mut Visits) -> Result<bool, Stop> {
    pairs.try_fold(true, |same, (left, right)| Ok(same && equal(left, right, visits)?))
}

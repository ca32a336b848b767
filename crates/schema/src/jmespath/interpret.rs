//! An interpreter that counts: JMESPath can double a list in eight characters, so evaluation pays for each node it visits.

use std::{cmp::Ordering, collections::BTreeMap, fmt};

use ::jmespath::{Context, DEFAULT_RUNTIME, ErrorReason, Variable, ast::Ast};
use serde_json::Value;

use super::Shared;

/// Why an evaluation stopped.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stop {
    /// Too many nodes were visited.
    Visits(usize),
    /// The result is nested too deeply.
    Depth(usize),
    /// A function did not accept its arguments.
    Function(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Visits(most) => write!(f, "it visits more than {most} nodes"),
            Self::Depth(most) => write!(f, "its result is nested more than {most} deep"),
            Self::Function(message) => f.write_str(message),
        }
    }
}

/// The nodes that an evaluation may still visit.
#[derive(Debug)]
pub(crate) struct Visits {
    left: usize,
    most: usize,
}

impl Visits {
    pub(crate) fn new(most: usize) -> Self {
        Self { left: most, most }
    }

    pub(crate) fn pay(&mut self, nodes: usize) -> Result<(), Stop> {
        self.left = self.left.checked_sub(nodes).ok_or(Stop::Visits(self.most))?;
        Ok(())
    }

    /// Converts a value, each of its nodes being a visit.
    pub(crate) fn import(&mut self, value: &Value) -> Result<Shared, Stop> {
        self.pay(1)?;
        Ok(Shared::new(match value {
            Value::Null => Variable::Null,
            Value::Bool(flag) => Variable::Bool(*flag),
            Value::Number(number) => Variable::Number(number.clone()),
            Value::String(text) => Variable::String(text.clone()),
            Value::Array(items) => {
                Variable::Array(items.iter().map(|item| self.import(item)).collect::<Result<_, _>>()?)
            }
            Value::Object(map) => Variable::Object(
                map.iter().map(|(key, value)| Ok((key.clone(), self.import(value)?))).collect::<Result<_, _>>()?,
            ),
        }))
    }
}

pub(super) struct Interpreter<'a> {
    text: &'a str,
    visits: &'a mut Visits,
}

impl<'a> Interpreter<'a> {
    pub(super) fn new(text: &'a str, visits: &'a mut Visits) -> Self {
        Self { text, visits }
    }

    pub(super) fn node(&mut self, data: &Shared, node: &Ast) -> Result<Shared, Stop> {
        // Chains such as `a.b.c` lean to the left and may be long, so that side is walked without recursion.
        let mut spine = Vec::new();
        let mut leaf = node;
        while let Some(left) = left(leaf) {
            spine.push(leaf);
            leaf = left;
        }
        let mut value = self.leaf(data, leaf)?;
        for node in spine.into_iter().rev() {
            value = self.branch(data, node, value)?;
        }
        Ok(value)
    }

    /// A node whose left side has the value `left`.
    fn branch(&mut self, data: &Shared, node: &Ast, left: Shared) -> Result<Shared, Stop> {
        self.visits.pay(1)?;
        Ok(match node {
            Ast::Subexpr { rhs, .. } => self.node(&left, rhs)?,
            Ast::Or { .. } if left.is_truthy() => left,
            Ast::And { .. } if !left.is_truthy() => left,
            Ast::Or { rhs, .. } | Ast::And { rhs, .. } => self.node(data, rhs)?,
            Ast::Comparison { comparator, rhs, .. } => {
                let right = self.node(data, rhs)?;
                // Comparing structures walks them.
                self.visits.pay(size(&left, self.visits.left))?;
                Shared::new(left.compare(comparator, &right).map_or(Variable::Null, Variable::Bool))
            }
            Ast::ObjectValues { .. } => match &*left {
                Variable::Object(map) => self.array(map.values().cloned().collect())?,
                _ => Shared::new(Variable::Null),
            },
            Ast::Projection { rhs, .. } => match left.as_array() {
                None => Shared::new(Variable::Null),
                Some(items) => {
                    let mut collected = Vec::new();
                    for item in items {
                        let value = self.node(item, rhs)?;
                        if !value.is_null() {
                            collected.push(value);
                        }
                    }
                    self.array(collected)?
                }
            },
            Ast::Flatten { .. } => match left.as_array() {
                None => Shared::new(Variable::Null),
                Some(items) => {
                    self.visits.pay(items.iter().map(|item| item.as_array().map_or(1, Vec::len)).sum())?;
                    let mut collected = Vec::new();
                    for item in items {
                        match item.as_array() {
                            Some(inner) => collected.extend(inner.iter().cloned()),
                            None => collected.push(Shared::clone(item)),
                        }
                    }
                    Shared::new(Variable::Array(collected))
                }
            },
            // Only the nodes above have a left side.
            _ => left,
        })
    }

    /// A node without a left side.
    fn leaf(&mut self, data: &Shared, node: &Ast) -> Result<Shared, Stop> {
        self.visits.pay(1)?;
        Ok(match node {
            Ast::Field { name, .. } => data.get_field(name),
            Ast::Literal { value, .. } => Shared::clone(value),
            Ast::Index { idx, .. } => match usize::try_from(*idx) {
                Ok(index) => data.get_index(index),
                Err(_) => data.get_negative_index(idx.unsigned_abs() as usize),
            },
            Ast::Not { node, .. } => Shared::new(Variable::Bool(!self.node(data, node)?.is_truthy())),
            Ast::Condition { predicate, then, .. } => {
                if self.node(data, predicate)?.is_truthy() {
                    self.node(data, then)?
                } else {
                    Shared::new(Variable::Null)
                }
            }
            Ast::MultiList { .. } | Ast::MultiHash { .. } if data.is_null() => Shared::new(Variable::Null),
            Ast::MultiList { elements, .. } => {
                let items = elements.iter().map(|element| self.node(data, element)).collect::<Result<_, _>>()?;
                Shared::new(Variable::Array(items))
            }
            Ast::MultiHash { elements, .. } => {
                let mut map = BTreeMap::new();
                for pair in elements {
                    map.insert(pair.key.clone(), self.node(data, &pair.value)?);
                }
                Shared::new(Variable::Object(map))
            }
            Ast::Function { name, args, offset } => self.function(data, name, args, *offset)?,
            Ast::Expref { ast, .. } => Shared::new(Variable::Expref(Ast::clone(ast))),
            Ast::Slice { step: 0, .. } => return Err(Stop::Function("a slice's step cannot be 0".to_owned())),
            Ast::Slice { start, stop, step, .. } => match data.slice(*start, *stop, *step) {
                Some(items) => self.array(items)?,
                None => Shared::new(Variable::Null),
            },
            // What has a left side is a branch.
            Ast::Identity { .. }
            | Ast::Subexpr { .. }
            | Ast::Or { .. }
            | Ast::And { .. }
            | Ast::Comparison { .. }
            | Ast::ObjectValues { .. }
            | Ast::Projection { .. }
            | Ast::Flatten { .. } => Shared::clone(data),
        })
    }

    fn array(&mut self, items: Vec<Shared>) -> Result<Shared, Stop> {
        self.visits.pay(items.len())?;
        Ok(Shared::new(Variable::Array(items)))
    }

    fn function(&mut self, data: &Shared, name: &str, args: &[Ast], offset: usize) -> Result<Shared, Stop> {
        // Functions that take an expression run it here, where its visits are counted.
        match (name, args) {
            ("map", [Ast::Expref { ast, .. }, items]) => {
                let items = self.node(data, items)?;
                if let Some(items) = items.as_array() {
                    let items = items.iter().map(|item| self.node(item, ast)).collect::<Result<_, _>>()?;
                    return Ok(Shared::new(Variable::Array(items)));
                }
            }
            ("sort_by" | "max_by" | "min_by", [items, Ast::Expref { ast, .. }]) => {
                let items = self.node(data, items)?;
                if let Some(items) = items.as_array() {
                    return self.by_key(name, items, ast);
                }
            }
            _ => {}
        }
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            let value = self.node(data, arg)?;
            self.visits.pay(size(&value, self.visits.left))?;
            values.push(value);
        }
        if name == "avg" && matches!(&*values, [items] if items.as_array().is_some_and(Vec::is_empty)) {
            return Ok(Shared::new(Variable::Null));
        }
        let Some(function) = DEFAULT_RUNTIME.get_function(name) else {
            return Err(Stop::Function(format!("no function `{name}`")));
        };
        let mut cx = Context::new(self.text, &DEFAULT_RUNTIME);
        cx.offset = offset;
        function.evaluate(&values, &mut cx).map_err(|error| {
            let reason = match &error.reason {
                ErrorReason::Parse(message) => message.clone(),
                ErrorReason::Runtime(error) => error.to_string(),
            };
            Stop::Function(format!("{name}: {}", super::sentence(&reason)))
        })
    }

    fn by_key(&mut self, name: &str, items: &[Shared], key: &Ast) -> Result<Shared, Stop> {
        let mut keyed = Vec::with_capacity(items.len());
        for item in items {
            let key = self.node(item, key)?;
            let same = keyed.first().is_none_or(|(first, _): &(Shared, &Shared)| first.get_type() == key.get_type());
            if !(same && (key.is_number() || key.is_string())) {
                return Err(Stop::Function(format!("{name}: keys must be all numbers or all strings")));
            }
            keyed.push((key, item));
        }
        let order = |left: &Shared, right: &Shared| match (left.as_string(), right.as_string()) {
            (Some(left), Some(right)) => left.cmp(right),
            _ => left.as_number().partial_cmp(&right.as_number()).unwrap_or(Ordering::Equal),
        };
        let picked = match name {
            "sort_by" => {
                keyed.sort_by(|(left, _), (right, _)| order(left, right));
                return Ok(Shared::new(Variable::Array(
                    keyed.into_iter().map(|(_, item)| Shared::clone(item)).collect(),
                )));
            }
            // The first of equal ones, as for `max` and `min`.
            "max_by" => keyed.into_iter().rev().max_by(|(left, _), (right, _)| order(left, right)),
            _ => keyed.into_iter().min_by(|(left, _), (right, _)| order(left, right)),
        };
        Ok(picked.map_or_else(|| Shared::new(Variable::Null), |(_, item)| Shared::clone(item)))
    }
}

fn left(node: &Ast) -> Option<&Ast> {
    match node {
        Ast::Subexpr { lhs, .. }
        | Ast::Or { lhs, .. }
        | Ast::And { lhs, .. }
        | Ast::Comparison { lhs, .. }
        | Ast::Projection { lhs, .. } => Some(lhs),
        Ast::Flatten { node, .. } | Ast::ObjectValues { node, .. } => Some(node),
        _ => None,
    }
}

/// Counts the nodes of a value, until there are more than `most`.
fn size(value: &Variable, most: usize) -> usize {
    match value {
        Variable::Array(items) => count(items.iter(), most),
        Variable::Object(map) => count(map.values(), most),
        Variable::String(text) => 1 + text.len() / 64,
        Variable::Null | Variable::Bool(_) | Variable::Number(_) | Variable::Expref(_) => 1,
    }
}

fn count<'a>(items: impl Iterator<Item = &'a Shared>, most: usize) -> usize {
    let mut total = 1;
    for item in items {
        total += size(item, most - most.min(total));
        if total > most {
            break;
        }
    }
    total
}

//! Evaluation: walks references and copies only what is picked.

use std::{
    borrow::Cow,
    fmt::{self, Write},
};

use serde_json::{Map, Value};

use super::{
    ContextField, EvaluationError, Expression, LoopField, MAX_VALUE_DEPTH, Operand, Path, Root, Scope, Segment,
    Template, TextPart,
};

impl Template {
    /// The largest result of a step's input, in bytes of JSON: 64 KiB.
    pub const MAX_INPUT_SIZE: u64 = 65_536;
    /// The largest result of the workflow's outputs, in bytes of JSON: 10 MB.
    pub const MAX_OUTPUT_SIZE: u64 = 10_000_000;

    /// Evaluates the template.
    ///
    /// `max_size` bounds the result in bytes of JSON. It is counted before anything is copied, so a small template cannot
    /// make a huge value. A template without expressions is returned as it is.
    ///
    /// # Errors
    ///
    /// When an expression's last operand is missing, or the result is too large. The message names the expression.
    pub fn resolve(&self, scope: &dyn Scope, max_size: u64) -> Result<Value, EvaluationError> {
        let mut left = max_size;
        self.resolve_counted(scope, &mut left, max_size)
    }

    /// Evaluates one of several templates that share a limit, of which `left` is left.
    pub(crate) fn resolve_counted(
        &self,
        scope: &dyn Scope,
        left: &mut u64,
        max_size: u64,
    ) -> Result<Value, EvaluationError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            template => Evaluation { scope, left, max_size }.template(template, MAX_VALUE_DEPTH),
        }
    }

    /// Whether there is no expression in it.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }
}

impl Expression {
    /// Evaluates the expression; `None` when its last operand is missing.
    #[must_use]
    pub fn evaluate<'a>(&'a self, scope: &'a dyn Scope) -> Option<Cow<'a, Value>> {
        let (last, others) = self.operands.split_last()?;
        for operand in others {
            if let Some(value) = operand.evaluate(scope)
                && !value.is_null()
            {
                return Some(value);
            }
        }
        last.evaluate(scope)
    }
}

impl Operand {
    pub(crate) fn evaluate<'a>(&'a self, scope: &'a dyn Scope) -> Option<Cow<'a, Value>> {
        match self {
            Self::Path(path) => path.evaluate(scope),
            Self::First(paths) => paths.iter().find_map(|path| path.evaluate(scope)),
            Self::Variables(captures) => Some(Cow::Owned(variables(scope, captures))),
            Self::Context => {
                Some(object(scope, &ContextField::ALL.map(|field| (field.as_str(), Root::Context(field)))))
            }
            Self::Loop(step) => {
                let root = |field: LoopField| (field.as_str(), Root::Loop { step: *step, field });
                Some(object(scope, &LoopField::ALL.map(root)))
            }
            Self::Own(fields) => {
                let roots: Vec<_> = fields.iter().map(|field| (field.as_str(), Root::Own(*field))).collect();
                Some(object(scope, &roots))
            }
            Self::Literal(value) => Some(Cow::Borrowed(value)),
        }
    }
}

impl Path {
    /// Returns the value at the path, or `None` where it is missing.
    #[must_use]
    pub fn evaluate<'a>(&self, scope: &'a dyn Scope) -> Option<Cow<'a, Value>> {
        match scope.root(self.root)? {
            Cow::Borrowed(value) => walk(value, &self.segments).map(Cow::Borrowed),
            Cow::Owned(value) if self.segments.is_empty() => Some(Cow::Owned(value)),
            Cow::Owned(value) => walk(&value, &self.segments).map(|found| Cow::Owned(found.clone())),
        }
    }
}

fn walk<'a>(mut value: &'a Value, segments: &[Segment]) -> Option<&'a Value> {
    for segment in segments {
        value = match segment {
            Segment::Name(name) => value.as_object()?.get(&**name)?,
            Segment::Index(index) => value.as_array()?.get(*index)?,
        };
    }
    Some(value)
}

fn variables(scope: &dyn Scope, captures: &[(String, Path)]) -> Value {
    let mut map = match scope.root(Root::Variables).map(Cow::into_owned) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    for (name, path) in captures {
        if let Some(value) = path.evaluate(scope) {
            map.insert(name.clone(), value.into_owned());
        }
    }
    Value::Object(map)
}

/// A root that is an object of other roots.
fn object<'a>(scope: &dyn Scope, roots: &[(&str, Root)]) -> Cow<'a, Value> {
    let fields = roots.iter().filter_map(|(name, root)| Some(((*name).to_owned(), scope.root(*root)?.into_owned())));
    Cow::Owned(Value::Object(fields.collect()))
}

struct Evaluation<'a> {
    scope: &'a dyn Scope,
    left: &'a mut u64,
    max_size: u64,
}

impl<'a> Evaluation<'a> {
    fn template(&mut self, template: &'a Template, depth: usize) -> Result<Value, EvaluationError> {
        let below = depth.saturating_sub(1);
        match template {
            Template::Literal(value) => {
                self.charge_value(value, depth)?;
                Ok(value.clone())
            }
            Template::Expression(expression) => {
                let value = self.value(expression)?;
                self.charge_value(&value, depth)?;
                Ok(value.into_owned())
            }
            Template::Text(parts) => self.text(parts).map(Value::String),
            Template::Array(items) => {
                self.charge(punctuation(items.len()))?;
                items.iter().map(|item| self.template(item, below)).collect::<Result<_, _>>().map(Value::Array)
            }
            Template::Object(entries) => {
                self.charge(punctuation(entries.len()))?;
                let mut map = Map::with_capacity(entries.len());
                for (key, value) in entries {
                    self.charge(text_size(key) + 3)?;
                    map.insert(key.clone(), self.template(value, below)?);
                }
                Ok(Value::Object(map))
            }
        }
    }

    fn text(&mut self, parts: &'a [TextPart]) -> Result<String, EvaluationError> {
        let mut text = String::new();
        self.charge(2)?;
        for part in parts {
            let start = text.len();
            match part {
                TextPart::Text(part) => text.push_str(part),
                TextPart::Expression(expression) => match &*self.value(expression)? {
                    Value::String(part) => text.push_str(part),
                    other => text.push_str(&other.to_string()),
                },
            }
            self.charge(text_size(&text[start..]))?;
        }
        Ok(text)
    }

    fn value(&self, expression: &'a Expression) -> Result<Cow<'a, Value>, EvaluationError> {
        expression.evaluate(self.scope).ok_or_else(|| {
            let what =
                if expression.operands.len() > 1 { "none of its operands has a value" } else { "it has no value" };
            EvaluationError::new(format!("evaluating `{}`: {what}", expression.text))
        })
    }

    fn charge_value(&mut self, value: &Value, depth: usize) -> Result<(), EvaluationError> {
        let below = depth.checked_sub(1).ok_or_else(|| {
            EvaluationError::new(format!("the result of the expressions is nested more than {MAX_VALUE_DEPTH} deep"))
        })?;
        let size = match value {
            Value::Null | Value::Bool(true) => 4,
            Value::Bool(false) => 5,
            Value::Number(number) => {
                let mut counter = Counter(0);
                // Counting cannot fail.
                let _ = write!(counter, "{number}");
                counter.0
            }
            Value::String(text) => text_size(text) + 2,
            Value::Array(items) => {
                self.charge(punctuation(items.len()))?;
                return items.iter().try_for_each(|item| self.charge_value(item, below));
            }
            Value::Object(map) => {
                self.charge(punctuation(map.len()))?;
                return map.iter().try_for_each(|(key, value)| {
                    self.charge(text_size(key) + 3)?;
                    self.charge_value(value, below)
                });
            }
        };
        self.charge(size)
    }

    fn charge(&mut self, bytes: u64) -> Result<(), EvaluationError> {
        *self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            EvaluationError::new(format!("the result of the expressions is over {} bytes of JSON", self.max_size))
        })?;
        Ok(())
    }
}

/// The brackets and commas of an array or object.
fn punctuation(count: usize) -> u64 {
    count.max(1) as u64 + 1
}

/// The bytes of a text in JSON, without the quotes.
fn text_size(text: &str) -> u64 {
    let escapes: u64 = text
        .bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 1,
            0..=31 => 5,
            _ => 0,
        })
        .sum();
    text.len() as u64 + escapes
}

struct Counter(u64);

impl fmt::Write for Counter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len() as u64;
        Ok(())
    }
}

//! JMESPath with limits: what conditions and `transform` are written in.
//!
//! The grammar and the functions are those of <https://jmespath.org>; there are no custom functions. An expression is at most
//! [`JmesPath::MAX_LENGTH`] characters long and [`JmesPath::MAX_NESTING`] deep, which is checked before it is parsed; an
//! evaluation visits at most [`JmesPath::MAX_VISITS`] nodes, so that a small expression cannot run for long. There is no time
//! limit, because decisions must come out the same when they are replayed.

mod interpret;

use ::jmespath::{DEFAULT_RUNTIME, ErrorReason, Variable, ast::Ast};
use serde_json::{Map, Number, Value};

pub(crate) use self::interpret::{Stop, Visits};
use crate::expression::{EvaluationError, MAX_VALUE_DEPTH};

/// The type of the values that JMESPath works on.
pub(crate) type Shared = ::jmespath::Rcvar;

/// A compiled JMESPath expression.
///
/// ```
/// use orchestr8_schema::jmespath::JmesPath;
/// use serde_json::json;
///
/// let names = JmesPath::compile("people[?age > `40`].name")?;
/// let value = json!({ "people": [{ "name": "Ada", "age": 36 }, { "name": "Grace", "age": 85 }] });
/// assert_eq!(names.evaluate(&value)?, json!(["Grace"]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct JmesPath {
    text: Box<str>,
    ast: Ast,
}

impl JmesPath {
    /// The longest expression, in characters.
    pub const MAX_LENGTH: usize = 4096;
    /// The deepest nesting of an expression.
    pub const MAX_NESTING: usize = 32;
    /// The most nodes that one evaluation visits, those of its input included.
    pub const MAX_VISITS: usize = 100_000;

    /// Compiles an expression.
    ///
    /// # Errors
    ///
    /// When it is no JMESPath, calls a function that does not exist or with other arguments than it takes, or is too long or
    /// too deep.
    pub fn compile(text: &str) -> Result<Self, InvalidJmesPath> {
        let path = Self::parse(text)?;
        path.check_functions()?;
        Ok(path)
    }

    /// Compiles an expression without a look at the functions that it calls.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidJmesPath> {
        check_limits(text)?;
        let ast = ::jmespath::parse(text).map_err(|error| {
            let message = match &error.reason {
                ErrorReason::Parse(message) => message.clone(),
                ErrorReason::Runtime(error) => error.to_string(),
            };
            InvalidJmesPath::new(Fault::Syntax, error.offset, sentence(&message))
        })?;
        Ok(Self { text: text.into(), ast })
    }

    /// Returns the expression as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn into_text(self) -> Box<str> {
        self.text
    }

    /// Evaluates the expression on a value; what is absent is `null`.
    ///
    /// # Errors
    ///
    /// When a function gets arguments of the wrong type, or too many nodes are visited.
    pub fn evaluate(&self, value: &Value) -> Result<Value, EvaluationError> {
        let mut visits = Visits::new(Self::MAX_VISITS);
        let result = visits.import(value).and_then(|value| self.search(&value, &mut visits));
        result.and_then(|value| export(&value)).map_err(|stop| stopped(&self.text, &stop))
    }

    /// Whether what the expression gives counts as true: everything does but null, false and what is empty.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate).
    pub fn holds(&self, value: &Value) -> Result<bool, EvaluationError> {
        let mut visits = Visits::new(Self::MAX_VISITS);
        let result = visits.import(value).and_then(|value| self.search(&value, &mut visits));
        result.map(|value| value.is_truthy()).map_err(|stop| stopped(&self.text, &stop))
    }

    pub(crate) fn search(&self, value: &Shared, visits: &mut Visits) -> Result<Shared, Stop> {
        interpret::Interpreter::new(&self.text, visits).node(value, &self.ast)
    }

    pub(crate) fn ast(&self) -> &Ast {
        &self.ast
    }

    fn check_functions(&self) -> Result<(), InvalidJmesPath> {
        let mut todo = vec![&self.ast];
        while let Some(node) = todo.pop() {
            if let Ast::Function { name, offset, args } = node
                && let Err((fault, message)) = check_call(name, args)
            {
                // The parser notes where the arguments begin.
                let offset = self.text.get(..*offset).and_then(|before| before.rfind(name.as_str())).unwrap_or(*offset);
                return Err(InvalidJmesPath::new(fault, offset, message));
            }
            children(node, |child| todo.push(child));
        }
        Ok(())
    }
}

impl PartialEq for JmesPath {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Checks that a function exists and is given as many arguments as it takes, and expressions where it takes expressions.
fn check_call(name: &str, args: &[Ast]) -> Result<(), (Fault, String)> {
    if DEFAULT_RUNTIME.get_function(name).is_none() {
        return Err((Fault::Function, format!("no function `{name}`")));
    }
    let (least, most) = match name {
        "merge" | "not_null" => (1, usize::MAX),
        "contains" | "ends_with" | "join" | "map" | "max_by" | "min_by" | "sort_by" | "starts_with" => (2, 2),
        _ => (1, 1),
    };
    if !(least..=most).contains(&args.len()) {
        let at_least = if most > least { "at least " } else { "" };
        let arguments = if least == 1 { "argument" } else { "arguments" };
        return Err((Fault::Call, format!("`{name}` takes {at_least}{least} {arguments}, and gets {}", args.len())));
    }
    let takes_expression = match name {
        "map" => Some(0),
        "max_by" | "min_by" | "sort_by" => Some(1),
        _ => None,
    };
    for (place, argument) in args.iter().enumerate() {
        let is_expression = matches!(argument, Ast::Expref { .. });
        if is_expression != (takes_expression == Some(place)) {
            let which = ["first", "second"].get(place).copied().unwrap_or("further");
            let what = if is_expression { "a value, not an expression" } else { "an expression such as `&name`" };
            return Err((Fault::Call, format!("`{name}` takes {what} as its {which} argument")));
        }
    }
    Ok(())
}

/// What kind of fault an expression has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Syntax,
    Function,
    /// A function does not get what it takes.
    Call,
    Limit,
}

/// The error of a text that is no usable JMESPath expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidJmesPath {
    pub(crate) fault: Fault,
    pub(crate) offset: usize,
    pub(crate) message: String,
}

impl InvalidJmesPath {
    fn new(fault: Fault, offset: usize, message: impl Into<String>) -> Self {
        Self { fault, offset, message: message.into() }
    }

    /// Returns where the fault is, in bytes of the expression.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }
}

/// The parser recurses, so the limits are checked on the text.
fn check_limits(text: &str) -> Result<(), InvalidJmesPath> {
    let limit = |offset, message| Err(InvalidJmesPath::new(Fault::Limit, offset, message));
    if text.chars().count() > JmesPath::MAX_LENGTH {
        return limit(0, format!("the condition is over {} characters", JmesPath::MAX_LENGTH));
    }
    let mut depth = 0_usize;
    // Prefix operators and projections nest without brackets.
    let mut prefixes = 0_usize;
    let mut projections = 0_usize;
    let mut quote = None;
    let mut escaped = false;
    for (offset, character) in text.char_indices() {
        if let Some(end) = quote {
            if !escaped && character == end {
                quote = None;
            }
            escaped = !escaped && character == '\\';
            continue;
        }
        match character {
            '\'' | '"' | '`' => quote = Some(character),
            '[' | '(' | '{' => depth += 1,
            ']' | ')' | '}' => depth = depth.saturating_sub(1),
            '!' | '&' => prefixes += 1,
            _ => {}
        }
        match character {
            '[' | '*' => projections += 1,
            '|' | '&' | ',' | '=' | '<' | '>' => projections = 0,
            _ => {}
        }
        if !matches!(character, '!' | '&' | ' ' | '\t' | '\n' | '\r') {
            prefixes = 0;
        }
        if depth + prefixes > JmesPath::MAX_NESTING || projections > 2 * JmesPath::MAX_NESTING {
            return limit(offset, format!("the condition is nested more than {} deep", JmesPath::MAX_NESTING));
        }
    }
    Ok(())
}

/// Makes the error of an expression that had to stop.
pub(crate) fn stopped(text: &str, stop: &Stop) -> EvaluationError {
    EvaluationError::new(format!("evaluating `{}`: {stop}", clip(text)))
}

/// Calls `visit` with each direct part of a node.
pub(crate) fn children<'a>(node: &'a Ast, mut visit: impl FnMut(&'a Ast)) {
    match node {
        Ast::Comparison { lhs, rhs, .. }
        | Ast::Projection { lhs, rhs, .. }
        | Ast::And { lhs, rhs, .. }
        | Ast::Or { lhs, rhs, .. }
        | Ast::Subexpr { lhs, rhs, .. } => {
            visit(lhs);
            visit(rhs);
        }
        Ast::Condition { predicate, then, .. } => {
            visit(predicate);
            visit(then);
        }
        Ast::Expref { ast: node, .. }
        | Ast::Flatten { node, .. }
        | Ast::Not { node, .. }
        | Ast::ObjectValues { node, .. } => visit(node),
        Ast::Function { args: elements, .. } | Ast::MultiList { elements, .. } => elements.iter().for_each(visit),
        Ast::MultiHash { elements, .. } => elements.iter().for_each(|pair| visit(&pair.value)),
        Ast::Identity { .. } | Ast::Field { .. } | Ast::Index { .. } | Ast::Literal { .. } | Ast::Slice { .. } => {}
    }
}

/// A chain of names such as `a.b.c`, and where it begins, in bytes.
pub(crate) struct Chain<'a> {
    pub(crate) names: Vec<&'a str>,
    pub(crate) offset: usize,
}

/// Returns a node as a chain of names, if it is one.
pub(crate) fn chain(node: &Ast) -> Option<Chain<'_>> {
    let mut names = Vec::new();
    let mut node = node;
    loop {
        match node {
            Ast::Field { name, offset } => {
                names.push(name.as_str());
                names.reverse();
                return Some(Chain { names, offset: *offset });
            }
            Ast::Subexpr { lhs, rhs, .. } => {
                let Ast::Field { name, .. } = &**rhs else { return None };
                names.push(name.as_str());
                node = lhs;
            }
            _ => return None,
        }
    }
}

/// Converts a result back; objects come out with sorted keys.
pub(crate) fn export(value: &Variable) -> Result<Value, Stop> {
    fn convert(value: &Variable, depth: usize) -> Result<Value, Stop> {
        let depth = depth.checked_sub(1).ok_or(Stop::Depth(MAX_VALUE_DEPTH))?;
        Ok(match value {
            Variable::Null | Variable::Expref(_) => Value::Null,
            Variable::Bool(flag) => Value::Bool(*flag),
            Variable::Number(number) => Value::Number(shortest(number)),
            Variable::String(text) => Value::String(text.clone()),
            Variable::Array(items) => {
                Value::Array(items.iter().map(|item| convert(item, depth)).collect::<Result<_, _>>()?)
            }
            Variable::Object(map) => Value::Object(
                map.iter()
                    .map(|(key, value)| Ok((key.clone(), convert(value, depth)?)))
                    .collect::<Result<Map<_, _>, _>>()?,
            ),
        })
    }
    convert(value, MAX_VALUE_DEPTH)
}

/// JMESPath knows one kind of number and computes with fractions; a whole result is a whole number again.
fn shortest(number: &Number) -> Number {
    /// Whole numbers up to here are exact (2^53).
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

    match number.as_f64() {
        Some(value) if number.is_f64() && value.fract() == 0.0 && value.abs() <= MAX_EXACT => {
            Number::from(value as i64)
        }
        _ => number.clone(),
    }
}

/// Makes the parser's sentence fit for the middle of a message.
fn sentence(message: &str) -> String {
    if message.ends_with("found Eof") || message.starts_with("Unexpected nud token -- found Eof") {
        return "it ends too early".to_owned();
    }
    let message = message.replace(" nud token -- found", "").replace(" led token -- found", "");
    let message = message.trim_end_matches('.');
    let mut characters = message.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

fn clip(text: &str) -> &str {
    text.char_indices().nth(120).map_or(text, |(end, _)| &text[..end])
}

//! What can be given: values, handles, parts of what handles give, and expressions made of them.

use std::{fmt, marker::PhantomData};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::StepId;

/// A step that has been added, whose output is an `O`.
///
/// It can be given wherever an `O` is asked for; whoever is given it waits for the step.
pub struct Step<O> {
    id: StepId,
    scope: u32,
    output: PhantomData<fn() -> O>,
}

/// An expression whose value is a `T`.
pub struct Expr<T> {
    /// Without `${` and `}`.
    text: String,
    reads: Vec<Read>,
    of: PhantomData<fn() -> T>,
}

/// A part of a value, named by a path; its type is checked when the workflow is built.
#[derive(Clone, Debug)]
pub struct Path(Expr<Value>);

/// An object that is given field by field; see [`fields`].
#[derive(Clone, Debug, Default)]
#[must_use = "fields are nothing until they are given"]
pub struct Fields(Given);

/// A text with expressions in it; see [`text`].
#[derive(Clone, Debug)]
pub struct Text(Given);

/// What a template has become.
#[derive(Clone, Debug, Default)]
pub struct Given {
    pub(super) value: Value,
    pub(super) reads: Vec<Read>,
    pub(super) errors: Vec<String>,
}

/// What is read.
#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    Step {
        scope: u32,
        id: StepId,
    },
    /// The value of a loop.
    Loop(u32),
}

impl<O> Step<O> {
    pub(super) fn new(id: StepId, scope: u32) -> Self {
        Self { id, scope, output: PhantomData }
    }

    /// Returns the step's id.
    #[must_use]
    pub fn id(&self) -> &StepId {
        &self.id
    }

    /// Returns the output as an expression.
    #[must_use]
    pub fn output(&self) -> Expr<O> {
        Expr { text: format!("steps.{}.output", self.id), reads: vec![self.read()], of: PhantomData }
    }

    /// Returns a part of the output, such as `items[0].name`; the empty path is all of it.
    #[must_use]
    pub fn path(&self, path: &str) -> Path {
        self.output().path(path)
    }

    /// Returns the output, or another value where there is none; see [`Expr::or`].
    #[must_use]
    pub fn or<D: Serialize + Provides<O>>(&self, default: D) -> Expr<O> {
        self.output().or(default)
    }

    pub(super) fn read(&self) -> Read {
        Read::Step { scope: self.scope, id: self.id.clone() }
    }
}

impl<T> Expr<T> {
    pub(super) fn root(text: impl Into<String>) -> Self {
        Self { text: text.into(), reads: Vec::new(), of: PhantomData }
    }

    pub(super) fn of_loop(scope: u32) -> Self {
        Self { text: "loop.value".to_owned(), reads: vec![Read::Loop(scope)], of: PhantomData }
    }

    /// Returns a part of the value, such as `items[0].name`; the empty path is all of it.
    #[must_use]
    pub fn path(&self, path: &str) -> Path {
        let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        Path(Expr { text: format!("{}{dot}{path}", self.text), reads: self.reads.clone(), of: PhantomData })
    }

    pub(super) fn part<U>(&self, name: &str) -> Expr<U> {
        Expr { text: format!("{}.{name}", self.text), reads: self.reads.clone(), of: PhantomData }
    }

    /// Returns the value, or a constant where it is missing or null. Steps that are read with a default need not have completed.
    #[must_use]
    pub fn or<D: Serialize + Provides<T>>(&self, default: D) -> Self {
        let default = match serde_json::to_value(default) {
            Ok(default) => default.to_string(),
            // What is no JSON is no literal either, and reported as such.
            Err(error) => format!("{{{error}"),
        };
        let reads = self.reads.iter().filter(|read| !matches!(read, Read::Step { .. })).cloned().collect();
        Self { text: format!("{} ?? {default}", self.text), reads, of: PhantomData }
    }

    fn given(&self) -> Given {
        Given { value: Value::String(format!("${{{}}}", self.text)), reads: self.reads.clone(), errors: Vec::new() }
    }
}

impl Path {
    /// Returns a part of the value.
    #[must_use]
    pub fn path(&self, path: &str) -> Self {
        self.0.path(path)
    }

    /// Returns the value, or a constant where it is missing or null; see [`Expr::or`].
    #[must_use]
    pub fn or(&self, default: impl Serialize) -> Self {
        let default = serde_json::to_value(default).map_err(|error| Value::String(error.to_string()));
        Self(self.0.or(default.unwrap_or_else(|error| error)))
    }
}

/// Begins an object that is given field by field: `fields().with("name", &name)`.
pub fn fields() -> Fields {
    Fields(Given { value: Value::Object(Map::new()), ..Given::default() })
}

impl Fields {
    /// Adds a field.
    pub fn with(mut self, name: impl Into<String>, value: impl IntoTemplate) -> Self {
        self.0.set(name.into(), value.into_template());
        self
    }
}

impl Given {
    pub(super) fn set(&mut self, name: String, field: Self) {
        if self.value.is_null() {
            self.value = Value::Object(Map::new());
        }
        if let Value::Object(map) = &mut self.value {
            map.insert(name, field.value);
        }
        self.reads.extend(field.reads);
        self.errors.extend(field.errors);
    }
}

/// Takes a template as it would be written in a file, for what has no other form here: `raw("${env.HOME}")`.
///
/// Steps that are named in it are no dependencies by that; add them with [`Draft::after`](super::Draft::after).
pub fn raw(template: impl Into<Value>) -> Fields {
    Fields(Given { value: template.into(), ..Given::default() })
}

/// Makes a text of a pattern in which each `{}` stands for the next part.
///
/// ```
/// use orchestr8_schema::builder::{WorkflowBuilder, text};
///
/// let mut flow = WorkflowBuilder::new("w", "W");
/// let name = flow.input::<String>("name");
/// let greeting = text("Dear {}, hello!", [name.path("")]);
/// # drop(greeting);
/// ```
#[must_use]
pub fn text(pattern: &str, parts: impl IntoIterator<Item = Path>) -> Text {
    let mut written = String::new();
    let mut reads = Vec::new();
    let mut parts = parts.into_iter();
    let mut pieces = pattern.split("{}");
    written.push_str(&escaped(pieces.next().unwrap_or_default()));
    for piece in pieces {
        match parts.next() {
            Some(Path(part)) => {
                written.push_str(&format!("${{{}}}", part.text));
                reads.extend(part.reads);
            }
            None => written.push_str("{}"),
        }
        written.push_str(&escaped(piece));
    }
    Text(Given { value: Value::String(written), reads, errors: Vec::new() })
}

fn escaped(text: &str) -> String {
    text.replace("${", "$${")
}

/// What can be given where a value is asked for: values, handles, expressions, paths.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be given to a step",
    note = "give a value that implements `Serialize`, a `&Step`, or what `path`, `fields`, `text` and `raw` make"
)]
pub trait IntoTemplate {
    /// What it gives, as far as the compiler knows; `Value` where only `build` does.
    type Output;

    /// Turns it into a template.
    fn into_template(self) -> Given;
}

/// What gives a `T`: a `T`, a step or expression that does, or a path, which is checked when the workflow is built.
#[diagnostic::on_unimplemented(
    message = "this gives no `{T}`",
    label = "`{Self}` given, `{T}` asked for",
    note = "take a part of it with `path`, or give the input field by field with `with`"
)]
pub trait Provides<T>: IntoTemplate {}

impl<T: Serialize> IntoTemplate for T {
    type Output = T;

    fn into_template(self) -> Given {
        match serde_json::to_value(self) {
            Ok(mut value) => {
                escape(&mut value);
                Given { value, ..Given::default() }
            }
            Err(error) => Given { errors: vec![format!("a value is no JSON: {error}")], ..Given::default() },
        }
    }
}

/// Lets text be text.
fn escape(value: &mut Value) {
    match value {
        Value::String(text) if text.contains("${") => *text = escaped(text),
        Value::Array(items) => items.iter_mut().for_each(escape),
        Value::Object(map) => map.values_mut().for_each(escape),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl<T: Serialize> Provides<T> for T {}

macro_rules! gives {
    ($([$($generic:ident)?] $from:ty => $output:ty, $of:ident $given:expr;)*) => {$(
        impl$(<$generic>)? IntoTemplate for $from {
            type Output = $output;

            fn into_template(self) -> Given {
                let $of = self;
                $given
            }
        }
    )*};
}

gives! {
    [O] Step<O> => O, step step.output().given();
    [O] &Step<O> => O, step step.output().given();
    [T] Expr<T> => T, expr expr.given();
    [T] &Expr<T> => T, expr expr.given();
    [] Path => Value, path path.0.given();
    [] &Path => Value, path path.0.given();
    [] Fields => Value, fields fields.0;
    [] Text => String, text text.0;
}

impl<O> Provides<O> for Step<O> {}
impl<O> Provides<O> for &Step<O> {}
impl<T> Provides<T> for Expr<T> {}
impl<T> Provides<T> for &Expr<T> {}
impl<T> Provides<T> for Path {}
impl<T> Provides<T> for &Path {}
impl<T> Provides<T> for Fields {}
impl Provides<String> for Text {}

impl<O> Clone for Step<O> {
    fn clone(&self) -> Self {
        Self::new(self.id.clone(), self.scope)
    }
}

impl<O> fmt::Debug for Step<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Step").field(&self.id).finish()
    }
}

impl<T> Clone for Expr<T> {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), reads: self.reads.clone(), of: PhantomData }
    }
}

impl<T> fmt::Debug for Expr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expr").field(&self.text).finish()
    }
}

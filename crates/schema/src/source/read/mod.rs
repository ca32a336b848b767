//! From a tree of JSON to a [`Workflow`], with every problem of shape and type on the way.
//!
//! Reading does not stop at a problem: a part that cannot be read is replaced by a stand-in, and the step that holds it is
//! marked as broken, so that later stages leave it alone and still know that it is there.

mod composite;
mod config;
mod hooks;
mod leaf;
mod mock_file;
mod pause;
mod policies;
mod prompt;
mod step;
mod test_file;
mod workflow;

use std::str::FromStr;

use indexmap::IndexMap;
use serde_json::{Map, Value};

pub(super) use self::{
    config::{config, config_layer},
    mock_file::mock_file,
    prompt::prompt,
    test_file::test_file,
    workflow::workflow,
};
use crate::{
    Code, Millis, Workflow,
    problem::{At, Problem, Problems, escape, quote},
};

/// A workflow that has been read.
pub(crate) struct Read {
    pub(crate) workflow: Workflow,
    pub(crate) broken: Broken,
    /// Places by their names of today, and what they are called in the document.
    pub(crate) renames: Vec<(String, String)>,
}

/// What could not be read, and is only a stand-in.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    /// One mark for each step, inner ones behind the one that holds them; empty if all could be read.
    pub(crate) steps: Vec<bool>,
    /// The list of steps as a whole.
    pub(crate) all_steps: bool,
}

/// Names the type of a value.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// An object of the document.
struct Object<'a> {
    map: &'a Map<String, Value>,
    at: At<'a>,
    name: &'a str,
}

/// A value of the document.
#[derive(Clone, Copy)]
struct Field<'a> {
    value: &'a Value,
    at: At<'a>,
    name: &'a str,
}

impl<'a> Object<'a> {
    /// Returns a field; one that is null counts as absent.
    fn get<'f>(&'f self, name: &'f str) -> Option<Field<'f>> {
        let value = self.value(name).filter(|value| !value.is_null())?;
        Some(Field { value, at: self.at.key(name), name })
    }

    /// Looks a name up; among a few keys by comparing, since hashing takes longer and most names are asked for in vain.
    fn value(&self, name: &str) -> Option<&'a Value> {
        const FEW: usize = 12;
        if self.map.len() > FEW {
            return self.map.get(name);
        }
        self.map.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

impl Field<'_> {
    fn items(&self) -> impl Iterator<Item = Field<'_>> {
        let items = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().enumerate().map(|(index, value)| Field { value, at: self.at.index(index), name: self.name })
    }
}

/// Reads values of a certain type; what has another type is a problem and counts as absent.
struct Reader<'p> {
    problems: &'p mut Problems,
    renames: Vec<(String, String)>,
    /// Which steps could not be read, in the order in which they begin.
    broken: Vec<bool>,
    /// Errors that stand inside a step that has been read.
    inner_errors: usize,
    /// How many lists of steps are open.
    scopes: usize,
}

impl<'p> Reader<'p> {
    fn new(problems: &'p mut Problems) -> Self {
        Self { problems, renames: Vec::new(), broken: Vec::new(), inner_errors: 0, scopes: 0 }
    }
}

impl Reader<'_> {
    fn mismatch(&mut self, field: Field<'_>, expected: &str) -> &mut Problem {
        let found = kind(field.value);
        self.problems.report(Code::WrongType, field.at, format!("expected {expected}, found {found}"))
    }

    /// Returns the document, which must be an object.
    fn root<'f>(&mut self, document: &'f Value) -> Option<Object<'f>> {
        if let Value::Object(map) = document {
            return Some(Object { map, at: At::ROOT, name: "" });
        }
        let message = format!("expected an object, found {}", kind(document));
        self.problems.report(Code::NotAnObject, At::ROOT, message);
        None
    }

    fn object<'f>(&mut self, field: Option<Field<'f>>) -> Option<Object<'f>> {
        let field = field?;
        match field.value {
            Value::Object(map) => Some(Object { map, at: field.at, name: field.name }),
            _ => {
                self.mismatch(field, "an object");
                None
            }
        }
    }

    /// Reads an object that is kept as it is.
    fn map(&mut self, field: Option<Field<'_>>) -> Option<Map<String, Value>> {
        self.object(field).map(|object| object.map.clone())
    }

    fn schema(&mut self, field: Option<Field<'_>>) -> Option<Value> {
        self.map(field).map(Value::Object)
    }

    fn list<'f>(&mut self, field: Option<Field<'f>>) -> Option<Field<'f>> {
        let field = field?;
        if field.value.is_array() {
            return Some(field);
        }
        self.mismatch(field, "a list");
        None
    }

    fn text<'f>(&mut self, field: Option<Field<'f>>) -> Option<&'f str> {
        let field = field?;
        match field.value {
            Value::String(text) => Some(text),
            Value::Number(_) | Value::Bool(_) => {
                self.mismatch(field, "text").help("quote it");
                None
            }
            _ => {
                self.mismatch(field, "text");
                None
            }
        }
    }

    fn owned(&mut self, field: Option<Field<'_>>) -> Option<String> {
        self.text(field).map(str::to_owned)
    }

    /// Reads an object of texts under names that the author chose; null is no text there.
    fn named_texts(&mut self, object: &Object<'_>) -> IndexMap<String, String> {
        let mut texts = IndexMap::with_capacity(object.map.len());
        for (name, value) in object.map {
            let field = Field { value, at: object.at.key(name), name };
            if let Some(text) = self.owned(Some(field)) {
                texts.insert(name.clone(), text);
            }
        }
        texts
    }

    fn texts(&mut self, field: Option<Field<'_>>) -> Vec<String> {
        let Some(list) = self.list(field) else { return Vec::new() };
        list.items().filter_map(|item| self.owned(Some(item))).collect()
    }

    /// Reads a text that must have the form of a type.
    fn parse<T: FromStr>(&mut self, field: Option<Field<'_>>, what: &str, help: &str) -> Option<T> {
        let field = field?;
        let text = self.text(Some(field))?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(_) => {
                let message = format!("`{}` is no {what}", quote(text));
                self.problems.report(Code::WrongForm, field.at, message).help(help);
                None
            }
        }
    }

    fn choice<T: Copy>(&mut self, field: Option<Field<'_>>, choices: &[(&str, T)]) -> Option<T> {
        let field = field?;
        self.named(Some(field), choices, &format!("value of `{}`", field.name))
    }

    /// Reads one of several names.
    fn named<T: Copy>(&mut self, field: Option<Field<'_>>, choices: &[(&str, T)], what: &str) -> Option<T> {
        let field = field?;
        let text = self.text(Some(field))?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
        let help = self
            .problems
            .did_you_mean(text, choices.iter().map(|(name, _)| *name))
            .or_else(|| (names.len() <= 20).then(|| format!("one of {}", names.join(", "))));
        let message = format!("`{}` is no {what}", quote(text));
        let problem = self.problems.report(Code::WrongForm, field.at, message);
        if let Some(help) = help {
            problem.help(help);
        }
        None
    }

    fn boolean(&mut self, field: Option<Field<'_>>) -> Option<bool> {
        let field = field?;
        let value = field.value.as_bool();
        if value.is_none() {
            self.mismatch(field, "true or false");
        }
        value
    }

    fn integer<T: TryFrom<u64>>(&mut self, field: Option<Field<'_>>) -> Option<T> {
        let field = field?;
        let whole = match field.value {
            Value::Number(number) if number.is_i64() || number.is_u64() => number.as_u64(),
            // 3.0 is how some programs write 3.
            Value::Number(number) => match number.as_f64() {
                Some(float) if float.fract() == 0.0 && (0.0..=9e15).contains(&float) => {
                    format!("{float:.0}").parse().ok()
                }
                Some(float) if float.fract() == 0.0 => None,
                _ => {
                    self.problems.report(Code::WrongType, field.at, "expected an integer, found a fraction");
                    return None;
                }
            },
            _ => {
                self.mismatch(field, "an integer");
                return None;
            }
        };
        let value = whole.and_then(|whole| T::try_from(whole).ok());
        if value.is_none() {
            self.problems.report(Code::OutOfRange, field.at, format!("`{}` is out of range", field.name));
        }
        value
    }

    fn number(&mut self, field: Option<Field<'_>>) -> Option<f64> {
        let field = field?;
        let value = field.value.as_f64();
        if value.is_none() {
            self.mismatch(field, "a number");
        }
        value
    }

    fn duration(&mut self, field: Option<Field<'_>>) -> Option<Millis> {
        let field = field?;
        match field.value {
            Value::String(text) => match text.parse() {
                Ok(duration) => Some(duration),
                Err(_) => {
                    let message = format!("`{}` is no duration", quote(text));
                    self.problems
                        .report(Code::WrongForm, field.at, message)
                        .help("write 500ms, 30s, 5m or 2h, or a number of milliseconds");
                    None
                }
            },
            Value::Number(_) => self.integer(Some(field)).map(Millis),
            _ => {
                self.mismatch(field, "a duration");
                None
            }
        }
    }

    /// Returns a field that must be there.
    fn required<'f>(&mut self, object: &'f Object<'_>, name: &'f str, help: &str) -> Option<Field<'f>> {
        let field = object.get(name);
        if field.is_none() && object.map.contains_key(name) {
            let at = object.at.key(name);
            self.problems.report(Code::Missing, at, format!("`{name}` has no value")).on_key().help(help);
        } else if field.is_none() {
            let message = match object.name {
                "" => format!("`{name}` is missing"),
                parent => format!("`{parent}.{name}` is missing"),
            };
            self.problems.report(Code::Missing, object.at, message).help(help);
        }
        field
    }

    /// Returns a field by its name of today or by one of its aliases.
    fn aliased<'f>(&mut self, object: &'f Object<'_>, name: &'f str, aliases: &[&'static str]) -> Option<Field<'f>> {
        let mut field = object.get(name);
        for alias in aliases {
            let Some(other) = object.get(alias) else { continue };
            if let Some(first) = field {
                let message = format!("both `{}` and `{alias}` are given", first.name);
                self.problems.report(Code::AliasAndName, other.at, message).on_key().help(format!("keep `{name}`"));
                continue;
            }
            self.problems
                .report(Code::Alias, other.at, format!("`{alias}` is now `{name}`"))
                .on_key()
                .help(format!("write `{name}`"));
            self.renames.push((object.at.key(name).to_string(), other.at.to_string()));
            field = Some(other);
        }
        field
    }

    /// Reports a key that has no effect.
    fn ignored(&mut self, object: &Object<'_>, name: &str, help: &str) {
        if let Some(field) = object.get(name) {
            self.problems.report(Code::Ignored, field.at, format!("`{name}` has no effect")).on_key().help(help);
        }
    }

    /// Reads a list that needs an element.
    fn filled<T>(
        &mut self,
        field: Field<'_>,
        why: &str,
        mut read: impl FnMut(&mut Self, Field<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let list = self.list(Some(field))?;
        if list.value.as_array().is_some_and(Vec::is_empty) {
            self.problems.report(Code::Empty, list.at, why);
            return None;
        }
        Some(list.items().filter_map(|item| read(self, item)).collect())
    }

    /// Returns the one of several keys that is given.
    fn one_of<'k>(&mut self, object: &Object<'_>, keys: &[&'k str], what: &str) -> Option<&'k str> {
        let mut given = keys.iter().filter(|key| object.map.contains_key(**key));
        let list = || keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        match (given.next(), given.next()) {
            (Some(key), None) => Some(key),
            (None, _) => {
                self.problems
                    .report(Code::Missing, object.at, format!("{what} has none of {}", list()))
                    .help("give one");
                None
            }
            (Some(first), Some(second)) => {
                let message = format!("{what} has both `{first}` and `{second}`");
                self.problems.report(Code::WrongForm, object.at.key(second), message).on_key().help("keep one");
                None
            }
        }
    }

    /// Reports every key that is not known, unless it is an annotation.
    fn unknown_keys(&mut self, object: &Object<'_>, known: &[&str]) {
        for key in object.map.keys() {
            if known.contains(&key.as_str()) || key.starts_with("x-") {
                continue;
            }
            let help = self.problems.did_you_mean(key, known.iter().copied());
            let message = format!("unknown key `{}`", quote(key));
            let problem = self.problems.report(Code::UnknownKey, object.at.key(key), message).on_key();
            if let Some(help) = help {
                problem.help(help);
            }
        }
    }

    /// Warns of expressions where none is evaluated.
    fn no_expressions(&mut self, field: Field<'_>, what: &str, help: &str) {
        let mut todo = vec![(field.at.to_string(), field.value)];
        while let Some((path, value)) = todo.pop() {
            match value {
                Value::String(text) if text.contains("${") => {
                    let message = format!("`${{` in {what} stays text");
                    self.problems.report(Code::ExpressionNotEvaluated, path, message).help(help);
                }
                Value::Array(items) => {
                    todo.extend(items.iter().enumerate().map(|(index, item)| (format!("{path}/{index}"), item)));
                }
                Value::Object(map) => {
                    todo.extend(map.iter().map(|(key, value)| (format!("{path}/{}", escape(key)), value)));
                }
                _ => {}
            }
        }
    }
}

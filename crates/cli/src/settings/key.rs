//! Settings by name: `server.port`.

use orchestr8_schema::{
    config::{Config, ConfigLayer},
    diagnostic::Severity,
    source::Options,
};
use serde_json::{Map, Value};

use crate::Error;

/// The name of a setting, or of several: `server.port`, `server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(Vec<String>);

impl Key {
    /// Reads a name.
    ///
    /// # Errors
    ///
    /// When a part of it is empty.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let parts: Vec<_> = text.split('.').map(str::to_owned).collect();
        if parts.iter().any(String::is_empty) {
            return Err(Error::usage(format!("`{text}` is no key of a setting")).with_hint("orchestr8 config get"));
        }
        Ok(Self(parts))
    }

    pub(super) fn parts(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }

    /// Finds the value among settings.
    pub(crate) fn of<'s>(&self, settings: &'s Map<String, Value>) -> Option<&'s Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(settings.get(first)?, |value, part| value.get(part))
    }

    /// Makes settings with this one alone.
    pub(crate) fn with(&self, value: Value) -> Value {
        self.0.iter().rev().fold(value, |value, part| Value::Object(Map::from_iter([(part.clone(), value)])))
    }

    /// Sets the value among settings; what stands in the way of an object gives way.
    pub(crate) fn set(&self, settings: &mut Map<String, Value>, value: Value) {
        let Some((last, parents)) = self.0.split_last() else { return };
        let mut place = settings;
        for part in parents {
            let inner = place.entry(part).or_insert_with(|| Value::Object(Map::new()));
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            match inner {
                Value::Object(inner) => place = inner,
                _ => return,
            }
        }
        place.insert(last.clone(), value);
    }

    /// Takes the setting away, and objects that are empty then. False if it was not there.
    pub(crate) fn remove(&self, settings: &mut Map<String, Value>) -> bool {
        remove(&self.0, settings)
    }

    /// Sees whether the program knows a setting of this name, and whether it can have the value.
    ///
    /// # Errors
    ///
    /// When it cannot, with the nearest known name if the name is unknown.
    pub(crate) fn check(&self, value: &Value) -> Result<(), Error> {
        let text = self.with(value.clone()).to_string();
        let problems = match ConfigLayer::read(text, &Options::new()) {
            Ok(loaded) => loaded.warnings,
            Err(invalid) => invalid.diagnostics().to_vec(),
        };
        match problems.first() {
            None => Ok(()),
            Some(first) => {
                let what = if first.severity == Severity::Error { "cannot be set to that" } else { "is unknown" };
                let error = Error::usage(format!("`{self}` {what}: {}", first.message));
                Err(match &first.help {
                    Some(help) => error.with_hint(help.clone()),
                    None => error,
                })
            }
        }
    }
}

fn remove(parts: &[String], settings: &mut Map<String, Value>) -> bool {
    match parts {
        [] => false,
        [last] => settings.shift_remove(last).is_some(),
        [first, rest @ ..] => {
            let Some(Value::Object(inner)) = settings.get_mut(first) else { return false };
            let removed = remove(rest, inner);
            if inner.is_empty() {
                settings.shift_remove(first);
            }
            removed
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// Lists all settings by their full names, in the order of the documentation.
pub(crate) fn flatten(config: &Config) -> Vec<(Key, Value)> {
    leaves(serde_json::to_value(config).unwrap_or_default())
}

/// Lists what is set among settings, by full names.
pub(super) fn leaves(settings: Value) -> Vec<(Key, Value)> {
    let mut found = Vec::new();
    collect(&mut Vec::new(), settings, &mut found);
    found
}

/// Recurses as deep as settings are nested.
fn collect(parents: &mut Vec<String>, value: Value, found: &mut Vec<(Key, Value)>) {
    match value {
        Value::Object(settings) if !settings.is_empty() => {
            for (name, value) in settings {
                parents.push(name);
                collect(parents, value, found);
                parents.pop();
            }
        }
        value => found.push((Key(parents.clone()), value)),
    }
}

//! Values given on the command line.

use std::{fs, io::Read as _, path::Path, str::FromStr};

use serde_json::{Map, Value};

use crate::Error;

/// `KEY=VALUE` on the command line.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    key: String,
    value: String,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self { key: key.to_owned(), value: value.to_owned() }),
            _ => Err("expected KEY=VALUE".to_owned()),
        }
    }
}

impl Assignment {
    /// Returns the key.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Returns the value: JSON if it parses, else text; behind `@` that of a file.
    pub(crate) fn read(&self) -> Result<Value, Error> {
        let text = match self.value.strip_prefix('@') {
            None => self.value.clone(),
            Some(path) => fs::read_to_string(path)
                .map_err(|error| Error::usage(format!("cannot read `{path}` for `{}`", self.key)).with_source(error))?,
        };
        Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}

/// Reads a whole input from a file; `-` is standard input.
pub(crate) fn read_input(path: &Path) -> Result<Map<String, Value>, Error> {
    let name = path.display();
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    let text = text.map_err(|error| Error::usage(format!("cannot read the input `{name}`")).with_source(error))?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(input)) => Ok(input),
        Ok(_) => Err(Error::usage(format!("the input `{name}` is no object"))),
        Err(error) => Err(Error::usage(format!("the input `{name}` is no JSON")).with_source(error)),
    }
}

//! A file of settings: read with its faults told, written whole or not at all.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use orchestr8_schema::{
    Diagnostic,
    config::ConfigLayer,
    source::{Format, Options, parse},
};
use serde_json::{Map, Value};

use crate::{Error, private_file};

/// Reads a file; one that is not there counts as empty, and one that cannot be read warns.
pub(super) fn read(path: &Path, warnings: &mut Vec<String>) -> Option<ConfigLayer> {
    let name = path.display();
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            warnings.push(format!("{name} cannot be read and counts as absent: {error}"));
            return None;
        }
    };
    match ConfigLayer::read(&text, &Options::new().format(format(path))) {
        Ok(loaded) => {
            warnings.extend(loaded.warnings.iter().map(|warning| format!("{name}: {}", said(warning))));
            Some(loaded.value)
        }
        Err(invalid) => {
            let first = invalid.diagnostics().first().map_or_else(String::new, said);
            warnings.push(format!("{name} counts as absent: {first}"));
            None
        }
    }
}

/// Says what is odd, where, and what to do: ``line 3, `server.prt`: unknown key `prt`; did you mean `port`?``.
fn said(diagnostic: &Diagnostic) -> String {
    let line = diagnostic.span.as_ref().map(|span| format!("line {}", span.line));
    let key = diagnostic.path.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~");
    let key = (!key.is_empty()).then(|| format!("`{key}`"));
    let place = line.into_iter().chain(key).collect::<Vec<_>>().join(", ");
    let help = diagnostic.help.as_ref().map_or_else(String::new, |help| format!("; {help}"));
    let message = &diagnostic.message;
    if place.is_empty() { format!("{message}{help}") } else { format!("{place}: {message}{help}") }
}

/// Reads a file of tools, `{<name>: {command, description, …}}`, as the settings that it stands for. What the settings beside it say of a tool goes
/// before it, whole.
pub(super) fn read_tools(path: &Path, beside: &ConfigLayer, warnings: &mut Vec<String>) -> Option<ConfigLayer> {
    let name = path.display();
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            warnings.push(format!("{name} cannot be read and counts as absent: {error}"));
            return None;
        }
    };
    let tools = match parse(&text, &Options::new().format(Format::Yaml)) {
        Ok(tools) => tools,
        Err(invalid) => {
            let first = invalid.diagnostics().first().map_or_else(String::new, |first| {
                let line = first.span.as_ref().map_or_else(String::new, |span| format!(" in line {}", span.line));
                format!("{}{line}", first.message)
            });
            warnings.push(format!("{name} counts as absent: {first}"));
            return None;
        }
    };
    let Value::Object(mut tools) = tools else {
        warnings.push(format!("{name} counts as absent: it is no map of names to tools"));
        return None;
    };
    let told = beside.settings().get("tools").and_then(Value::as_object);
    for known in told.into_iter().flat_map(Map::keys) {
        if tools.shift_remove(known).is_some() {
            warnings.push(format!("{name}: the tool `{known}` stands in the settings, too, and theirs counts"));
        }
    }
    let settings = Value::Object(Map::from_iter([("tools".to_owned(), Value::Object(tools))]));
    match ConfigLayer::read(settings.to_string(), &Options::new()) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                warnings.push(format!("{name}: {}: {}", warning.path, warning.message));
            }
            Some(loaded.value)
        }
        Err(invalid) => {
            let first = invalid.diagnostics().first();
            let first = first.map_or_else(String::new, |first| format!("{}: {}", first.path, first.message));
            warnings.push(format!("{name} counts as absent: {first}"));
            None
        }
    }
}

fn format(path: &Path) -> Format {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("yaml" | "yml") => Format::Yaml,
        _ => Format::Json,
    }
}

/// A file of settings that is changed.
#[derive(Debug)]
pub(crate) struct SettingsFile(PathBuf);

impl SettingsFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the settings as they are written; none if there is no file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, so that nothing is written over what somebody may want to mend.
    pub(crate) fn settings(&self) -> Result<Map<String, Value>, Error> {
        let unreadable = |message: String| {
            Error::usage(format!("{}: {message}", self.0.display())).with_hint("mend the file, or remove it")
        };
        match fs::read_to_string(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Map::new()),
            Err(error) => Err(unreadable(error.to_string())),
            Ok(text) => match serde_json::from_str(&text) {
                Ok(Value::Object(settings)) => Ok(settings),
                Ok(_) => Err(unreadable("it holds no object".to_owned())),
                Err(error) => Err(unreadable(error.to_string())),
            },
        }
    }

    /// Writes settings in the place of those that were there: to a file beside it, which then takes its name.
    ///
    /// # Errors
    ///
    /// When that fails; the file is as it was.
    pub(crate) fn write(&self, settings: &Map<String, Value>) -> Result<(), Error> {
        let failed =
            |error: io::Error| Error::unreachable(format!("cannot write {}", self.0.display())).with_source(error);
        let text = serde_json::to_string_pretty(settings).unwrap_or_default() + "\n";
        private_file::replace(&self.0, text.as_bytes()).map_err(failed)
    }
}

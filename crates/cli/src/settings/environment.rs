//! Settings by variables: `server.port` is `ORCHESTR8_SERVER_PORT`.

use std::ffi::OsString;

use orchestr8_schema::{
    config::{Config, ConfigLayer},
    source::Options,
};
use serde_json::{Map, Value};

use super::key::{Key, flatten};
use crate::Error;

const PREFIX: &str = "ORCHESTR8_";

/// Takes the settings out of the environment. What is empty counts as absent, and what is no name of a setting is somebody else's.
/// `PORT` and `BIND_ADDRESS`, which many hosts set for whoever listens, concern a server alone.
pub(super) fn layer(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    is_server: bool,
    warnings: &mut Vec<String>,
) -> Result<ConfigLayer, Error> {
    let known: Vec<_> = flatten(&Config::default()).into_iter().map(|(key, _)| (variable(&key), key)).collect();
    let mut settings = Map::new();
    let mut fallback = None;
    for (name, value) in variables {
        let (Some(name), Some(text)) = (name.to_str(), value.to_str()) else { continue };
        match name {
            _ if text.is_empty() => {}
            "BIND_ADDRESS" if is_server => warnings.push("BIND_ADDRESS is ignored; use --host".to_owned()),
            "PORT" if is_server => fallback = Some(text.to_owned()),
            _ => {
                if let Some((_, key)) = known.iter().find(|(variable, _)| variable == name) {
                    key.set(&mut settings, read(name, key, text)?);
                }
            }
        }
    }
    // For whoever says nothing else.
    let port = Key::parse("server.port")?;
    if let Some(text) = fallback.filter(|_| port.of(&settings).is_none()) {
        port.set(&mut settings, read("PORT", &port, &text)?);
    }
    let layer = ConfigLayer::read(Value::Object(settings).to_string(), &Options::new());
    layer.map(|loaded| loaded.value).map_err(|error| Error::usage("the environment").with_source(error))
}

/// Reads a value: JSON if it parses and the setting can have it, else a text.
fn read(name: &str, key: &Key, text: &str) -> Result<Value, Error> {
    let as_text = Value::String(text.to_owned());
    let parsed = serde_json::from_str::<Value>(text).ok();
    match parsed {
        Some(value) if key.check(&value).is_ok() => Ok(value),
        _ => key.check(&as_text).map(|()| as_text).map_err(|_| {
            let why = key.check(&serde_json::from_str(text).unwrap_or_else(|_| text.into()));
            let why = why.err().map_or_else(String::new, |error| error.to_string());
            Error::usage(format!("{name}: {why}"))
        }),
    }
}

/// The variable of a setting: its name in capitals, each word apart.
fn variable(key: &Key) -> String {
    let mut name = PREFIX.to_owned();
    for character in key.to_string().chars() {
        match character {
            '.' => name.push('_'),
            upper if upper.is_ascii_uppercase() => name.extend(['_', upper]),
            other => name.push(other.to_ascii_uppercase()),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::layer;

    #[test]
    fn variables_are_settings_in_capitals() {
        let variables = [
            ("ORCHESTR8_SERVER_AUTO_START", "false"),
            ("ORCHESTR8_JOURNAL_RETENTION", "3d"),
            ("ORCHESTR8_SERVER_HOST", ""),
            ("PORT", "9000"),
            ("ORCHESTR8_HOME", "/elsewhere"),
        ];
        let read = |is_server| {
            let variables = variables.map(|(name, value)| (name.into(), value.into()));
            json!(layer(variables, is_server, &mut Vec::new()).expect("valid").settings())
        };
        let expected = json!({ "server": { "autoStart": false, "port": 9000 }, "journal": { "retention": "3d" } });
        assert_eq!(read(true), expected);
        let expected = json!({ "server": { "autoStart": false }, "journal": { "retention": "3d" } });
        assert_eq!(read(false), expected);
        let foreign = || [("PORT".into(), "tcp://10.0.0.1:80".into()), ("BIND_ADDRESS".into(), "0.0.0.0".into())];
        let mut warnings = Vec::new();
        assert!(layer(foreign(), false, &mut warnings).is_ok_and(|layer| layer.settings().is_empty()));
        assert!(warnings.is_empty());
        assert!(layer(foreign(), true, &mut warnings).expect_err("refused").to_string().starts_with("PORT: "));
        assert_eq!(warnings, ["BIND_ADDRESS is ignored; use --host"]);
        let wrong = layer([("ORCHESTR8_SERVER_AUTO_START".into(), "perhaps".into())], false, &mut Vec::new());
        assert!(wrong.expect_err("refused").to_string().starts_with("ORCHESTR8_SERVER_AUTO_START: "));
    }
}

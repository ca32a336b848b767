//! `orchestr8 config`

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::{Args, Subcommand};
use orchestr8_core::redact::Redactor;
use serde_json::{Map, Value, json};

use crate::{
    Error, Exit,
    settings::{Key, Origin, Settings, flatten},
    ui::Ui,
};

/// Shows and changes settings.
///
/// A setting is looked for in flags, in the environment (`server.port` is ORCHESTR8_SERVER_PORT), in the project's
/// .orchestr8/config.json, and in the user's config.json. Of a project only what can do no harm counts, unless the user trusts it.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 config get server.port --show-origin\n  \
                             orchestr8 config set execution.maxConcurrent 20\n  orchestr8 config reset execution.maxConcurrent")]
pub struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show a setting, or all of them
    Get {
        /// Name of a setting, such as `server.port`, or of several, such as `server`
        key: Option<String>,
        /// Tell where it comes from
        #[arg(long)]
        show_origin: bool,
    },
    /// Set a setting
    Set {
        /// Name of the setting
        key: String,
        /// Value: JSON if it parses, else text
        #[arg(allow_hyphen_values = true)]
        value: String,
        /// Write the project's file instead of the user's
        #[arg(long)]
        project: bool,
    },
    /// Set a setting back to what it is without the file, or all of them
    Reset {
        /// Name of the setting; all without
        key: Option<String>,
        /// Write the project's file instead of the user's
        #[arg(long)]
        project: bool,
        /// Do not ask before all settings are set back
        #[arg(short, long)]
        yes: bool,
    },
}

pub(crate) fn config(ui: Ui, args: &ConfigArgs, settings: &Settings) -> Result<Exit, Error> {
    match &args.action {
        Action::Get { key, show_origin } => get(ui, settings, key.as_deref(), *show_origin),
        Action::Set { key, value, project } => set(ui, settings, key, value, *project),
        Action::Reset { key: Some(key), project, .. } => reset(ui, settings, key, *project),
        Action::Reset { key: None, project, yes } => reset_all(ui, settings, *project, *yes),
    }
}

fn get(ui: Ui, settings: &Settings, key: Option<&str>, show_origin: bool) -> Result<Exit, Error> {
    let mut shown = serde_json::to_value(settings.config()).unwrap_or_default();
    Redactor::default().redact(&mut shown);
    let Some(name) = key else {
        if ui.is_json() {
            ui.print_json(&shown)?;
        } else {
            ui.print(&lines(settings, &shown, None, show_origin))?;
        }
        return Ok(Exit::Success);
    };
    let key = Key::parse(name)?;
    let Value::Object(all) = &shown else { return Ok(Exit::Success) };
    let Some(value) = key.of(all) else {
        key.check(&Value::Null)?;
        return Err(Error::usage(format!("there is no setting `{name}`")).with_hint("orchestr8 config get"));
    };
    let origin = settings.origin(&key);
    match (ui.is_json(), show_origin, value) {
        (true, true, _) => ui.print_json(&json!({ "key": name, "value": value, "origin": origin.as_str() }))?,
        (true, false, _) => ui.print_json(value)?,
        (false, _, Value::Object(inner)) if !inner.is_empty() => {
            ui.print(&lines(settings, &shown, Some(name), show_origin))?;
        }
        (false, true, _) => ui.print(&format!("{}  {}", text(value), origin.as_str()))?,
        (false, false, _) => ui.print(&text(value))?,
    }
    Ok(Exit::Success)
}

/// Settings, each on its line; those below one name if one is given.
fn lines(settings: &Settings, shown: &Value, below: Option<&str>, show_origin: bool) -> String {
    let Value::Object(shown) = shown else { return String::new() };
    let is_below =
        |name: &str| below.is_none_or(|below| name.strip_prefix(below).is_some_and(|rest| rest.starts_with('.')));
    let rows = flatten(settings.config()).into_iter().map(|(key, _)| (key.to_string(), key));
    let lines: Vec<_> = rows
        .filter(|(name, _)| is_below(name))
        .map(|(name, key)| {
            let value = key.of(shown).map(text).unwrap_or_default();
            match show_origin {
                true => format!("{name} = {value}  {}", settings.origin(&key).as_str()),
                false => format!("{name} = {value}"),
            }
        })
        .collect();
    lines.join("\n")
}

fn set(ui: Ui, settings: &Settings, name: &str, text: &str, of_project: bool) -> Result<Exit, Error> {
    let key = Key::parse(name)?;
    let as_text = Value::String(text.to_owned());
    let value = match serde_json::from_str::<Value>(text) {
        // `7d` is no JSON, and `08` neither; what parses may still be meant as text.
        Ok(parsed) if key.check(&parsed).is_ok() => parsed,
        Ok(parsed) => match key.check(&as_text) {
            Ok(()) => as_text,
            Err(_) => return key.check(&parsed).map(|()| Exit::Success),
        },
        Err(_) => key.check(&as_text).map(|()| as_text)?,
    };
    let file = settings.file(of_project)?;
    let mut written = file.settings()?;
    key.set(&mut written, value.clone());
    file.write(&written)?;
    let mut shown = key.with(value);
    Redactor::default().redact(&mut shown);
    let value = shown.as_object().and_then(|shown| key.of(shown)).cloned().unwrap_or_default();
    told(ui, &key, &value, if of_project { Origin::Project } else { Origin::User })
}

fn reset(ui: Ui, settings: &Settings, name: &str, of_project: bool) -> Result<Exit, Error> {
    let key = Key::parse(name)?;
    let file = settings.file(of_project)?;
    let mut written = file.settings()?;
    if key.remove(&mut written) {
        file.write(&written)?;
    } else {
        // It is said if there is no such setting at all.
        key.check(&Value::Null)?;
    }
    let defaults = serde_json::to_value(orchestr8_schema::config::Config::default()).unwrap_or_default();
    let value = defaults.as_object().and_then(|defaults| key.of(defaults)).cloned().unwrap_or_default();
    told(ui, &key, &value, Origin::Default)
}

fn reset_all(ui: Ui, settings: &Settings, of_project: bool, yes: bool) -> Result<Exit, Error> {
    let file = settings.file(of_project)?;
    let name = file.path().display();
    if !yes {
        let can_ask = io::stdin().is_terminal() && io::stderr().is_terminal() && std::env::var_os("CI").is_none();
        if !can_ask {
            return Err(
                Error::usage(format!("all settings of {name} would go")).with_hint("orchestr8 config reset --yes")
            );
        }
        ui.say(&format!("All settings of {name} will go. Type yes to go on:"));
        let mut answer = String::new();
        io::stdin()
            .lock()
            .read_line(&mut answer)
            .map_err(|error| Error::internal("reading the answer").with_source(error))?;
        if answer.trim() != "yes" {
            ui.say("Nothing was changed");
            return Ok(Exit::Success);
        }
    }
    file.write(&Map::new())?;
    if ui.is_json() {
        ui.print_json(&json!({ "reset": name.to_string() }))?;
    } else {
        ui.print(&format!("{name} holds no settings now"))?;
    }
    Ok(Exit::Success)
}

fn told(ui: Ui, key: &Key, value: &Value, origin: Origin) -> Result<Exit, Error> {
    if ui.is_json() {
        ui.print_json(&json!({ "key": key.to_string(), "value": value, "origin": origin.as_str() }))?;
    } else {
        ui.print(&format!("{key} = {} ({})", text(value), origin.as_str()))?;
    }
    Ok(Exit::Success)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

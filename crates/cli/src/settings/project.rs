//! The project's settings, which are as little to be trusted as the repository that they came in.
//!
//! A browser to start, an endpoint to send to, a policy to widen: none of that may come with a clone. So only what can do no harm
//! counts, unless the user trusts the folder.

use std::path::{Path, PathBuf};

use orchestr8_schema::{config::ConfigLayer, source::Options};
use serde_json::{Map, Value};

use super::key::{Key, leaves};

/// The folder that holds the project's file.
pub(super) const FOLDER: &str = ".orchestr8";

/// Finds the project: the nearest folder upwards that has settings, below the home directory, which has those of the user.
pub(super) fn find(from: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let below_home = from.ancestors().take_while(|folder| Some(*folder) != home);
    let has = |folder: &Path, file: &str| folder.join(FOLDER).join(file).is_file();
    below_home.map(Path::to_owned).find(|folder| has(folder, super::FILE) || has(folder, super::TOOLS))
}

/// Whether the user trusts a project with everything.
pub(super) fn is_trusted(folder: &Path, user: &ConfigLayer) -> bool {
    let trusted = user.settings().get("trustedProjects").and_then(Value::as_array).into_iter().flatten();
    // However somebody got there, by a link or not.
    let place = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    trusted.filter_map(Value::as_str).any(|path| place(Path::new(path)) == place(folder))
}

/// Keeps what can do no harm, and tells of what does not count.
pub(super) fn harmless(project: &ConfigLayer, folder: &Path, warnings: &mut Vec<String>) -> ConfigLayer {
    let mut kept = Map::new();
    let mut ignored = Vec::new();
    for (key, value) in leaves(Value::Object(project.settings().clone())) {
        if is_harmless(&key) { key.set(&mut kept, value) } else { ignored.push(key.to_string()) }
    }
    if !ignored.is_empty() {
        let (are, them) = if ignored.len() == 1 { ("is", "it") } else { ("are", "them") };
        warnings.push(format!(
            "{} {are} ignored in the settings of {}, which is not trusted; --trust-project makes {them} count",
            ignored.join(", "),
            folder.display()
        ));
    }
    ConfigLayer::read(Value::Object(kept).to_string(), &Options::new()).map(|loaded| loaded.value).unwrap_or_default()
}

fn is_harmless(key: &Key) -> bool {
    match *key.parts() {
        ["workflows" | "prompts", "paths"] | ["models", "default"] | ["dashboard", "theme"] => true,
        ["execution" | "output", _] | ["providers", _, "models", ..] => true,
        // An annotation, or what tells editors of the schema.
        ["$schema"] => true,
        // An annotation.
        [first, ..] => first.starts_with("x-"),
        [] => false,
    }
}

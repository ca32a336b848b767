//! What is installed, or under way.

use orchestr8_schema::canonical;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::target::Target;
use crate::Error;

/// Where it is kept.
pub(super) const PATH: &str = ".claude/configs/research-agents.json";

/// What is installed: the only state there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) schema_version: String,
    pub(super) version: String,
    pub(super) installed_at: String,
    pub(super) agents: Vec<String>,
    pub(super) files: Vec<Installed>,
    pub(super) servers: Vec<InstalledServer>,
    /// The settings as they were before the first install.
    pub(super) backup: Option<String>,
    pub(super) created_settings: bool,
    /// Whether the place for servers in the settings was made.
    #[serde(default)]
    pub(super) created_servers: bool,
    /// Of the settings as they were written last.
    #[serde(default)]
    pub(super) settings_sha256: Option<String>,
    /// In the order in which they were made.
    pub(super) created_folders: Vec<String>,
}

/// A file of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Installed {
    pub(super) path: String,
    pub(super) sha256: String,
}

/// A server's entry of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InstalledServer {
    pub(super) name: String,
    /// Of the entry with its keys sorted.
    pub(super) sha256: String,
}

impl Manifest {
    /// Reads it; `None` if nothing is installed.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be understood.
    pub(super) fn read(target: &Target) -> Result<Option<Self>, Error> {
        let Some(bytes) = target.read(PATH)? else { return Ok(None) };
        Self::parse(&bytes).map(Some).map_err(|error| {
            Error::internal(format!("{PATH} cannot be understood; nothing has been touched"))
                .with_source(error)
                .with_hint("use the program that has installed, or remove the file and what it lists by hand")
        })
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let manifest: Self = serde_json::from_slice(bytes)?;
        if manifest.schema_version.split('.').next() != Some("1") {
            let message = format!("`schemaVersion` is `{}`, and 1.x is known here", manifest.schema_version);
            return Err(serde::de::Error::custom(message));
        }
        Ok(manifest)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text.into_bytes()
    }

    /// Whether a file is as we have left it.
    pub(super) fn owns_file(&self, path: &str, bytes: &[u8]) -> bool {
        let sum = canonical::sha256_hex(bytes);
        self.files.iter().any(|file| file.path == path && file.sha256 == sum)
    }

    /// Whether an entry is as we have left it.
    pub(super) fn owns_server(&self, name: &str, entry: &Value) -> bool {
        let sum = canonical::digest(entry);
        self.servers.iter().any(|server| server.name == name && server.sha256 == sum)
    }

    pub(super) fn add_file(&mut self, path: &str, bytes: &[u8]) {
        self.files.retain(|file| file.path != path);
        self.files.push(Installed { path: path.to_owned(), sha256: canonical::sha256_hex(bytes) });
        self.files.sort_by(|one, other| one.path.cmp(&other.path));
    }

    pub(super) fn add_server(&mut self, name: &str, entry: &Value) {
        self.servers.retain(|server| server.name != name);
        self.servers.push(InstalledServer { name: name.to_owned(), sha256: canonical::digest(entry) });
        self.servers.sort_by(|one, other| one.name.cmp(&other.name));
    }

    pub(super) fn add_agent(&mut self, name: &str) {
        if !self.agents.iter().any(|known| known == name) {
            self.agents.push(name.to_owned());
            self.agents.sort();
        }
    }
}

//! Manifests that are written down.

use orchestr8_schema::Millis;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    AgentManifest,
    manifest::{Capability, InvalidManifest},
};

/// A manifest as settings and services write it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    id: String,
    version: String,
    description: String,
    name: Option<String>,
    author: Option<String>,
    license: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    capabilities: Vec<Capability>,
    input_schema: Option<Value>,
    output_schema: Option<Value>,
    config_schema: Option<Value>,
    timeout: Option<Millis>,
    #[serde(default = "yes")]
    retryable: bool,
    #[serde(default)]
    idempotent: bool,
    #[serde(default)]
    irreversible: bool,
    #[serde(default)]
    dedicated_task: bool,
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default)]
    environment: Vec<String>,
}

fn yes() -> bool {
    true
}

impl AgentManifest {
    /// Reads a manifest in the form that it is shown in; what it does not say has its default, and unknown keys are left out.
    ///
    /// ```
    /// use orchestr8_agent_base::{AgentManifest, manifest::Capability};
    /// use serde_json::json;
    ///
    /// let hears = Capability::new("hearing", "Hears what is said").required();
    /// let manifest = AgentManifest::new("@acme/echo", "1.0.0", "Echoes")?.idempotent();
    /// let manifest = manifest.author("Ada").license("MIT").tag("sound").capability(hears).secret("secret://cave/key");
    /// assert_eq!(AgentManifest::from_value(&serde_json::to_value(&manifest)?)?, manifest);
    /// assert!(AgentManifest::from_value(&json!({ "id": "@acme/echo" })).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidManifest`] if a key is missing or has another type or form than it must have.
    pub fn from_value(document: &Value) -> Result<Self, InvalidManifest> {
        let document = Document::deserialize(document).map_err(InvalidManifest::Document)?;
        let mut manifest = Self::new(&document.id, &document.version, &document.description)?;
        (manifest.name, manifest.author, manifest.license) = (document.name, document.author, document.license);
        (manifest.tags, manifest.capabilities) = (document.tags, document.capabilities);
        manifest.input_schema = document.input_schema;
        manifest.output_schema = document.output_schema;
        manifest.config_schema = document.config_schema;
        manifest.timeout = document.timeout;
        manifest.retryable = document.retryable;
        manifest.idempotent = document.idempotent;
        manifest.irreversible = document.irreversible;
        manifest.dedicated_task = document.dedicated_task;
        (manifest.secrets, manifest.environment) = (document.secrets, document.environment);
        Ok(manifest)
    }
}

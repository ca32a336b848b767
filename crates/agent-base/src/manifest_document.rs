//! Manifests that are written down.

use orchestr8_schema::Millis;
use serde::Deserialize;
use serde_json::Value;

use crate::{AgentManifest, manifest::InvalidManifest};

/// A manifest as settings and services write it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    id: String,
    version: String,
    description: String,
    name: Option<String>,
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
}

fn yes() -> bool {
    true
}

impl AgentManifest {
    /// Reads a manifest in the form that it is shown in; what it does not say has its default, and unknown keys are left out.
    ///
    /// ```
    /// use orchestr8_agent_base::AgentManifest;
    /// use serde_json::json;
    ///
    /// let manifest = AgentManifest::new("@acme/echo", "1.0.0", "Echoes")?.idempotent();
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
        manifest.name = document.name;
        manifest.input_schema = document.input_schema;
        manifest.output_schema = document.output_schema;
        manifest.config_schema = document.config_schema;
        manifest.timeout = document.timeout;
        manifest.retryable = document.retryable;
        manifest.idempotent = document.idempotent;
        manifest.irreversible = document.irreversible;
        manifest.dedicated_task = document.dedicated_task;
        Ok(manifest)
    }
}

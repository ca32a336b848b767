//! The program's configuration: `config.json`, of a user and of a project.
//!
//! A [`ConfigLayer`] is one file, as far as it goes. A [`Config`] is what several of them say together, defaults filled in: objects are
//! merged deeply, lists and everything else replaced.
//!
//! ```
//! use orchestr8_schema::{config::{Config, ConfigLayer}, source::Options};
//!
//! let user = ConfigLayer::read(r#"{ "server": { "port": 9000 }, "output": { "verbose": true } }"#, &Options::new())?.value;
//! let project = ConfigLayer::read(r#"{ "output": { "verbose": false } }"#, &Options::new())?.value;
//! let config = Config::from_layers([&project, &user]);
//! assert_eq!((config.server.port, config.output.verbose, config.execution.max_concurrent), (9000, false, 10));
//! # Ok::<(), orchestr8_schema::InvalidDocument>(())
//! ```

mod agents;
mod policy;
mod providers;

use std::{fmt, str::FromStr};

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

pub use self::{
    agents::{ExternalAgent, McpConfig, McpServer, ShellTool},
    policy::{AccessPolicy, Confine, HttpPolicy, PolicyConfig, ProcessLimits, ProcessPolicy, ToolPolicy},
    providers::{MaxTokensField, Price, Provider, ProviderKind, Providers},
};
use crate::{
    AgentId, InvalidDocument, Millis,
    id::ToolName,
    merge::merged_maps,
    problem::Problems,
    source::{self, Loaded, Options},
};

/// What the program is told to do, defaults filled in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct Config {
    /// The server.
    pub server: ServerConfig,
    /// The dashboard.
    pub dashboard: DashboardConfig,
    /// Executions.
    pub execution: ExecutionConfig,
    /// What commands print.
    pub output: OutputConfig,
    /// Where workflows are found.
    pub workflows: SearchConfig,
    /// Where prompts are found.
    pub prompts: SearchConfig,
    /// Folders whose project files count in full.
    pub trusted_projects: Vec<String>,
    /// How executions are kept.
    pub journal: JournalConfig,
    /// Who answers for models.
    pub providers: Providers,
    /// Which model is used where nobody says.
    pub models: ModelsConfig,
    /// What workflows and agents may do.
    pub policy: PolicyConfig,
    /// Servers of tools, and what is offered to others.
    pub mcp: McpConfig,
    /// Traces and metrics.
    pub telemetry: TelemetryConfig,
    /// Agents from outside the program.
    #[schemars(with = "std::collections::BTreeMap<String, ExternalAgent>")]
    pub agents: IndexMap<AgentId, ExternalAgent>,
    /// Tools that are commands of a shell.
    #[schemars(with = "std::collections::BTreeMap<String, ShellTool>")]
    pub tools: IndexMap<ToolName, ShellTool>,
}

/// The server.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The port that it listens on.
    pub port: u16,
    /// The address that it listens on.
    pub host: String,
    /// Whether that may be another address than one of this machine's own.
    pub allow_remote: bool,
    /// Whether commands start it when they need it.
    pub auto_start: bool,
    /// How long it may take to stop.
    pub shutdown_timeout: Millis,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            port: 8088,
            host: "127.0.0.1".to_owned(),
            allow_remote: false,
            auto_start: true,
            shutdown_timeout: Millis(10_000),
        }
    }
}

/// The dashboard.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct DashboardConfig {
    /// Whether it is opened when an execution starts.
    pub auto_open: bool,
    /// The browser that opens it; absent for the system's own.
    pub browser: Option<String>,
    /// Its colours.
    pub theme: Theme,
}

impl Default for DashboardConfig {
    fn default() -> Self {
        Self { auto_open: true, browser: None, theme: Theme::Auto }
    }
}

/// Colours of the dashboard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
    /// As the system has it.
    #[default]
    Auto,
}

/// Executions.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct ExecutionConfig {
    /// How long an execution may take whose workflow does not say.
    pub default_timeout: Millis,
    /// How many attempts are in progress at once.
    pub max_concurrent: u32,
    /// What is logged.
    pub log_level: LogLevel,
}

impl Default for ExecutionConfig {
    fn default() -> Self {
        Self { default_timeout: Millis(300_000), max_concurrent: 10, log_level: LogLevel::Info }
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Failures.
    Error,
    /// And what is probably not meant so.
    Warn,
    /// And what an operator acts on.
    #[default]
    Info,
    /// And each decision.
    Debug,
    /// And everything else.
    Trace,
}

/// What commands print.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct OutputConfig {
    /// For people or for programs.
    pub format: OutputFormat,
    /// Whether more is told.
    pub verbose: bool,
    /// Whether there are colours.
    pub colors: bool,
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self { format: OutputFormat::Human, verbose: false, colors: true }
    }
}

/// For whom commands print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
}

/// Where files are found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct SearchConfig {
    /// Files and folders.
    pub paths: Vec<String>,
}

/// How executions are kept.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct JournalConfig {
    /// What an execution survives.
    pub durability: JournalDurability,
    /// How long terminal executions are kept.
    pub retention: RetentionTime,
    /// How many terminal executions are kept.
    pub max_finished: u64,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            durability: JournalDurability::Power,
            retention: RetentionTime(Millis(7 * RetentionTime::DAY)),
            max_finished: 10_000,
        }
    }
}

/// What an execution survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JournalDurability {
    /// The loss of power.
    #[default]
    Power,
    /// The death of the process.
    Process,
}

/// A duration that may also be written in days: `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RetentionTime(pub Millis);

impl RetentionTime {
    const DAY: u64 = 86_400_000;
}

impl FromStr for RetentionTime {
    type Err = crate::time::InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let days = text.strip_suffix('d').filter(|days| days.bytes().all(|byte| byte.is_ascii_digit()));
        let days = days.and_then(|days| days.parse::<u64>().ok()?.checked_mul(Self::DAY));
        days.map_or_else(|| text.parse().map(Self), |millis| Ok(Self(Millis(millis))))
    }
}

impl fmt::Display for RetentionTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.0 {
            millis if millis > 0 && millis % Self::DAY == 0 => write!(f, "{}d", millis / Self::DAY),
            _ => self.0.fmt(f),
        }
    }
}

impl Serialize for RetentionTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for RetentionTime {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RetentionTime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Integer milliseconds, or digits followed by ms, s, m, h or d.",
            "oneOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" }
            ]
        })
    }
}

/// Which model is used where nobody says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct ModelsConfig {
    /// Its alias or id; by default there is none.
    pub default: Option<String>,
}

/// Traces and metrics.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct TelemetryConfig {
    /// What is traced.
    pub mode: TelemetryMode,
    /// Where it is sent; absent for nowhere.
    pub endpoint: Option<String>,
    /// Which share of executions is traced, 0–1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub sampling_rate: f64,
    /// Whether prompts and answers of models are in it.
    pub content: bool,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { mode: TelemetryMode::Full, endpoint: None, sampling_rate: 1.0, content: false }
    }
}

/// What is traced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TelemetryMode {
    /// Executions, steps and attempts.
    #[default]
    Full,
    /// Executions only.
    Minimal,
    /// Nothing.
    Disabled,
}

/// One configuration file, or another source of settings, whose values have the right types.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigLayer {
    settings: Map<String, Value>,
}

impl ConfigLayer {
    /// Reads a configuration file. Unknown keys are warnings.
    ///
    /// # Errors
    ///
    /// When the text cannot be read, or a value has another type or form than its key asks for; all problems at once.
    pub fn read(text: impl AsRef<[u8]>, options: &Options<'_>) -> Result<Loaded<Self>, InvalidDocument> {
        source::read_config(text.as_ref(), options)
    }

    pub(crate) fn new(settings: Map<String, Value>) -> Self {
        Self { settings }
    }

    /// Returns the settings as they are written, without defaults.
    #[must_use]
    pub fn settings(&self) -> &Map<String, Value> {
        &self.settings
    }
}

impl Config {
    /// Puts layers together: each lies over those behind it, all of them over the defaults.
    #[must_use]
    pub fn from_layers<'l>(layers: impl IntoIterator<Item = &'l ConfigLayer>) -> Self {
        let merged = layers.into_iter().fold(Map::new(), |over, layer| merged_maps(&over, &layer.settings));
        source::config_of(&Value::Object(merged), &mut Problems::default())
    }
}

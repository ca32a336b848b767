//! What workflows and agents may do.

use schemars::JsonSchema;
use serde::Serialize;

/// What workflows and agents may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct PolicyConfig {
    /// Which tools agents may use.
    pub tools: ToolPolicy,
    /// Which programs may be run.
    pub process: ProcessPolicy,
    /// Which hosts may be called.
    pub http: HttpPolicy,
    /// Which secrets workflows may ask for.
    pub secrets: AccessPolicy,
    /// Which process variables workflows may read.
    pub env: AccessPolicy,
}

/// Which tools agents may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct ToolPolicy {
    /// Names with `*`; absent for all.
    pub allow: Option<Vec<String>>,
    /// Names with `*`; they win.
    pub deny: Vec<String>,
}

/// Which programs may be run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct ProcessPolicy {
    /// Programs; none by default.
    pub allow: Vec<String>,
    /// Whether commands of a shell may be run.
    pub shell: bool,
    /// Folders that they may be run in.
    pub roots: Vec<String>,
    /// Tools of its own that the program `claude` may use; none by default.
    pub claude_tools: Vec<String>,
    /// What each program, and each that it starts, may use up; nothing is limited by default.
    pub limits: ProcessLimits,
    /// Whether programs may write only below `roots` and the folder for temporary files.
    pub confine: Confine,
}

/// What a program may use up; absent means as much as this process may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct ProcessLimits {
    /// Seconds of computing; whoever uses up more is killed.
    pub cpu_seconds: Option<u64>,
    /// Bytes of address space.
    pub memory_bytes: Option<u64>,
    /// Bytes of a file that it writes.
    pub file_bytes: Option<u64>,
    /// Files that it has open.
    pub open_files: Option<u64>,
    /// Processes that its user may have; not of root.
    pub processes: Option<u64>,
}

/// Whether programs are held to their folders when they write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Confine {
    /// They are not.
    #[default]
    Off,
    /// As far as this system can do it; the result of a call tells how far that was.
    Try,
    /// A program is not started where it cannot be held to them.
    Require,
}

/// Which hosts may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct HttpPolicy {
    /// Hosts; absent for all that are public.
    pub allow: Option<Vec<String>>,
    /// Hosts; they win.
    pub deny: Vec<String>,
}

/// What workflows may ask for, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct AccessPolicy {
    /// Names with `*`. Absent, it is everything for a file that a person runs, and nothing for a workflow that is posted to a server.
    pub allow: Option<Vec<String>>,
}

//! What is noted of hooks.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Failure,
    workflow::{HookMode, HookPoint},
};

/// A hook of an engine, as an execution knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineHook {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is called.
    pub points: Vec<HookPoint>,
    /// What its answer means.
    pub mode: HookMode,
}

/// Which one it is of the hooks that are called about the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookId {
    /// Who asks for it.
    pub owner: HookOwner,
    /// Where it is called.
    pub point: HookPoint,
    /// Its place in the owner's list: of that point in a file, of all hooks in an engine.
    pub index: u32,
}

/// Who asks for a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum HookOwner {
    /// The engine.
    Engine,
    /// A workflow.
    Workflow {
        /// How many workflows are around it.
        depth: u32,
    },
    /// The step that it is about.
    Step,
}

/// What follows from the answer of a hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookResult {
    /// What may come next.
    pub verdict: HookVerdict,
    /// Why, as a guard says.
    pub reason: Option<String>,
    /// Why there is no answer, or none that can be used.
    pub error: Option<Arc<Failure>>,
}

/// What may come next, after a hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HookVerdict {
    /// What was to come.
    Allow,
    /// The same with another input.
    Replace(Arc<Value>),
    /// Nothing: a guard denies it.
    Deny,
}

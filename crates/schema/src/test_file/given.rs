//! What an execution under test begins with.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde_json::{Map, Value};

use crate::{
    Timestamp,
    merge::{merged, merged_maps},
    policy::Budget,
};

/// What an execution under test is given; what is absent comes from the file's `defaults`, objects merged deeply.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Given {
    /// The execution's input; default `{}`.
    pub input: Option<Value>,
    /// Variables, which override the workflow's by name.
    pub variables: Map<String, Value>,
    /// What `env` shows of the process, as far as the workflow allows it.
    pub env: IndexMap<String, String>,
    /// Stand-ins for secrets, by reference: `secret://…` or what is behind it.
    pub secrets: IndexMap<String, String>,
    /// The time at which the execution starts; default [`Given::DEFAULT_NOW`].
    pub now: Option<Timestamp>,
    /// The seed of everything random; default [`Given::DEFAULT_SEED`].
    pub seed: Option<u64>,
    /// Limits that are tighter than the workflow's.
    pub budget: Option<Budget>,
    /// The program's configuration.
    pub config: Map<String, Value>,
}

impl Given {
    /// 2025-01-17T00:00:00Z.
    pub const DEFAULT_NOW: Timestamp = Timestamp::from_micros(1_737_072_000_000_000);
    /// Forty-two.
    pub const DEFAULT_SEED: u64 = 42;

    /// Takes what is absent here from `fallback`; objects are merged deeply, other values replaced.
    #[must_use]
    pub fn over(&self, fallback: &Self) -> Self {
        let texts = |ours: &IndexMap<String, String>, theirs: &IndexMap<String, String>| {
            let mut merged = theirs.clone();
            merged.extend(ours.iter().map(|(name, text)| (name.clone(), text.clone())));
            merged
        };
        Self {
            input: match (&self.input, &fallback.input) {
                (Some(ours), Some(theirs)) => Some(merged(ours, theirs)),
                (ours, theirs) => ours.as_ref().or(theirs.as_ref()).cloned(),
            },
            variables: merged_maps(&self.variables, &fallback.variables),
            env: texts(&self.env, &fallback.env),
            secrets: texts(&self.secrets, &fallback.secrets),
            now: self.now.or(fallback.now),
            seed: self.seed.or(fallback.seed),
            budget: match (&self.budget, &fallback.budget) {
                (Some(ours), Some(theirs)) => Some(Budget {
                    max_tokens: ours.max_tokens.or(theirs.max_tokens),
                    max_cost_usd: ours.max_cost_usd.or(theirs.max_cost_usd),
                    max_steps: ours.max_steps.or(theirs.max_steps),
                    max_duration: ours.max_duration.or(theirs.max_duration),
                }),
                (ours, theirs) => ours.as_ref().or(theirs.as_ref()).cloned(),
            },
            config: merged_maps(&self.config, &fallback.config),
        }
    }
}

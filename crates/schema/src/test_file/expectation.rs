//! What a test checks when the execution has ended or waits.

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::{EventPattern, MockTarget, StepPattern};
use crate::{
    Code, ErrorKind, Millis, StepId,
    api::{Compensation, ExecutionStatus, StepStatus},
    merge::merged,
};

/// What is checked; only what is written.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Expectation {
    /// The execution's status.
    pub status: Option<ExecutionStatus>,
    /// What became of compensation.
    pub compensation: Option<Compensation>,
    /// The workflow's outputs; a subset unless [`exact`](Self::exact).
    pub outputs: Option<Value>,
    /// Whether the outputs are exactly those given; default false.
    pub exact: Option<bool>,
    /// Step instances, by path.
    #[schemars(with = "std::collections::BTreeMap<String, StepExpectation>")]
    pub steps: IndexMap<StepPattern, StepExpectation>,
    /// The unrecovered, fatal failures: each one fits one of these, and each of these fits one.
    pub errors: Option<Vec<FailureExpectation>>,
    /// Steps in the order of their first starts; others may start in between.
    pub order: Vec<StepPattern>,
    /// How often something was called, by what is called; as for mocks.
    #[schemars(with = "std::collections::BTreeMap<String, u32>")]
    pub calls: IndexMap<MockTarget, u32>,
    /// Events that happened, and events that did not.
    pub journal: JournalExpectation,
    /// What was used up.
    pub usage: UsageExpectation,
    /// How long it took, in virtual time.
    pub duration: Option<Bounds<Millis>>,
    /// What the execution waits for when nothing more happens; without it, an execution that waits fails the test.
    pub waiting: Option<Vec<StepPattern>>,
    /// The workflow is not valid, and these are its problems' codes.
    pub diagnostics: Option<Vec<Code>>,
}

/// What is checked of a step instance.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct StepExpectation {
    /// Its status.
    pub status: Option<StepStatus>,
    /// Calls that reached the agent.
    pub attempts: Option<u32>,
    /// Its resolved input, a subset.
    pub input: Option<Value>,
    /// Its output, a subset.
    pub output: Option<Value>,
    /// Its failure.
    pub error: Option<FailureExpectation>,
    /// The case that a branch took.
    pub case: Option<String>,
    /// Why it did not run.
    pub skip_reason: Option<String>,
    /// The step that stood in for it.
    pub recovered_by: Option<StepId>,
}

/// What is checked of a failure.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FailureExpectation {
    /// Its kind.
    pub code: ErrorKind,
    /// A part of its message.
    #[schemars(default)]
    pub message: Option<String>,
    /// The step that failed.
    #[schemars(default)]
    pub step_path: Option<StepPattern>,
}

/// Which events are in the journal.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct JournalExpectation {
    /// Events that happened, in this order; others may stand in between.
    pub contains: Vec<EventPattern>,
    /// Events that did not happen.
    pub absent: Vec<EventPattern>,
}

/// What is checked of the usage.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct UsageExpectation {
    /// Tokens of input that were not cached.
    pub input_tokens: Option<Bounds<u64>>,
    /// Tokens of output.
    pub output_tokens: Option<Bounds<u64>>,
    /// Tokens of input that were read from a cache.
    pub cache_read_tokens: Option<Bounds<u64>>,
    /// Tokens of input that were written to a cache.
    pub cache_creation_tokens: Option<Bounds<u64>>,
    /// US dollars.
    pub cost_usd: Option<Bounds<f64>>,
}

/// A range; in a file `{min, max}`, or a value alone for exactly that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds<T> {
    /// The least value allowed.
    pub min: Option<T>,
    /// The greatest value allowed.
    pub max: Option<T>,
}

impl<T: PartialOrd> Bounds<T> {
    /// Whether a value is in the range.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "numbers")]
    pub fn contain(&self, value: T) -> bool {
        self.min.as_ref().is_none_or(|min| *min <= value) && self.max.as_ref().is_none_or(|max| value <= *max)
    }
}

impl<T: JsonSchema> JsonSchema for Bounds<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Bounds_of_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({
            "anyOf": [value, { "type": "object", "properties": { "min": value, "max": value }, "minProperties": 1 }]
        })
    }
}

impl Expectation {
    /// Takes what is absent here from `fallback`; objects are merged deeply, other values replaced.
    #[must_use]
    pub fn over(&self, fallback: &Self) -> Self {
        let mut steps = fallback.steps.clone();
        for (path, step) in &self.steps {
            let step = fallback.steps.get(path).map_or_else(|| step.clone(), |other| step.over(other));
            steps.insert(path.clone(), step);
        }
        let mut calls = fallback.calls.clone();
        calls.extend(self.calls.iter().map(|(target, count)| (target.clone(), *count)));
        let list =
            |ours: &Vec<StepPattern>, theirs: &Vec<StepPattern>| (if ours.is_empty() { theirs } else { ours }).clone();
        let events = |ours: &Vec<EventPattern>, theirs: &Vec<EventPattern>| {
            (if ours.is_empty() { theirs } else { ours }).clone()
        };
        Self {
            status: self.status.or(fallback.status),
            compensation: self.compensation.or(fallback.compensation),
            outputs: merged_option(self.outputs.as_ref(), fallback.outputs.as_ref()),
            exact: self.exact.or(fallback.exact),
            steps,
            errors: self.errors.as_ref().or(fallback.errors.as_ref()).cloned(),
            order: list(&self.order, &fallback.order),
            calls,
            journal: JournalExpectation {
                contains: events(&self.journal.contains, &fallback.journal.contains),
                absent: events(&self.journal.absent, &fallback.journal.absent),
            },
            usage: UsageExpectation {
                input_tokens: self.usage.input_tokens.or(fallback.usage.input_tokens),
                output_tokens: self.usage.output_tokens.or(fallback.usage.output_tokens),
                cache_read_tokens: self.usage.cache_read_tokens.or(fallback.usage.cache_read_tokens),
                cache_creation_tokens: self.usage.cache_creation_tokens.or(fallback.usage.cache_creation_tokens),
                cost_usd: self.usage.cost_usd.or(fallback.usage.cost_usd),
            },
            duration: self.duration.or(fallback.duration),
            waiting: self.waiting.as_ref().or(fallback.waiting.as_ref()).cloned(),
            diagnostics: self.diagnostics.as_ref().or(fallback.diagnostics.as_ref()).cloned(),
        }
    }
}

impl StepExpectation {
    fn over(&self, fallback: &Self) -> Self {
        Self {
            status: self.status.or(fallback.status),
            attempts: self.attempts.or(fallback.attempts),
            input: merged_option(self.input.as_ref(), fallback.input.as_ref()),
            output: merged_option(self.output.as_ref(), fallback.output.as_ref()),
            error: self.error.as_ref().or(fallback.error.as_ref()).cloned(),
            case: self.case.as_ref().or(fallback.case.as_ref()).cloned(),
            skip_reason: self.skip_reason.as_ref().or(fallback.skip_reason.as_ref()).cloned(),
            recovered_by: self.recovered_by.as_ref().or(fallback.recovered_by.as_ref()).cloned(),
        }
    }
}

fn merged_option(ours: Option<&Value>, theirs: Option<&Value>) -> Option<Value> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => Some(merged(ours, theirs)),
        (ours, theirs) => ours.or(theirs).cloned(),
    }
}

//! What happens to an execution under test from outside.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};

use super::{StepPattern, mock::True};
use crate::{Millis, id::SignalName};

/// Something that happens to the execution from outside, and when.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Stimulus {
    /// When it happens.
    pub moment: Moment,
    /// What happens.
    pub action: Action,
}

/// When something happens.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Moment {
    /// This long after the start, in virtual time.
    At(Millis),
    /// Behind the first event that fits and has not served an earlier entry.
    On(EventPattern),
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// A person approves.
    Approve {
        /// Which of the waiting approvals.
        step: StepPattern,
        /// The answer; default null.
        answer: Value,
        /// What they remark.
        comment: Option<String>,
        /// Who they are.
        by: Option<String>,
    },
    /// A person rejects.
    Reject {
        /// Which of the waiting approvals.
        step: StepPattern,
        /// What they remark.
        comment: Option<String>,
        /// Who they are.
        by: Option<String>,
    },
    /// A signal arrives.
    Signal {
        /// Its name.
        name: SignalName,
        /// What it carries; default null.
        payload: Value,
        /// Which of the waiting steps it is for; absent for any.
        step: Option<StepPattern>,
    },
    /// Somebody asks for the end of the execution.
    Cancel {
        /// Why.
        reason: Option<String>,
    },
    /// Somebody pauses the execution.
    Pause {
        /// Why.
        reason: Option<String>,
    },
    /// Somebody lets it go on.
    Resume {
        /// Why.
        reason: Option<String>,
    },
    /// The engine is dropped, and another one takes the execution up from the store.
    Crash,
    /// Time passes.
    Advance(Millis),
}

/// Which events are meant: those of a type whose other fields are as given.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EventPattern {
    /// The event's name, one of [`EventBody::NAMES`](crate::event::EventBody::NAMES).
    pub kind: &'static str,
    /// The step that it is about.
    pub step_path: Option<StepPattern>,
    /// Further fields of its [`Entry`](crate::api::Entry), as a subset.
    pub fields: Map<String, Value>,
}

/// How an entry is written down, for its JSON Schema.
#[derive(JsonSchema)]
#[schemars(rename = "Stimulus", rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used")]
struct Written {
    /// How long after the start.
    #[schemars(default)]
    at: Option<Millis>,
    /// Behind which event.
    #[schemars(default)]
    on: Option<EventPattern>,
    /// The approval that a person approves.
    #[schemars(default)]
    approve: Option<StepPattern>,
    /// The approval that a person rejects.
    #[schemars(default)]
    reject: Option<StepPattern>,
    /// The answer of `approve`.
    #[schemars(default)]
    answer: Option<Value>,
    /// What the person remarks.
    #[schemars(default)]
    comment: Option<String>,
    /// Who the person is.
    #[schemars(default)]
    by: Option<String>,
    /// The name of a signal that arrives.
    #[schemars(default)]
    signal: Option<SignalName>,
    /// What the signal carries.
    #[schemars(default)]
    payload: Option<Value>,
    /// The step that the signal is for.
    #[schemars(default)]
    step: Option<StepPattern>,
    /// True, or why the execution is cancelled.
    #[schemars(default)]
    cancel: Option<TrueOrReason>,
    /// True, or why the execution is paused.
    #[schemars(default)]
    pause: Option<TrueOrReason>,
    /// True, or why the execution is resumed.
    #[schemars(default)]
    resume: Option<TrueOrReason>,
    /// Drops the engine, and takes the execution up from the store.
    #[schemars(default)]
    crash: Option<True>,
    /// How much time passes.
    #[schemars(default)]
    advance: Option<Millis>,
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "only its schema is used")]
enum TrueOrReason {
    True(True),
    Reason(String),
}

impl JsonSchema for Stimulus {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Stimulus".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one_of = |names: &[&str]| {
            let required = names.iter().map(|name| serde_json::json!({ "required": [name] }));
            serde_json::json!({ "oneOf": required.collect::<Vec<_>>() })
        };
        let mut schema = Written::json_schema(generator);
        let actions = ["approve", "reject", "signal", "cancel", "pause", "resume", "crash", "advance"];
        schema.insert("allOf".to_owned(), Value::Array(vec![one_of(&["at", "on"]), one_of(&actions)]));
        schema
    }
}

impl JsonSchema for EventPattern {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EventPattern".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "object",
            "properties": {
                "type": { "description": "The event's name.", "enum": crate::event::EventBody::NAMES },
                "stepPath": generator.subschema_for::<StepPattern>(),
            },
            "required": ["type"],
            "additionalProperties": true
        })
    }
}

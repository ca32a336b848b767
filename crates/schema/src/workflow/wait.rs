//! Time, and signals from outside.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::{Millis, Timestamp, id::SignalName};

/// Waits, without holding anything.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", untagged)]
pub enum WaitStep {
    /// For some time.
    Duration {
        /// How long.
        duration: WaitDuration,
    },
    /// Until a point in time; one that is past is over at once.
    Until {
        /// When.
        until: WaitUntil,
    },
    /// For a signal.
    Signal {
        /// The signal's name.
        signal: SignalName,
        /// How long at most; default no limit.
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout: Option<Millis>,
    },
}

/// How long to wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum WaitDuration {
    /// This long.
    Fixed(Millis),
    /// As long as a template gives: milliseconds or a text such as `30s`.
    Template(String),
}

/// Until when to wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum WaitUntil {
    /// Until this time.
    At(Timestamp),
    /// Until the time of RFC 3339 that a template gives.
    Template(String),
}

impl JsonSchema for WaitDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "WaitDuration".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let fixed = generator.subschema_for::<Millis>();
        json_schema!({ "anyOf": [fixed, { "type": "string", "pattern": r"\$\{" }] })
    }
}

impl JsonSchema for WaitUntil {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "WaitUntil".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let at = generator.subschema_for::<Timestamp>();
        json_schema!({ "anyOf": [at, { "type": "string", "pattern": r"\$\{" }] })
    }
}

//! A draft that gets better with every round.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::Example;
use crate::{AgentRegistry, registry::RegisterError};

#[derive(Deserialize, Serialize, JsonSchema)]
struct Draft {
    text: String,
    /// How good it is, at most 1.
    #[serde(serialize_with = "shortest")]
    score: f64,
}

pub(super) fn register(registry: &mut AgentRegistry) -> Result<(), RegisterError> {
    registry.register(
        Example::new("critic-agent", "Revises a draft", |Draft { text, score }, _| {
            let score = (((score + 0.2) * 100.0).round() / 100.0).min(1.0);
            Ok(Draft { text: format!("{text} (revised)"), score })
        })
        .idempotent(),
    )
}

/// Writes a whole number without a point.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
pub(super) fn shortest<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        serializer.serialize_i64(*number as i64)
    } else {
        serializer.serialize_f64(*number)
    }
}

//! Which execution a command means.

use std::{fmt, str::FromStr};

use orchestr8_schema::ExecutionId;

/// An execution, as people name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExecutionName {
    /// By its id.
    Id(ExecutionId),
    /// By how its id begins or ends.
    Part(String),
    /// The newest: `@last`.
    Last,
}

impl ExecutionName {
    /// The fewest digits that stand for an id.
    const MIN_PART: usize = 6;
}

impl FromStr for ExecutionName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "@last" {
            return Ok(Self::Last);
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let is_part = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if is_part && text.len() >= Self::MIN_PART {
            return Ok(Self::Part(text.to_ascii_lowercase()));
        }
        Err("an execution is named by its id, by 6 or more digits of its beginning or end, or by `@last`".to_owned())
    }
}

impl fmt::Display for ExecutionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Part(part) => f.write_str(part),
            Self::Last => f.write_str("@last"),
        }
    }
}

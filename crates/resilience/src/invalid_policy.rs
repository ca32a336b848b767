use std::{error::Error, fmt};

/// The error of a configuration that makes no sense, such as no attempts at all, or two knobs that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPolicy {
    field: &'static str,
    message: &'static str,
}

impl InvalidPolicy {
    pub(crate) const fn new(field: &'static str, message: &'static str) -> Self {
        Self { field, message }
    }

    /// Returns the name of the knob that cannot stand as it is: `"max_attempts"`, `"failure_threshold"`.
    pub const fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for InvalidPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid policy: `{}` {}", self.field, self.message)
    }
}

impl Error for InvalidPolicy {}

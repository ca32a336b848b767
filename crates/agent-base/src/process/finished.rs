//! How a program ended.

use std::process::ExitStatus;

use serde::Serialize;
use serde_json::{Value, json};

use super::{capture::Capture, confinement::Enforced};
use crate::AgentError;

/// How a program ended, and what it said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Finished {
    /// Its exit code; absent if a signal ended it.
    pub exit_code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// What it said on standard output; bytes that are no text are replaced.
    pub stdout: String,
    /// What it said on standard error.
    pub stderr: String,
    /// Whether it said more than is kept.
    pub truncated: bool,
    /// What it was held to, if the policy holds programs to anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforced: Option<Enforced>,
}

impl Finished {
    /// The exit code by which a program says that another attempt may succeed: `EX_TEMPFAIL`.
    const TEMPORARY: i32 = 75;
    /// How much of standard error goes into a failure, in bytes.
    const TOLD: usize = 2048;

    pub(super) fn new(status: ExitStatus, stdout: Capture, stderr: Capture, enforced: Option<Enforced>) -> Self {
        let ((stdout, more), (stderr, even_more)) = (stdout.into_text(), stderr.into_text());
        let (exit_code, signal) = (status.code(), signal(status));
        Self { exit_code, signal, stdout, stderr, truncated: more || even_more, enforced }
    }

    /// Makes a failure of an end that is none of those: 0, and what `allowed` lists. Exit code 75 is RETRYABLE, everything else
    /// INTERNAL; the failure tells the code and the end of standard error.
    ///
    /// # Errors
    ///
    /// That failure.
    pub fn accept(self, program: &str, allowed: &[i32]) -> Result<Self, AgentError> {
        let error = match self.exit_code {
            Some(code) if code == 0 || allowed.contains(&code) => return Ok(self),
            Some(code @ Self::TEMPORARY) => {
                AgentError::retryable(format!("`{program}` ended with exit code {code}: it may succeed later"))
            }
            Some(code) => AgentError::internal(format!("`{program}` ended with exit code {code}")),
            None => {
                AgentError::internal(format!("`{program}` was ended by signal {}", self.signal.unwrap_or_default()))
            }
        };
        let from = self.stderr.ceil_char_boundary(self.stderr.len().saturating_sub(Self::TOLD));
        let mut context = json!({ "exitCode": self.exit_code, "signal": self.signal, "stderr": self.stderr[from..] });
        if let Some(enforced) = &self.enforced {
            context["enforced"] = json!(enforced);
        }
        Err(error.with_context(context))
    }

    /// Returns it as JSON of at most so many bytes: the longer stream is cut until it fits.
    pub(super) fn into_value(mut self, limit: usize) -> Value {
        loop {
            let value = json!(self);
            if value.to_string().len() <= limit {
                return value;
            }
            let longer = if self.stdout.len() >= self.stderr.len() { &mut self.stdout } else { &mut self.stderr };
            longer.truncate(longer.floor_char_boundary(longer.len() * 3 / 4));
            self.truncated = true;
        }
    }
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_: ExitStatus) -> Option<i32> {
    None
}

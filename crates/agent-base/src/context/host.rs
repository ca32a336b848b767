//! What whoever calls agents does for them during a call.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use orchestr8_schema::event::{CallId, Durable, LogEntry, ModelCall, ToolCall};
use serde_json::Value;

use super::{
    StepIdentity,
    cleanup::{self, Cleanup},
};
use crate::{AgentError, ToolAccess, secret::SecretString};

/// What an engine does for the agents that it calls, behind their [`AgentContext`](crate::AgentContext).
///
/// Engines and harnesses implement it. Without one a context keeps durable results in memory, has no secrets and no tools, and what is
/// told goes nowhere.
pub trait Host: fmt::Debug + Send + Sync + 'static {
    /// Stores the result of an inner call; resolves once it is stored.
    ///
    /// An error means that it was not, because the execution is ending.
    fn record(&self, durable: Durable) -> Recording;

    /// Takes a remark for the journal. Returns at once.
    fn remark(&self, remark: Remark);

    /// Shows how far a call has come to whoever looks on. Returns at once.
    fn progress(&self, progress: Progress);

    /// Finds a secret that the step and its agent (`declared` are those of its manifest; empty for any) may ask for.
    ///
    /// # Errors
    ///
    /// DENIED if it may not, naming what forbids it; NOT_FOUND if there is none.
    fn secret(&self, reference: &str, declared: &[String]) -> Result<SecretString, AgentError>;

    /// Takes note of a secret that is used for an agent without being given to it, so that it is hidden like those that are. Default nothing.
    fn conceal(&self, secret: &SecretString) {
        let _ = secret;
    }

    /// Runs a cleanup beside everything else, for as long as such may take: longer after an attempt that was told to end than after one that
    /// was dropped, which is by force. Returns at once. Default for at most 5 s.
    fn clean_up(&self, cleanup: Cleanup, by_force: bool) {
        let _ = by_force;
        cleanup::spawn(cleanup);
    }

    /// Hides the secrets in a value that were given out so far.
    fn hide(&self, value: &mut Value);

    /// Whether spans may hold what models and tools are asked and answer, secrets hidden. Default not.
    fn shows_content(&self) -> bool {
        false
    }

    /// Whether somebody looks on, for whom it is worth to show progress. Default not.
    fn is_watched(&self) -> bool {
        false
    }

    /// The models that agents may ask; none by default.
    #[cfg(feature = "model")]
    fn models(&self) -> Option<&crate::model::Models> {
        None
    }

    /// The tools that agents may use; none by default.
    fn tools(&self) -> Option<&ToolAccess> {
        None
    }
}

/// Resolves once something is stored.
pub type Recording = Pin<Box<dyn Future<Output = Result<(), AgentError>> + Send>>;

/// What an agent tells the journal.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Remark {
    /// Something for people.
    Log(LogEntry),
    /// A model was called.
    Model(ModelCall),
    /// A tool was called, or not let through.
    Tool(ToolCall),
}

/// How far a call has come.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Which call.
    pub call: CallId,
    /// Of which step.
    pub step: Arc<StepIdentity>,
    /// The number of the attempt.
    pub attempt: u32,
    /// From 0 to 1; absent if nobody can tell.
    pub fraction: Option<f64>,
    /// What is being done, for people; with `is_text`, the text that a model has written since the last time.
    pub message: String,
    /// Whether the message is a piece of a model's answer.
    pub is_text: bool,
}

impl Progress {
    /// Puts it together.
    #[must_use]
    pub fn new(call: CallId, step: Arc<StepIdentity>, attempt: u32, fraction: Option<f64>, message: String) -> Self {
        Self { call, step, attempt, fraction, message, is_text: false }
    }
}

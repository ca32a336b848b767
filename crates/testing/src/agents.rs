//! Agents that do as they are told.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use orchestr8_agent_base::{Agent, AgentContext, AgentError, AgentManifest};
use orchestr8_schema::{ErrorKind, Timestamp};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Begins an agent with the id `@test/<name>`, or `name` itself if it has a scope. It answers its input until told otherwise.
///
/// What it does depends on the attempt and never on the order of calls, so that concurrent steps do not disturb each other.
///
/// # Panics
///
/// If the name is no part of an agent id.
pub fn scripted(name: &str) -> Scripted {
    let id = if name.starts_with('@') { name.to_owned() } else { format!("@test/{name}") };
    let manifest =
        AgentManifest::new(&id, "1.0.0", "Does as a test tells it").unwrap_or_else(|error| panic!("{error}"));
    Scripted {
        manifest,
        delay: Duration::ZERO,
        failing: 0,
        error: (ErrorKind::Retryable, None),
        end: End::Echo,
        ignores_cancel: false,
        records: Records::default(),
    }
}

/// An agent that does as it is told; made by [`scripted`].
#[derive(Clone)]
#[must_use]
pub struct Scripted {
    manifest: AgentManifest,
    delay: Duration,
    /// Attempts up to this number fail.
    failing: u32,
    error: (ErrorKind, Option<Duration>),
    end: End,
    ignores_cancel: bool,
    records: Records,
}

#[derive(Clone)]
enum End {
    Echo,
    Returns(Value),
    Sequence(Arc<Mutex<VecDeque<Value>>>),
    By(Answer),
    Never,
    Panic,
}

/// What a test answers to an input.
type Answer = Arc<dyn Fn(&Value) -> Option<Value> + Send + Sync>;

impl Scripted {
    /// Answers this.
    pub fn returns(mut self, value: Value) -> Self {
        self.end = End::Returns(value);
        self
    }

    /// Gives these answers, one to each call, whoever calls. A call too many fails (INTERNAL), and says with which input.
    pub fn sequence(mut self, answers: impl IntoIterator<Item = Value>) -> Self {
        self.end = End::Sequence(Arc::new(Mutex::new(answers.into_iter().collect())));
        self
    }

    /// Answers by a function of the input. An input to which it has no answer fails (INTERNAL), and is shown.
    pub fn by(mut self, answer: impl Fn(&Value) -> Option<Value> + Send + Sync + 'static) -> Self {
        self.end = End::By(Arc::new(answer));
        self
    }

    /// Fails at every attempt.
    pub fn fails(self, kind: ErrorKind) -> Self {
        self.fails_times(u32::MAX, kind)
    }

    /// Fails at the first attempts of each step, then goes on to what else it was told.
    pub fn fails_times(mut self, attempts: u32, kind: ErrorKind) -> Self {
        (self.failing, self.error.0) = (attempts, kind);
        self
    }

    /// Asks at the first attempt of each step to be left alone for a while (RATE_LIMITED), then goes on.
    pub fn rate_limited(mut self, retry_after: Duration) -> Self {
        (self.failing, self.error) = (1, (ErrorKind::RateLimited, Some(retry_after)));
        self
    }

    /// Waits before it answers or fails. It answers CANCELLED at once when its token fires.
    pub fn delays(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Never answers, but for CANCELLED when its token fires.
    pub fn never_ends(mut self) -> Self {
        self.end = End::Never;
        self
    }

    /// Does not look at its token.
    pub fn ignores_cancel(mut self) -> Self {
        self.ignores_cancel = true;
        self
    }

    /// Panics.
    pub fn panics(mut self) -> Self {
        self.end = End::Panic;
        self
    }

    /// Changes what the agent says about itself.
    pub fn manifest(mut self, change: impl FnOnce(AgentManifest) -> AgentManifest) -> Self {
        self.manifest = change(self.manifest);
        self
    }

    /// Returns what the agent was called with, as it fills up.
    #[must_use]
    pub fn records(&self) -> Records {
        self.records.clone()
    }

    fn unexpected(&self, input: &Value) -> AgentError {
        AgentError::internal(format!("unexpected call {} of {}, with {input}", self.records.len(), self.manifest.id))
    }

    async fn act(&self, input: &Value, cx: &AgentContext) -> Result<Value, AgentError> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        if cx.attempt() <= self.failing {
            let (kind, retry_after) = self.error;
            let error = AgentError::new(kind, format!("attempt {} was told to fail", cx.attempt()));
            return Err(match retry_after {
                Some(delay) => error.with_retry_after(delay),
                None => error,
            });
        }
        match &self.end {
            End::Echo => Ok(input.clone()),
            End::Returns(value) => Ok(value.clone()),
            End::Sequence(answers) => {
                let next = answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                next.ok_or_else(|| self.unexpected(input))
            }
            End::By(answer) => answer(input).ok_or_else(|| self.unexpected(input)),
            End::Never => std::future::pending().await,
            End::Panic => panic!("told to panic"),
        }
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted")
            .field("id", &self.manifest.id)
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Agent for Scripted {
    fn manifest(&self) -> AgentManifest {
        self.manifest.clone()
    }

    async fn execute(&self, input: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        self.records.push(Record {
            input: input.clone(),
            step_path: cx.step_path().to_string(),
            attempt: cx.attempt(),
            at: cx.now(),
            deadline: cx.deadline(),
            idempotency_key: cx.idempotency_key().to_owned(),
        });
        let acting = self.act(input, cx);
        if self.ignores_cancel {
            return acting.await;
        }
        cancel.run_until_cancelled(acting).await.unwrap_or_else(|| Err(AgentError::cancelled("the token fired")))
    }
}

/// One call of a scripted agent.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// What it was given.
    pub input: Value,
    /// Which step called.
    pub step_path: String,
    /// Which attempt.
    pub attempt: u32,
    /// When.
    pub at: Timestamp,
    /// When the attempt would have been given up.
    pub deadline: Option<Timestamp>,
    /// The key that all attempts of the step share.
    pub idempotency_key: String,
}

/// The calls of a scripted agent, in their order; clones see the same.
#[derive(Clone, Debug, Default)]
pub struct Records(Arc<Mutex<Vec<Record>>>);

impl Records {
    fn push(&self, record: Record) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }

    /// Returns the calls so far.
    #[must_use]
    pub fn all(&self) -> Vec<Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns how many calls there were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether the agent was never called.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

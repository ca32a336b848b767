//! What an engine does for the agents that it calls: the other side of their contexts.
//!
//! Agents may have tasks of their own, so what they tell comes in by an inbox, which the driver empties before it takes the answer of any
//! call: what an agent has told stands in the journal before its answer does.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

#[cfg(feature = "model")]
use orchestr8_agent_base::model::Models;
use orchestr8_agent_base::{
    AgentError, SecretString, ToolAccess,
    context::{Cleanup, Host, Progress, Recording, Remark},
};
use orchestr8_schema::{
    Failure,
    event::{Durable, EventBody},
};
use serde_json::Value;
use tokio::{runtime::Handle, sync::oneshot};

use super::EngineShared;
use crate::{bus::Origin, execution::Shared, redact::GivenOut};

/// What one execution's agents are served by.
pub(super) struct ExecutionHost {
    engine: Arc<EngineShared>,
    shared: Arc<Shared>,
    origin: Arc<Origin>,
    inbox: Mutex<Vec<Told>>,
    /// Whether there may be something in the inbox, so that looking takes no lock.
    has_told: AtomicBool,
    given_out: GivenOut,
}

/// What an agent has told.
pub(super) enum Told {
    /// The result of an inner call; whoever waits is told once it is stored.
    Durable(Durable, oneshot::Sender<()>),
    /// Anything else.
    Remark(EventBody),
}

impl ExecutionHost {
    pub(super) fn new(engine: Arc<EngineShared>, shared: Arc<Shared>, origin: Arc<Origin>) -> Self {
        let (inbox, has_told) = (Mutex::default(), AtomicBool::new(false));
        let given_out = GivenOut::knowing(origin.plan.secrets());
        Self { engine, shared, origin, inbox, has_told, given_out }
    }

    /// Takes what was told since the last time.
    pub(super) fn take_told(&self) -> Vec<Told> {
        if !self.has_told.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.has_told.store(false, Ordering::Release);
        std::mem::take(&mut *self.inbox())
    }

    /// Hides what was given out in an answer.
    pub(super) fn hide_in(&self, result: &mut Result<Value, AgentError>) {
        if self.given_out.is_empty() {
            return;
        }
        match result {
            Ok(output) => self.given_out.hide(output),
            Err(error) => {
                let mut failure: Failure = error.to_failure();
                self.given_out.hide_in_failure(&mut failure);
                *error = AgentError::from_failure(&failure);
            }
        }
    }

    fn tell(&self, told: Told) {
        self.inbox().push(told);
        self.has_told.store(true, Ordering::Release);
        self.shared.mailbox().wake();
    }

    fn inbox(&self) -> MutexGuard<'_, Vec<Told>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host for ExecutionHost {
    fn record(&self, durable: Durable) -> Recording {
        let (stored, heard) = oneshot::channel();
        self.tell(Told::Durable(durable, stored));
        Box::pin(async move {
            heard.await.map_err(|_| AgentError::cancelled("the call has ended, so nothing can be recorded"))
        })
    }

    fn clean_up(&self, cleanup: Cleanup, by_force: bool) {
        const BY_FORCE: Duration = Duration::from_secs(2);

        let own = self.origin.plan.limits().cleanup;
        let limit = if by_force { BY_FORCE.min(own) } else { own };
        let Ok(runtime) = Handle::try_current() else {
            return tracing::warn!("a cleanup was not run, because the runtime is gone");
        };
        let within = async move {
            if tokio::time::timeout(limit, cleanup).await.is_err() {
                tracing::warn!(?limit, "a cleanup took too long and was dropped");
            }
        };
        // Whoever shuts the engine down waits for it.
        self.engine.drivers.spawn_on(within, &runtime);
    }

    fn remark(&self, remark: Remark) {
        let hidden = |error: &mut Option<Arc<Failure>>| {
            if let Some(error) = error {
                self.given_out.hide_in_failure(Arc::make_mut(error));
            }
        };
        self.tell(Told::Remark(match remark {
            Remark::Log(entry) => EventBody::LogEntry(Arc::new(entry)),
            Remark::Model(mut call) => {
                hidden(&mut call.error);
                EventBody::ModelCalled(Arc::new(call))
            }
            Remark::Tool(mut call) => {
                hidden(&mut call.error);
                // A model may ask for whatever it likes, and what it asks for is told.
                let mut name = call.tool.to_string();
                self.given_out.hide_in_text(&mut name);
                if *call.tool != *name {
                    call.tool = name.into();
                }
                EventBody::ToolCalled(Arc::new(call))
            }
            _ => return,
        }));
    }

    fn progress(&self, mut progress: Progress) {
        if self.engine.bus.has_subscribers() {
            self.given_out.hide_in_text(&mut progress.message);
            self.engine.bus.show(&self.origin, &progress);
        }
    }

    fn secret(&self, reference: &str, declared: &[String]) -> Result<SecretString, AgentError> {
        if let Err(denied) = self.engine.secrets.check(reference)
            && !self.engine.trusts(&self.origin.plan)
        {
            return Err(denied);
        }
        let lists = |listed: &[String]| listed.iter().any(|known| known == reference);
        if !self.origin.plan.secret_refs().any(|known| known == reference) {
            let message = format!("`{reference}` is not listed in the workflow's `context.secretRefs`");
            return Err(AgentError::denied(message));
        }
        if !declared.is_empty() && !lists(declared) {
            return Err(AgentError::denied(format!(
                "`{reference}` is not listed in the `secrets` of the agent's manifest"
            )));
        }
        let secret = self.engine.secrets.find(reference)?;
        self.given_out.insert(secret.expose());
        Ok(secret)
    }

    fn conceal(&self, secret: &SecretString) {
        self.given_out.insert(secret.expose());
    }

    fn hide(&self, value: &mut Value) {
        self.given_out.hide(value);
    }

    fn shows_content(&self) -> bool {
        self.engine.content_in_spans
    }

    fn is_watched(&self) -> bool {
        self.engine.bus.has_subscribers()
    }

    #[cfg(feature = "model")]
    fn models(&self) -> Option<&Models> {
        Some(&self.engine.models)
    }

    fn tools(&self) -> Option<&ToolAccess> {
        Some(&self.engine.tools)
    }
}

impl fmt::Debug for ExecutionHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutionHost").field("execution", &self.shared.execution_id()).finish_non_exhaustive()
    }
}

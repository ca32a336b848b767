//! Going on with an execution that stands still, for whatever reason.

use std::sync::Arc;

use orchestr8_schema::{
    ExecutionId,
    api::Rerun,
    event::{EventBody, Reopening},
    policy::Budget,
};
use tokio::sync::oneshot;

use super::{Engine, TakeUpError, driver::Beginning};
use crate::{
    execution::{ExecutionHandle, RequestError, Snapshot},
    machine::{self, Refusal, Status},
    store::StoreError,
};

/// An execution that goes on.
#[derive(Debug)]
#[non_exhaustive]
pub struct Resumed {
    /// The execution.
    pub handle: ExecutionHandle,
    /// What was known of it when it was asked to go on.
    pub before: Snapshot,
    /// Whether this engine has driven it all the while, as it does with one that is paused here: attempts in progress were never interrupted.
    pub was_driven: bool,
}

impl Resumed {
    /// Counts the steps that have completed and call, wait for or ask something, and lists those that begin again, as [`Snapshot::rerun`] does;
    /// where nothing was interrupted none does.
    #[must_use]
    pub fn rerun(&self) -> (u32, Vec<Rerun>) {
        let (reused, again) = self.before.rerun();
        (reused, if self.was_driven { Vec::new() } else { again })
    }
}

/// Why an execution does not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// It runs, and nothing keeps it.
    #[error("the execution is running")]
    Running,
    /// Its state forbids it; it is as it was.
    #[error(transparent)]
    Refused(Refusal),
    /// Only an execution that has failed may be given other limits.
    #[error("limits can be raised only where a failed execution goes on, and this one has not failed")]
    NotFailed,
    /// It could not be taken up.
    #[error(transparent)]
    TakeUp(#[from] TakeUpError),
}

impl From<StoreError> for ResumeError {
    fn from(error: StoreError) -> Self {
        Self::TakeUp(TakeUpError::Store(error))
    }
}

impl Engine {
    /// Goes on with an execution. A paused one continues; one that nobody drives is taken up, as [`recover`](Self::recover) does,
    /// and a pause of it ends; one that failed without undoing anything is reopened: what completed is kept, and exactly the rest
    /// runs again, with fresh attempts and a time limit that counts anew. What a reopened one has used of its budget stays used;
    /// `budget` may raise the limits.
    ///
    /// When this returns, that is in the journal.
    ///
    /// # Errors
    ///
    /// [`ResumeError`] if it runs, has completed, was cancelled, or has undone what it did: then it can only be forked. It is as it
    /// was.
    ///
    /// # Cancellation safety
    ///
    /// If the future is dropped the execution may go on or not.
    pub async fn resume(
        &self,
        id: ExecutionId,
        reason: Option<&str>,
        budget: Option<Budget>,
    ) -> Result<Resumed, ResumeError> {
        let before = self.snapshot(id).await?;
        let status = before.state().status();
        if status == Status::Failed {
            return self.reopen(id, before, budget).await;
        }
        if status.is_terminal() {
            return Err(ResumeError::Refused(Refusal::new(format!(
                "the execution has ended ({}): it can only be forked",
                before.status()
            ))));
        }
        if budget.is_some() {
            return Err(ResumeError::NotFailed);
        }
        let is_driven = self.shared.live().contains_key(&id);
        let handle = match is_driven {
            true if status == Status::Paused => self.execution(id).await?,
            true => return Err(ResumeError::Running),
            false => self.take_up(id).await?,
        };
        if status == Status::Paused {
            handle.resume(reason).await.map_err(|error| match error {
                RequestError::Refused(refusal) => ResumeError::Refused(refusal),
                other => ResumeError::Refused(Refusal::new(other.to_string())),
            })?;
        }
        Ok(Resumed { handle, before, was_driven: is_driven })
    }

    async fn reopen(&self, id: ExecutionId, before: Snapshot, budget: Option<Budget>) -> Result<Resumed, ResumeError> {
        if self.shared.drivers.is_closed() {
            return Err(TakeUpError::ShuttingDown.into());
        }
        let Some(queued) = before.state().queued().cloned() else { return Err(StoreError::NotFound(id).into()) };
        let program = self.program(&queued.workflow).map_err(TakeUpError::Plan)?;
        let mut reopening = Reopening::new(machine::rerun(&program.plan, before.state()));
        reopening.budget = budget;
        let reopening = Arc::new(reopening);
        let asked = EventBody::ExecutionReopened(Arc::clone(&reopening));
        machine::accept::accept(&program.plan, before.state(), &asked).map_err(ResumeError::Refused)?;

        // Whoever asks here at the same time finds it running.
        let expected = self.expect(&queued, before.events()[0].at, program).ok_or(ResumeError::Running)?;
        self.shared.begin_tenure().await?;
        let lease = match self.shared.store.reclaim(id, before.events().len() as u64, self.shared.holder.id).await {
            Ok(lease) => lease,
            Err(StoreError::Conflict(_)) => return Err(TakeUpError::Nothing.into()),
            Err(error) => return Err(error.into()),
        };
        let (answer, heard) = oneshot::channel();
        let handle = expected.drive(lease, before.clone(), Beginning::Reopen(reopening, answer));
        match heard.await {
            Ok(Ok(())) => Ok(Resumed { handle, before, was_driven: false }),
            Ok(Err(refusal)) => Err(ResumeError::Refused(refusal)),
            // Somebody else has gone on with it, or the engine stops.
            Err(_) => Err(TakeUpError::Nothing.into()),
        }
    }
}

impl ResumeError {
    /// Whether the limits that were asked for cannot be had, whatever the state.
    #[must_use]
    pub fn is_about_limits(&self) -> bool {
        match self {
            Self::NotFailed => true,
            Self::Refused(refusal) => refusal.kind == machine::RefusalKind::Invalid,
            Self::Running | Self::TakeUp(_) => false,
        }
    }
}

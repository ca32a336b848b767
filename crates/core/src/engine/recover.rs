//! Taking up executions whose driver is gone.

use futures_util::{StreamExt, stream};
use orchestr8_schema::ExecutionId;

use super::{Engine, tenure};
use crate::{
    execution::ExecutionHandle,
    plan::PlanError,
    store::{Holder, StoreError, Tenancy},
};

/// What came of looking for executions whose driver is gone.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// Those that go on here.
    pub taken_up: Vec<ExecutionHandle>,
    /// Those that cannot go on, and why. They stay as they are, and are tried again when somebody looks the next time.
    pub failed: Vec<(ExecutionId, TakeUpError)>,
}

/// Why an execution was not taken up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeUpError {
    /// Somebody drives it.
    #[error("process {} on {} drives it", .0.process, .0.host)]
    Held(Holder),
    /// It has ended, or somebody has just taken it up.
    #[error("there is nothing to take up")]
    Nothing,
    /// This engine cannot run its workflow.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine takes no more executions.
    #[error("the engine is shutting down")]
    ShuttingDown,
}

impl Engine {
    /// Tenancies that are read at a time.
    const PAGE: usize = 500;
    /// Executions that are taken up at the same time.
    const TOGETHER: usize = 64;

    /// Looks for executions that have not ended and that nobody drives, and goes on with them from their journals: what was committed is
    /// not run again, attempts that were interrupted begin again under the same idempotency key, timers keep their times.
    ///
    /// A lease is taken for free if it was released or is over, or if its process ran on this host and is gone. A program that
    /// serves calls this when it starts and every [`Holder::RENEWAL`] from then.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read. What is wrong with single executions stands in the answer.
    pub async fn recover(&self) -> Result<Recovery, StoreError> {
        self.shared.begin_tenure().await?;
        let mut recovery = Recovery::default();
        let mut after = None;
        loop {
            let page = self.shared.store.unfinished(after, Self::PAGE).await?;
            after = page.last().map(|last| last.execution_id);
            let is_last = page.len() < Self::PAGE;
            let free: Vec<_> = page.into_iter().filter(|tenancy| self.is_free(tenancy)).collect();
            let mut taken = stream::iter(free)
                .map(|tenancy| async move { (tenancy.execution_id, self.take_over(&tenancy).await) })
                .buffered(Self::TOGETHER);
            while let Some((id, result)) = taken.next().await {
                match result {
                    Ok(handle) => recovery.taken_up.push(handle),
                    Err(TakeUpError::Nothing | TakeUpError::ShuttingDown) => {}
                    Err(error) => recovery.failed.push((id, error)),
                }
            }
            if is_last {
                return Ok(recovery);
            }
        }
    }

    /// Goes on with one execution, as [`recover`](Self::recover) does with all.
    ///
    /// # Errors
    ///
    /// [`TakeUpError`]; the execution stays as it is.
    pub async fn take_up(&self, id: ExecutionId) -> Result<ExecutionHandle, TakeUpError> {
        self.take_over(&self.free(id).await?).await
    }

    /// Returns a handle by which an execution can be changed: if nobody drives it, it is taken up. The handle of one that has
    /// ended refuses everything.
    ///
    /// # Errors
    ///
    /// [`TakeUpError::Held`] if another process drives it, which alone can change it; and what else [`take_up`](Self::take_up) fails
    /// with.
    pub async fn reach(&self, id: ExecutionId) -> Result<ExecutionHandle, TakeUpError> {
        let is_live = self.shared.live().contains_key(&id);
        if is_live {
            return Ok(self.execution(id).await?);
        }
        match self.take_up(id).await {
            // It has ended, or somebody here was faster.
            Err(TakeUpError::Nothing) => Ok(self.execution(id).await?),
            Err(TakeUpError::Held(holder)) if holder.id == self.shared.holder.id => Ok(self.execution(id).await?),
            taken => taken,
        }
    }

    /// Finds who held the lease of an execution that has not ended and that nobody drives.
    pub(super) async fn free(&self, id: ExecutionId) -> Result<Tenancy, TakeUpError> {
        self.shared.begin_tenure().await?;
        let mut after = None;
        loop {
            let mut page = self.shared.store.unfinished(after, Self::PAGE).await?;
            if let Some(place) = page.iter().position(|tenancy| tenancy.execution_id == id) {
                let tenancy = page.swap_remove(place);
                return match &tenancy.holder {
                    Some(holder) if !self.is_free(&tenancy) => Err(TakeUpError::Held(holder.clone())),
                    _ => Ok(tenancy),
                };
            }
            match page.last() {
                Some(last) if page.len() == Self::PAGE && last.execution_id < id => after = Some(last.execution_id),
                _ => return Err(TakeUpError::Nothing),
            }
        }
    }

    fn is_free(&self, tenancy: &Tenancy) -> bool {
        if self.shared.live().contains_key(&tenancy.execution_id) {
            return false;
        }
        match &tenancy.holder {
            None => true,
            // Somebody here had claimed it, and was dropped before it could be driven.
            Some(holder) if holder.id == self.shared.holder.id => true,
            Some(holder) => tenancy.until <= self.shared.clock.now() || tenure::is_gone(holder),
        }
    }

    async fn take_over(&self, seen: &Tenancy) -> Result<ExecutionHandle, TakeUpError> {
        Ok(self.claim(seen).await?.drive())
    }
}

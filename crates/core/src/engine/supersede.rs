//! Forks that go on in the place of what they were made of.

use std::sync::Arc;

use orchestr8_schema::ExecutionId;

use super::{
    Engine, TakeUpError,
    fork::{ForkError, ForkRequest, Forked},
};
use crate::{
    execution::{CancelError, Cancellation, ExecutionHandle},
    store::StoreError,
};

/// Why an execution goes on itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SupersedeError {
    /// Somebody drives it, it has ended, or it cannot be read.
    #[error(transparent)]
    TakeUp(#[from] TakeUpError),
    /// There is no fork; the execution is as it was.
    #[error(transparent)]
    Fork(#[from] ForkError),
    /// The fork is there, and the execution has not been ended.
    #[error("ending {original}, in the place of which {fork} goes on")]
    Ending {
        /// The execution.
        original: ExecutionId,
        /// Its fork.
        fork: ExecutionId,
        /// Why not.
        source: CancelError,
    },
}

impl Engine {
    /// Forks an execution that nobody drives, and cancels it once the fork is stored, so that only one of them goes on.
    ///
    /// The execution is taken up first, so what it has come to is final. Nothing of it is called again: attempts that were interrupted
    /// are cancelled, and begin anew in the fork. What it did is not undone, since the fork builds on it; `onCancel` and
    /// `afterExecution` are called. Its journal names the fork, and the fork names it.
    ///
    /// # Errors
    ///
    /// [`SupersedeError`]. Without a fork the execution is as it was.
    ///
    /// # Cancellation safety
    ///
    /// If the future is dropped there may be a fork or not; if there is, the execution may have been cancelled or be left to whoever
    /// takes it up.
    pub async fn supersede(&self, id: ExecutionId, request: ForkRequest) -> Result<Forked, SupersedeError> {
        let claimed = self.claim(&self.free(id).await?).await?;
        let forked = match self.fork_of(&claimed.snapshot, request).await {
            Ok(forked) => forked,
            Err(error) => {
                // A lease that cannot be released ends by itself.
                let _ = self.shared.store.release(&claimed.lease).await;
                return Err(error.into());
            }
        };
        let fork = forked.submission.handle.id();
        // The request waits before the driver begins, which therefore meets it before it calls anybody.
        let handle = ExecutionHandle::new(self.clone(), Arc::clone(claimed.shared()));
        let cancelled = handle.ask_to_cancel(Cancellation::superseded_by(fork));
        claimed.drive();
        let ended = async {
            cancelled.await?;
            handle.outcome().await.map(drop).map_err(|lost| {
                CancelError::Store(StoreError::Medium {
                    attempted: "following an execution to its end",
                    source: lost.into(),
                })
            })
        };
        ended.await.map_err(|source| SupersedeError::Ending { original: id, fork, source })?;
        Ok(forked)
    }
}

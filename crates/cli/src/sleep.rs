//! Waiting on a thread that has nothing else to do.

use std::time::Duration;

use tokio::runtime::Builder;

use crate::Error;

/// Waits, outside of any runtime or on a thread of one that may block.
///
/// # Errors
///
/// When the operating system has no timer left.
pub(crate) fn sleep(time: Duration) -> Result<(), Error> {
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| Error::internal("starting the runtime").with_source(error))?;
    runtime.block_on(async { tokio::time::sleep(time).await });
    Ok(())
}

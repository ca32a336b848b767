//! Ending a server.

use std::time::Duration;

use super::process::{self, How};
use crate::{Error, sleep::sleep};

/// How often is looked whether a process has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Asks a process to end, and waits until it has.
///
/// # Errors
///
/// When it cannot be asked, or has not ended in time.
pub(crate) fn stop(pid: u32, how: How, limit: Duration) -> Result<(), Error> {
    process::end(pid, how).map_err(|error| {
        Error::unreachable(format!("the server (process {pid}) cannot be told to stop")).with_source(error)
    })?;
    let mut waited = Duration::ZERO;
    while process::is_alive(pid) {
        if waited > limit {
            let seconds = limit.as_secs();
            return Err(Error::unreachable(format!("the server (process {pid}) has not stopped within {seconds} s"))
                .with_hint("orchestr8 stop --force"));
        }
        sleep(LOOK)?;
        waited += LOOK;
    }
    Ok(())
}

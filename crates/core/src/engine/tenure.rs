//! Who this process is among those that may drive executions, how it keeps what it holds, and whether another one still lives.
//!
//! With a store that outlives the process, one task of the engine renews all leases every 10 seconds. The same task keeps what circuits
//! know, so that a restart does not call at once what was found to fail.

use std::{
    fs, process,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use orchestr8_agent_base::Clock;
use orchestr8_resilience::Snapshot;
use tokio::{
    sync::{Notify, OnceCell},
    task::AbortHandle,
    time::MissedTickBehavior,
};

use super::EngineShared;
use crate::store::{Holder, HolderId, StoreError};

/// Under which name the store keeps what circuits and buckets know.
const RESILIENCE: &str = "resilience";

/// What keeps the leases of an engine.
#[derive(Debug, Default)]
pub(super) struct Tenure {
    begun: OnceCell<()>,
    keeper: Mutex<Option<AbortHandle>>,
    /// Circuits have changed.
    changed: Arc<Notify>,
    /// What was kept last.
    kept: Mutex<String>,
}

impl Drop for Tenure {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Tenure {
    fn stop(&self) {
        if let Some(keeper) = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take() {
            keeper.abort();
        }
    }
}

impl EngineShared {
    /// Makes the leases of this engine last, from the first execution on, and learns what circuits knew before.
    pub(super) async fn begin_tenure(self: &Arc<Self>) -> Result<(), StoreError> {
        if !self.store.outlives_process() {
            return Ok(());
        }
        let begin = async || {
            self.renew().await?;
            if let Some(text) = self.store.kept(RESILIENCE).await? {
                match serde_json::from_str::<Snapshot>(&text) {
                    Ok(snapshot) => {
                        snapshot.restore(self.wall_time(), &self.registries.circuits, &self.registries.buckets);
                    }
                    Err(error) => tracing::warn!(%error, "reading what circuits knew"),
                }
            }
            let engine = Arc::downgrade(self);
            let changed = Arc::clone(&self.tenure.changed);
            let keeper = tokio::spawn(async move {
                let mut ticks = tokio::time::interval(Holder::RENEWAL);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                ticks.reset();
                loop {
                    let renews = tokio::select! {
                        _ = ticks.tick() => true,
                        () = changed.notified() => false,
                    };
                    let Some(engine) = engine.upgrade() else { return };
                    if renews && let Err(error) = engine.renew().await {
                        tracing::warn!(error = &error as &dyn std::error::Error, "renewing leases");
                    }
                    engine.keep_resilience().await;
                }
            });
            *self.tenure.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper.abort_handle());
            Ok(())
        };
        self.tenure.begun.get_or_try_init(begin).await.copied()
    }

    /// Renews no more.
    pub(super) async fn end_tenure(&self) {
        self.tenure.stop();
        if self.tenure.begun.initialized() {
            self.keep_resilience().await;
        }
    }

    /// Notes that a circuit has changed, which is kept soon.
    pub(crate) fn note_resilience(&self) {
        self.tenure.changed.notify_one();
    }

    async fn renew(&self) -> Result<(), StoreError> {
        self.store.renew(&self.holder, self.clock.now().plus(Holder::LEASE)).await
    }

    async fn keep_resilience(&self) {
        let snapshot = Snapshot::take(self.wall_time(), &self.registries.circuits, &self.registries.buckets);
        let Ok(text) = serde_json::to_string(&snapshot) else { return };
        {
            let mut kept = self.tenure.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if snapshot.is_empty() && kept.is_empty() || *kept == text {
                return;
            }
            kept.clone_from(&text);
        }
        if let Err(error) = self.store.keep(RESILIENCE, &text).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "keeping what circuits know");
        }
    }

    fn wall_time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.clock.now().as_unix_millis())
    }
}

/// Names an engine of this process.
pub(super) fn holder(clock: &dyn Clock) -> Holder {
    let process = process::id();
    Holder {
        // Stores keep it as a signed number.
        id: HolderId(clock.random() >> 1),
        host: host().into(),
        process,
        process_began: process_began(process).unwrap_or_default().into(),
    }
}

/// Whether the process of a holder is known to be gone: it ran on this host, which has no process of that number and beginning
/// any more. Where the host does not tell, only the end of the lease does.
pub(super) fn is_gone(holder: &Holder) -> bool {
    !holder.process_began.is_empty()
        && *holder.host == *host()
        && can_tell()
        && process_began(holder.process).as_deref() != Some(&*holder.process_began)
}

fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

fn can_tell() -> bool {
    process_began(process::id()).is_some()
}

/// When a process began: the boot of its host, and the clock ticks from then.
fn process_began(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The program's name, which may hold anything, stands in parentheses; behind them the 20th field is the time.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    // What has ended and waits for its parent to notice is gone, too.
    let state = fields.next().filter(|state| !matches!(*state, "Z" | "X"))?;
    debug_assert_eq!(state.len(), 1);
    let ticks = fields.nth(18)?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(format!("{}:{ticks}", boot.trim()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};

    use super::{holder, is_gone, process_began};
    use crate::clock::SystemClock;

    #[test]
    fn a_process_that_was_killed_is_gone_and_this_one_is_not() {
        let this = holder(&SystemClock::new());
        assert!(!is_gone(&this));

        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("it starts");
        let mut other = this.clone();
        other.process = child.id();
        other.process_began = process_began(child.id()).expect("it runs").into();
        assert!(!is_gone(&other));
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        assert!(is_gone(&other));

        let mut successor = this;
        successor.process_began = "an earlier process of this number".into();
        assert!(is_gone(&successor));
        let mut elsewhere = successor;
        elsewhere.host = "another-host".into();
        assert!(!is_gone(&elsewhere), "nobody can tell from here");
    }
}

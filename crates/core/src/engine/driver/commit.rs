//! The end of a turn: the batch is stored, published, and carried out.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use orchestr8_schema::{Timestamp, event::Event};
use tokio::time::Instant;

use super::{Answer, Driver};
#[cfg(planted)]
use crate::planted::Defect;
use crate::{
    execution::Lost,
    machine::{Command, Status},
    store::StoreError,
    telemetry,
};

impl Driver {
    /// Stores the batch, publishes it, and carries out what it asks for. True if the execution has ended.
    pub(super) async fn store_and_carry_out(&mut self) -> Result<bool, Lost> {
        self.begin_calls();
        #[cfg(planted)]
        if Defect::ActsBeforeStoring.is_made()
            && let Some(first) = self.batch.first()
        {
            let at = first.at;
            for key in self.starting.drain(..) {
                self.calls[key].state.grant_start(at);
                self.runnable.push_back(key);
            }
            std::future::poll_fn(|cx| std::task::Poll::Ready(self.poll_runnable(cx))).await;
        }
        let ended = if self.batch.is_empty() {
            false
        } else {
            let (at, count) = (self.batch[0].at, self.batch.len());
            let is_heard = self.engine.bus.has_subscribers() || self.engine.metrics.is_some();
            let heard = if is_heard { self.batch.clone() } else { Vec::new() };
            let appends = self.engine.metrics.as_ref().map(|_| Instant::now());
            self.append().await?;
            self.batch.clear();
            if let (Some(metrics), Some(start)) = (&self.engine.metrics, appends) {
                metrics.appended(start.elapsed());
                metrics.count(&heard, &self.program.plan, &self.state, &self.program.meters);
            }
            self.publish(heard).await;
            self.stored += count as u64;
            self.at = None;
            self.carry_out(at)
        };
        for stored in self.recorded.drain(..) {
            // Whoever waited may have been dropped.
            let _ = stored.send(());
        }
        for Answer { to, result } in self.answers.drain(..) {
            // Whoever asked may have gone.
            let _ = to.send(result);
        }
        Ok(ended)
    }

    /// Appends the batch. A store that fails for a while (a full disk) holds the execution up and loses nothing.
    async fn append(&mut self) -> Result<(), Lost> {
        let mut delay = Duration::from_millis(100);
        #[cfg(planted)]
        crate::planted::stored(&mut self.batch);
        loop {
            let appended = self.engine.store.append(&self.lease, self.stored, &mut self.batch).await;
            // A conflict tells of this execution alone, and that the store works.
            self.engine.append_fails.store(appended.as_ref().is_err_and(StoreError::is_passing), Relaxed);
            match appended {
                Ok(()) => return Ok(()),
                #[cfg(planted)]
                Err(StoreError::Conflict(_)) if Defect::ConflictIgnored.is_made() => return Ok(()),
                #[cfg(planted)]
                Err(_) if Defect::RefusalIgnored.is_made() => return Ok(()),
                Err(error @ (StoreError::Conflict(_) | StoreError::NotFound(_))) => return Err(Lost::store(error)),
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        ?delay,
                        "appending to the journal; trying again"
                    );
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(Duration::from_secs(10));
                }
            }
        }
    }

    /// Publishes what was just stored: events that were kept for those who listened before, else what the store gives to those
    /// who came meanwhile.
    async fn publish(&mut self, mut heard: Vec<Event>) {
        if heard.is_empty() && self.engine.bus.has_subscribers() {
            match self.engine.store.load(self.lease.execution_id, self.stored).await {
                Ok(events) => heard = events,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "reading what new subscribers missed");
                }
            }
        }
        self.engine.bus.publish(&self.origin, self.stored + 1, &heard);
    }

    /// Begins what the batch of this time opened. True if the execution has ended.
    fn carry_out(&mut self, at: Timestamp) -> bool {
        let mut ended = false;
        // The buffers are lent out and put back, so that their memory is used again.
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Command::AbortCall { call, force, .. } => self.abort(call, force),
                Command::SetTimer { timer, due_at } => self.timers.set(timer, due_at),
                Command::ClearTimer { timer } => self.timers.clear(timer),
                Command::Finish(status) => {
                    ended = true;
                    self.finished(status);
                }
                // Whoever is to answer reads of it in the journal.
                Command::RequestApproval { .. } | Command::WithdrawApproval { .. } => {}
                Command::Call(_) | Command::Record(_) | Command::Refuse(_) => {}
            }
        }
        self.effects = effects;
        for key in self.starting.drain(..) {
            if let Some(entry) = self.calls.get(key).filter(|entry| entry.in_attempt) {
                entry.state.grant_start(at);
                self.runnable.push_back(key);
            }
        }
        ended
    }

    fn finished(&self, status: Status) {
        let span = &self.span;
        let error = self.state.error().map(|error| error.code);
        match status {
            Status::Completed => telemetry::record_end(span, "completed", None),
            Status::Cancelled => telemetry::record_end(span, "cancelled", None),
            _ => telemetry::record_end(span, "failed", error),
        }
        tracing::info!(?status, "the execution has ended");
    }
}

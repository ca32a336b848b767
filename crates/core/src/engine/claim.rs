//! Executions on the way from the store to their driver.

use std::sync::Arc;

use orchestr8_agent_base::context::ExecutionIdentity;
use orchestr8_schema::{
    Timestamp,
    event::{Event, EventBody, Queued},
};
use tracing::Span;

use super::{
    Announced, Engine, EngineShared, Program,
    driver::{Beginning, Driver, drive},
    recover::TakeUpError,
};
use crate::{
    execution::{ExecutionHandle, Shared, Snapshot},
    store::{Lease, StoreError, Tenancy},
    telemetry,
};

/// An execution that can be found here, and that nobody drives yet. It is forgotten again unless somebody comes to.
pub(super) struct Expected<'a> {
    engine: &'a Engine,
    announced: Announced<'a>,
    shared: Arc<Shared>,
    program: Arc<Program>,
    span: Span,
}

/// An execution whose lease is ours.
pub(super) struct Claimed<'a> {
    expected: Expected<'a>,
    pub(super) lease: Lease,
    pub(super) snapshot: Snapshot,
}

impl Engine {
    /// Expects an execution that was asked for at this time, so that whoever looks here finds it taken. Absent if it is taken.
    pub(super) fn expect(&self, queued: &Queued, began: Timestamp, program: Arc<Program>) -> Option<Expected<'_>> {
        let id = queued.execution_id;
        let identity = ExecutionIdentity::new(id, queued.workflow.id(), queued.correlation_id.clone(), began);
        let span = telemetry::execution_span(&identity);
        let shared = Arc::new(Shared::new(Arc::new(identity), Arc::clone(&program.plan), self.shared.clock.random()));
        let announced = Announced::new(&self.shared, &shared)?;
        Some(Expected { engine: self, announced, shared, program, span })
    }

    /// Takes the lease of an execution that has not ended, and reads how far it has come.
    pub(super) async fn claim(&self, seen: &Tenancy) -> Result<Claimed<'_>, TakeUpError> {
        if self.shared.drivers.is_closed() {
            return Err(TakeUpError::ShuttingDown);
        }
        let id = seen.execution_id;
        // What cannot be read or run is not claimed, so that somebody who can may have it.
        let events = self.shared.store.load(id, 0).await?;
        let Some(EventBody::ExecutionQueued(queued)) = events.first().map(|event| &event.body) else {
            return Err(StoreError::NotFound(id).into());
        };
        let program = self.program(&queued.workflow)?;
        let plan = Arc::clone(&program.plan);
        let expected = self.expect(queued, events[0].at, program).ok_or(TakeUpError::Nothing)?;
        let lease = match self.shared.store.claim(seen, self.shared.holder.id).await {
            Ok(lease) => lease,
            Err(StoreError::Conflict(_)) => return Err(TakeUpError::Nothing),
            Err(error) => return Err(error.into()),
        };
        // Its driver may have gone on until the claim; from then on the journal is ours.
        let known = events.len() as u64;
        let mut snapshot = Snapshot::replay(plan, events);
        snapshot.go_on(self.shared.store.load(id, known).await?);
        if snapshot.state().status().is_terminal() {
            return Err(TakeUpError::Nothing);
        }
        Ok(Claimed { expected, lease, snapshot })
    }
}

impl Expected<'_> {
    /// Has an execution driven from where it has come to.
    pub(super) fn drive(self, lease: Lease, from: Snapshot, beginning: Beginning) -> ExecutionHandle {
        self.by(|engine, shared, program, span| {
            Driver::of(engine, shared, program, lease, span, from.into_reached(), beginning)
        })
    }

    /// Has an execution driven whose first event has just been stored.
    pub(super) fn start(self, lease: Lease, first: &Event) -> ExecutionHandle {
        self.by(|engine, shared, program, span| Driver::new(engine, shared, program, lease, span, first))
    }

    fn by(self, make: impl FnOnce(Arc<EngineShared>, Arc<Shared>, Arc<Program>, Span) -> Driver) -> ExecutionHandle {
        let Self { engine, announced, shared, program, span } = self;
        announced.keep();
        let driver = make(Arc::clone(&engine.shared), Arc::clone(&shared), program, span);
        engine.shared.drivers.spawn(drive(driver));
        ExecutionHandle::new(engine.clone(), shared)
    }
}

impl Claimed<'_> {
    /// Has it driven from where its last driver has stopped.
    pub(super) fn drive(self) -> ExecutionHandle {
        self.expected.drive(self.lease, self.snapshot, Beginning::Recover)
    }

    /// A handle of it, for requests that are to be met before anything else.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.expected.shared
    }
}

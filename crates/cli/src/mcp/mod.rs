//! What the program offers to others over the Model Context Protocol: the workflows of its catalogue as tools, and executions of them as
//! resources.
//!
//! An [`Offer`] stands on an engine and a catalogue and adds nothing of its own: no retries, no state, no decisions. `orchestr8 mcp serve`
//! speaks it over standard input and output ([`stdio`]), the server at `POST /mcp`. Both speak revision 2026-07-28, without a handshake,
//! and 2025-11-25 and 2025-06-18, with one; rmcp knows which, request by request.
//!
//! Every tool answers with an [`Envelope`](orchestr8_schema::api::Envelope). Approvals are not offered: a model must not answer its own
//! gate.

mod arguments;
mod call;
mod handler;
mod prompts;
mod resources;
pub(crate) mod stdio;
mod tools;
mod updates;

use std::sync::Arc;

use orchestr8_core::Engine;
use orchestr8_schema::CorrelationId;
use rmcp::ErrorData;
use tokio::sync::Semaphore;

pub(crate) use self::handler::Handler;
use crate::{
    catalogue::{Catalogue, Listing},
    data::DataDir,
};

/// What is offered to others. Clones are the same offer.
#[derive(Clone, Debug)]
pub(crate) struct Offer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Engine,
    catalogue: Catalogue,
    exposes_workflows: bool,
    calls: Semaphore,
    /// Where the server is found that drives what this process does not.
    data: Option<DataDir>,
}

impl Offer {
    /// Tools that are called at the same time; more are refused.
    const CALLS: u32 = 64;

    /// Offers what there is in a catalogue; each workflow as a tool of its own, too, if that is wanted. With a data directory its server is asked to
    /// cancel what it drives and this process does not.
    pub(crate) fn new(engine: Engine, catalogue: Catalogue, exposes_workflows: bool, data: Option<DataDir>) -> Self {
        let calls = Semaphore::new(Self::CALLS as usize);
        Self(Arc::new(Inner { engine, catalogue, exposes_workflows, calls, data }))
    }

    fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Looks at the catalogue, which reads the disk.
    async fn look(&self) -> Result<Arc<Listing>, ErrorData> {
        let catalogue = self.0.catalogue.clone();
        let looked = tokio::task::spawn_blocking(move || catalogue.look()).await;
        looked.map_err(|error| defect("looking at the catalogue", &error))
    }

    /// Makes a correlation id for who gives none.
    fn correlation_id(&self) -> CorrelationId {
        let id = orchestr8_core::clock::correlation_id(&**self.0.engine.clock());
        // Letters, digits and hyphens, and far from too long.
        format!("o8-{id}").parse().unwrap_or(id)
    }
}

/// Refuses for a cause that only the log learns.
fn defect(attempted: &'static str, cause: &(dyn std::error::Error + 'static)) -> ErrorData {
    tracing::error!(error = cause, "{attempted}");
    ErrorData::internal_error("the cause is in the log", None)
}

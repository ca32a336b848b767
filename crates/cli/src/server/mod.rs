//! The REST server: executions over HTTP, for programs of the same machine.
//!
//! [`router`] gives an [`axum::Router`] of any engine, with every rule of security that does not need the listener: who may ask
//! (`Host`, `Origin`, token), how much may be sent, and what every answer carries. Mount it, or let [`serve`] listen:
//!
//! ```
//! use orchestr8_cli::server;
//! use orchestr8_core::{Engine, agent_base::HelloWorld};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::builder().agent(HelloWorld).build()?;
//! let router: axum::Router = server::router(engine);
//! # Ok(())
//! # }
//! ```
//!
//! | method and path | purpose |
//! |---|---|
//! | `POST /v1/workflows/execute`, `POST /execute` | starts an execution |
//! | `POST /v1/workflows/validate` | checks a workflow without starting it |
//! | `GET /v1/executions/{id}`, `GET /status/{id}` | status, progress, outputs |
//! | `GET /v1/executions/{id}/journal` | the journal |
//! | `POST /v1/executions/{id}/cancel` | asks for the end |
//! | `GET /health`, `GET /ready` | whether the process lives, whether it takes executions |
//!
//! All routes but the last row are served without `/v1` too. Handlers are thin: extract, call the engine, map to a body of
//! [`orchestr8_schema::api`]. Every status of 400 or more is a problem of RFC 9457, made in one place.

mod access;
mod body;
mod cancel;
mod etag;
mod exchange;
mod execute;
mod executions;
mod graph;
mod health;
mod journal;
mod prefer;
mod problem;
mod query;
mod request;
mod serve;
mod validate;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router, middleware,
    routing::{get, post},
};
use orchestr8_core::Engine;
use orchestr8_schema::Timestamp;

pub use self::{
    access::{Access, InvalidToken, Token},
    serve::{Ended, serve},
};

/// Serves an engine to programs of the same machine: `Host` must name it, and there is no token.
pub fn router(engine: Engine) -> Router {
    Service::new(engine, Access::local()).router()
}

/// An engine as it is served: with who may ask, and whether it still takes executions. Clones are the same service.
#[derive(Clone, Debug)]
pub struct Service(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Engine,
    access: Access,
    started_at: Timestamp,
    draining: AtomicBool,
}

impl Service {
    /// Serves an engine to those who have access.
    #[must_use]
    pub fn new(engine: Engine, access: Access) -> Self {
        let started_at = engine.clock().now();
        Self(Arc::new(Inner { engine, access, started_at, draining: AtomicBool::new(false) }))
    }

    /// Makes the router, to be mounted at the root.
    pub fn router(&self) -> Router {
        let api = Router::new()
            .route("/workflows/execute", post(execute::execute))
            .route("/workflows/validate", post(validate::validate))
            .route("/executions/{id}", get(executions::read))
            .route("/executions/{id}/graph", get(graph::read))
            .route("/executions/{id}/journal", get(journal::read))
            .route("/executions/{id}/cancel", post(cancel::cancel));
        Router::new()
            .nest("/v1", api.clone())
            .merge(api)
            .route("/execute", post(execute::execute))
            .route("/status/{id}", get(executions::read))
            .route("/health", get(health::health))
            .route("/ready", get(health::ready))
            .fallback(problem::no_such_route)
            // Outermost last: whatever is refused or fails inside is still answered in full.
            .layer(middleware::from_fn_with_state(self.clone(), access::check))
            .layer(middleware::from_fn_with_state(self.clone(), exchange::answer))
            .with_state(self.clone())
    }

    /// Takes no more executions from now on; everything else is still answered.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    fn engine(&self) -> &Engine {
        &self.0.engine
    }

    fn access(&self) -> &Access {
        &self.0.access
    }

    fn now(&self) -> Timestamp {
        self.0.engine.clock().now()
    }

    fn started_at(&self) -> Timestamp {
        self.0.started_at
    }
}

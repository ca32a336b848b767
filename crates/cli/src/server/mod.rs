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
//! | `GET /v1/workflows`, `/v1/workflows/{id}` | the catalogue |
//! | `GET /v1/executions` | executions, newest first |
//! | `GET /v1/executions/{id}`, `GET /status/{id}` | status, progress, outputs |
//! | `GET /v1/executions/{id}/steps`, `…/steps/{stepPath}`, `…/steps/{stepPath}/why` | its steps; one in full; why it is as it is |
//! | `GET /v1/executions/{id}/workflow`, `…/graph` | the definition as it is executed; its graph |
//! | `GET /v1/executions/{id}/journal` | the journal |
//! | `GET /v1/executions/{id}/events` | the journal as it grows (server-sent events) |
//! | `GET /v1/events` | what happens in all executions, in one order (server-sent events) |
//! | `POST /v1/executions/{id}/cancel`, `…/pause`, `…/resume` | asks for the end, for a pause, to go on |
//! | `POST /v1/executions/{id}/fork` | starts a new execution from a checkpoint |
//! | `POST /v1/executions/{id}/signals/{name}` | tells it something |
//! | `GET /v1/approvals`, `POST /v1/executions/{id}/approvals/{stepPath}` | what waits for people; their answers |
//! | `GET /v1/agents`, `/v1/agents/{scope}/{name}` | manifests |
//! | `GET /v1/schemas/{name}.json`, `GET /v1/openapi.json` | published schemas; all of this as an OpenAPI document |
//! | `GET /v1/stats` | what was counted, for people |
//! | `GET /health`, `GET /ready` | whether the process lives, whether it takes executions |
//! | `GET /metrics` | what was counted, for Prometheus; of executions and steps if the engine [counts](orchestr8_core::EngineBuilder::metrics) |
//! | `POST /mcp` | the workflows as tools of the Model Context Protocol, if they are [offered](Service::mcp) |
//!
//! All routes but the last three rows are served without `/v1` too. Handlers are thin: extract, call the engine, map to a body of
//! [`orchestr8_schema::api`]. Every status of 400 or more is a problem of RFC 9457, made in one place.

mod access;
mod approvals;
mod body;
mod bundle;
mod cancel;
mod control;
mod cursor;
mod dashboard;
mod etag;
mod events;
mod exchange;
mod execute;
mod executions;
mod feed;
mod fork;
mod graph;
mod health;
mod journal;
mod known;
mod list;
mod mcp;
pub(crate) mod metrics;
mod openapi;
mod operation;
mod prefer;
mod problem;
mod query;
mod request;
mod routes;
mod serve;
mod stats;
mod steps;
mod validate;
mod workflow;
mod workflows;

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, middleware};
use orchestr8_core::{Engine, bus::Bus};
use orchestr8_schema::{Timestamp, config::Theme};
use tokio_util::sync::CancellationToken;

pub use self::{
    access::{Access, InvalidToken, Token},
    openapi::document as openapi,
    serve::{Ended, serve},
};
use self::{
    feed::Feed,
    metrics::Traffic,
    problem::{ProblemCode, Rejection},
};
use crate::catalogue::Catalogue;

/// Serves an engine to programs of the same machine: `Host` must name it, and there is no token.
pub fn router(engine: Engine) -> Router {
    Service::new(engine, Access::local()).router()
}

/// How those who listen keep up.
#[derive(Clone, Copy, Debug)]
struct Listening {
    /// Events that wait in the longest queue.
    queued: usize,
    /// The most that ever waited in one.
    high_water: usize,
    /// Events that were dropped, over all who listen.
    dropped: u64,
    /// The share of events that were dropped in the last minute, 0 to 1.
    recently_dropped: f64,
}

/// An engine as it is served: with who may ask, and whether it still takes executions. Clones are the same service.
#[derive(Clone, Debug)]
pub struct Service(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Engine,
    access: Access,
    started_at: Timestamp,
    draining: CancellationToken,
    traffic: Traffic,
    /// Streams of events that are open.
    streams: AtomicUsize,
    feed: Mutex<Weak<Feed>>,
    /// The most messages that ever waited in the feed.
    feed_high_water: AtomicUsize,
    theme: Theme,
    catalogue: Catalogue,
    /// Absent if nothing is offered to other programs.
    mcp: Option<mcp::Endpoint>,
}

impl Service {
    /// Serves an engine to those who have access.
    #[must_use]
    pub fn new(engine: Engine, access: Access) -> Self {
        let started_at = engine.clock().now();
        let draining = CancellationToken::new();
        let (traffic, streams) = (Traffic::default(), AtomicUsize::new(0));
        let (feed, theme, catalogue) = (Mutex::default(), Theme::Auto, Catalogue::default());
        Self(Arc::new(Inner {
            engine,
            access,
            started_at,
            draining,
            traffic,
            streams,
            feed,
            feed_high_water: AtomicUsize::new(0),
            theme,
            catalogue,
            mcp: None,
        }))
    }

    /// Has the dashboard begin in these colours, which its reader may change; by default in those of the reader's system.
    #[must_use]
    pub fn theme(mut self, theme: Theme) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.theme = theme;
        }
        self
    }

    /// Offers these workflows by their ids; by default there are none.
    #[must_use]
    pub fn workflows(mut self, catalogue: Catalogue) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.catalogue = catalogue;
        }
        self
    }

    /// Offers the workflows to other programs at `POST /mcp`, each as a tool of its own, too, if that is wanted; by default it does not. To be
    /// said after [`workflows`](Self::workflows).
    #[must_use]
    pub fn mcp(mut self, exposes_workflows: bool) -> Self {
        let endpoint = self.mcp_endpoint(exposes_workflows);
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.mcp = Some(endpoint);
        }
        self
    }

    /// Makes the router, to be mounted at the root.
    pub fn router(&self) -> Router {
        let mut router = Router::new();
        for operation in routes::operations() {
            for alias in &operation.aliases {
                router = router.route(alias, operation.handler.clone());
            }
            router = router.route(operation.path, operation.handler);
        }
        router
            .fallback(problem::no_such_route)
            // Outermost last: whatever is refused or fails inside is still answered in full.
            .layer(middleware::from_fn_with_state(self.clone(), access::check))
            .layer(middleware::from_fn_with_state(self.clone(), exchange::answer))
            .with_state(self.clone())
    }

    /// Takes no more executions from now on and ends the streams of events; everything else is still answered.
    pub fn drain(&self) {
        self.0.draining.cancel();
    }

    fn is_draining(&self) -> bool {
        self.0.draining.is_cancelled()
    }

    /// Waits until no more executions are taken.
    async fn drained(&self) {
        self.0.draining.cancelled().await;
    }

    fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.0.catalogue
    }

    /// Lists what engine and server have counted.
    #[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "only an export reads it from outside"))]
    pub(crate) fn numbers(&self) -> Vec<metrics::Family> {
        metrics::families(self)
    }

    fn traffic(&self) -> &Traffic {
        &self.0.traffic
    }

    /// Takes one of the [`Bus::SUBSCRIBERS`] places for streams of events until what this returns is dropped.
    fn open_stream(&self) -> Result<impl Drop + use<>, Rejection> {
        struct Open(Arc<Inner>);

        impl Drop for Open {
            fn drop(&mut self) {
                self.0.streams.fetch_sub(1, Ordering::Relaxed);
            }
        }

        let open = |streams| (streams < Bus::SUBSCRIBERS).then_some(streams + 1);
        match self.0.streams.fetch_update(Ordering::Relaxed, Ordering::Relaxed, open) {
            Ok(_) => Ok(Open(Arc::clone(&self.0))),
            Err(streams) => {
                let detail = format!("there are {streams} streams already; close one or ask again later");
                Err(Rejection::new(ProblemCode::ResourceExhausted, detail).retry_after(5))
            }
        }
    }

    /// Joins those who are told of all executions, from this position on.
    fn feed(&self, position: u64) -> Arc<Feed> {
        Feed::join(&self.0.feed, self, position)
    }

    /// Counts events that the feed has handed to those who listen, so many of which wait there now.
    fn feed_told(&self, count: u64, depth: usize) {
        self.0.feed_high_water.fetch_max(depth, Ordering::Relaxed);
        self.engine().bus().count_handed_on(self.now(), count, 0);
    }

    /// Counts events that one of those who listen to the feed has lost.
    fn feed_lost(&self, count: u64) {
        self.engine().bus().count_handed_on(self.now(), 0, count);
    }

    /// Tells how those who listen keep up: to one execution, as the bus knows, and to all of them by the feed.
    fn listening(&self) -> Listening {
        let bus = self.engine().bus().metrics(self.now());
        let feed = self.0.feed.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        Listening {
            queued: bus.depth.max(feed.map_or(0, |feed| feed.depth())),
            high_water: bus.high_water.max(self.0.feed_high_water.load(Ordering::Relaxed)),
            dropped: bus.dropped,
            recently_dropped: bus.recently_dropped,
        }
    }

    fn streams(&self) -> usize {
        self.0.streams.load(Ordering::Relaxed)
    }

    fn access(&self) -> &Access {
        &self.0.access
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.engine.clock().now()
    }

    /// Since when it counts.
    pub(crate) fn started_at(&self) -> Timestamp {
        self.0.started_at
    }
}

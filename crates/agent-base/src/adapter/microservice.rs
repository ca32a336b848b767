//! An agent behind HTTP.

use std::{collections::BTreeSet, fmt, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use orchestr8_schema::{ErrorKind, Timestamp};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::outside::{Ids, Outside};
use crate::{AgentError, AgentRegistry, Callee, Clock, Secrets, registry::RegisteredAgent};

/// An agent as a service over HTTP.
///
/// | request | answer |
/// |---|---|
/// | `POST /process`, the input as JSON | 200 `{success: true, data, output}`, where `output` equals `data` |
/// | | `{success: false, error, code}`: 400 for VALIDATION, 429 for RATE_LIMITED with `Retry-After`, 504 for TIMEOUT, else 500 |
/// | `GET /health` | 200 `{status: "healthy", agent, version, manifest}` |
///
/// `X-Execution-Id`, `X-Correlation-Id` and `Idempotency-Key` are taken or made, and the first two are sent back; `X-Deadline` (RFC
/// 3339) limits the call. One request is one call of the agent, with the input unchanged; when its connection is dropped the call is
/// cancelled. Requests for another host than this machine's own are refused, as are those that a page of another origin makes, unless
/// [`host`](Self::host) names it.
///
/// ```
/// use std::sync::Arc;
/// use orchestr8_agent_base::{AgentRegistry, Clock, HelloWorld, adapter::Microservice};
///
/// # fn serve(clock: Arc<dyn Clock>) -> Result<(), Box<dyn std::error::Error>> {
/// let mut registry = AgentRegistry::new();
/// registry.register(HelloWorld)?;
/// let agent = registry.latest(&"@orchestr8/hello-world".parse()?).expect("it was just registered");
/// let router: axum::Router = Microservice::new(Arc::clone(agent), clock).into_router();
/// # drop(router);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct Microservice {
    outside: Outside,
    hosts: BTreeSet<String>,
}

impl Microservice {
    /// The port that it is expected at on this machine.
    pub const PORT: u16 = 3001;

    /// Puts an agent behind HTTP, with the configuration of its registration.
    pub fn new(agent: Arc<RegisteredAgent>, clock: Arc<dyn Clock>) -> Self {
        let hosts = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into();
        Self { outside: Outside::new(agent, clock), hosts }
    }

    /// Accepts requests for this host, too: a name without port.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.insert(name.into().to_ascii_lowercase());
        self
    }

    /// Configures the agent.
    ///
    /// # Errors
    ///
    /// VALIDATION if its schema does not take that.
    pub fn config(mut self, config: &Map<String, Value>) -> Result<Self, AgentError> {
        self.outside.configure(config)?;
        Ok(self)
    }

    /// Lets the agent ask the models and call the tools of a registry; default none.
    pub fn serve(mut self, registry: &AgentRegistry) -> Self {
        self.outside.serve(registry);
        self
    }

    /// Sets where the agent's secrets come from; default nowhere.
    pub fn secrets(mut self, secrets: Secrets) -> Self {
        self.outside.secrets = secrets;
        self
    }

    /// Makes the router.
    pub fn into_router(self) -> Router {
        let service = Arc::new(self);
        let moved = |path: &'static str| {
            any(move || async move {
                let error = format!("there is nothing here: the path is {path}");
                (StatusCode::NOT_FOUND, Json(json!({ "success": false, "error": error, "code": "NOT_FOUND" })))
            })
        };
        Router::new()
            .route("/process", post(process))
            .route("/health", get(health))
            .route("/agent/process", moved("/process"))
            .route("/agent/health", moved("/health"))
            .layer(DefaultBodyLimit::max(Callee::MAX_OUTPUT))
            .layer(middleware::from_fn_with_state(Arc::clone(&service), only_known_hosts))
            .with_state(service)
    }

    async fn call(&self, headers: &HeaderMap, ids: Ids, body: &[u8]) -> Result<Value, AgentError> {
        let input: Value = serde_json::from_slice(body)
            .map_err(|source| AgentError::validation("the body is no JSON document").with_source(source))?;
        let deadline = text(headers, "x-deadline").and_then(|text| text.parse::<Timestamp>().ok());
        let cancel = CancellationToken::new();
        // Fires when the connection is gone, since this future is then dropped.
        let _guard = cancel.clone().drop_guard();
        self.outside.call(input, ids, text(headers, "idempotency-key"), deadline, cancel).await
    }
}

async fn process(State(service): State<Arc<Microservice>>, headers: HeaderMap, body: Bytes) -> Response {
    let execution = text(&headers, "x-execution-id").and_then(|text| text.parse().ok());
    let correlation = text(&headers, "x-correlation-id").and_then(|text| text.parse().ok());
    let ids = service.outside.ids(execution, correlation);
    let sent_back =
        [("x-execution-id", ids.execution.to_string()), ("x-correlation-id", ids.correlation.as_str().to_owned())];
    let mut response = match service.call(&headers, ids, &body).await {
        Ok(output) => Json(json!({ "success": true, "data": output, "output": output })).into_response(),
        Err(error) => failed(&error),
    };
    for (name, value) in sent_back {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn failed(error: &AgentError) -> Response {
    let status = match error.kind() {
        ErrorKind::Validation => StatusCode::BAD_REQUEST,
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let body = json!({ "success": false, "error": error.to_string(), "code": error.kind().code() });
    let mut response = (status, Json(body)).into_response();
    if let Some(delay) = error.retry_after() {
        // Never earlier than asked for.
        let seconds = delay.as_millis().div_ceil(1000);
        response.headers_mut().insert(header::RETRY_AFTER, seconds.to_string().parse().expect("digits"));
    }
    response
}

async fn health(State(service): State<Arc<Microservice>>) -> Json<Value> {
    let manifest = service.outside.agent.manifest();
    Json(json!({ "status": "healthy", "agent": manifest.id, "version": manifest.version, "manifest": manifest }))
}

/// Keeps out whom a name service or a page has led here.
async fn only_known_hosts(State(service): State<Arc<Microservice>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_known = |authority: &str| service.hosts.contains(&without_port(authority).to_ascii_lowercase());
    let host = text(headers, "host").or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    let is_own_page = origin.is_none_or(|origin| origin.split_once("://").is_some_and(|(_, host)| is_known(host)));
    if host.is_some_and(is_known) && is_own_page {
        return next.run(request).await;
    }
    let body = json!({ "success": false, "error": "the request is for another host, or from another origin", "code": "DENIED" });
    (StatusCode::FORBIDDEN, Json(body)).into_response()
}

fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => &authority[..colon],
        _ => authority,
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

impl fmt::Debug for Microservice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Microservice").field("agent", &self.outside.agent.manifest().id).finish_non_exhaustive()
    }
}

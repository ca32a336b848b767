//! What every request and every answer has: a correlation id, a span, the headers of security, a line in the log, and, where
//! something is wrong, the body of the problem.

use std::panic::AssertUnwindSafe;

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use orchestr8_core::clock;
use orchestr8_schema::CorrelationId;
use tokio::time::Instant;
use tracing::{Instrument as _, Span, field::Empty};

use super::{
    Service,
    mcp::Spoken,
    problem::{Pending, ProblemCode, Rejection},
};
use crate::telemetry;

const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
const ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");

const SECURITY: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'none'",
        ),
    ),
];

/// The correlation id of a request, as it came or as it was made.
#[derive(Clone, Debug)]
pub(super) struct Correlation(pub(super) CorrelationId);

/// Answers a request in full, whatever happens inside.
pub(super) async fn answer(State(service): State<Service>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let correlation_id = correlation_id(&service, request.headers());
    request.extensions_mut().insert(Correlation(correlation_id.clone()));
    let path = request.uri().path().to_owned();
    let (method, route) = (request.method().clone(), route(&request).to_owned());
    let span = span(&request, &correlation_id);

    let inside = AssertUnwindSafe(next.run(request)).catch_unwind();
    let response = inside.instrument(span.clone()).await.unwrap_or_else(|_| {
        tracing::error!(parent: &span, "a handler panicked");
        Rejection::new(ProblemCode::Internal, "the cause is in the server's log, under the correlation id")
            .into_response()
    });
    let response = finish(&service, response, &path, &correlation_id);

    let status = response.status().as_u16();
    span.record("http.response.status_code", status);
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(parent: &span, status, duration_ms, "answered");
    service.traffic().count(&method, route, status, started.elapsed());
    response
}

fn correlation_id(service: &Service, headers: &HeaderMap) -> CorrelationId {
    let given = headers.get(CORRELATION_ID).and_then(|id| id.to_str().ok()?.parse().ok());
    given.unwrap_or_else(|| clock::correlation_id(&**service.engine().clock()))
}

/// The template, never the path: a label with ids in it would be of no use to whoever counts.
fn route(request: &Request) -> &str {
    request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str)
}

fn span(request: &Request, correlation_id: &CorrelationId) -> Span {
    let route = route(request);
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let span = tracing::info_span!(
        "http.request",
        http.request.method = %request.method(),
        http.route = route,
        http.response.status_code = Empty,
        orchestr8.correlation_id = %correlation_id,
        orchestr8.trace_id = text("x-trace-id"),
        orchestr8.span_id = text("x-span-id"),
    );
    telemetry::continue_trace(&span, text("traceparent"), text("tracestate"));
    span
}

/// Writes the body of a problem, and the headers of every answer.
fn finish(service: &Service, response: Response, path: &str, correlation_id: &CorrelationId) -> Response {
    let mut response = with_problem(service, response, path, correlation_id);
    let headers = response.headers_mut();
    headers.extend(SECURITY);
    if let Ok(id) = HeaderValue::from_str(correlation_id.as_str()) {
        headers.insert(CORRELATION_ID, id);
    }
    if !headers.contains_key(header::ETAG) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

fn with_problem(service: &Service, response: Response, path: &str, correlation_id: &CorrelationId) -> Response {
    let is_wrong = response.status().is_client_error() || response.status().is_server_error();
    let response = match response.extensions().get::<Pending>() {
        None if is_wrong && response.extensions().get::<Spoken>().is_none() => by_the_router(&response),
        _ => response,
    };
    let Some(Pending(problem)) = response.extensions().get::<Pending>().cloned() else { return response };
    let (mut parts, _) = response.into_parts();
    let mut problem = (*problem).clone();
    problem.instance = Some(path.to_owned());
    problem.correlation_id = Some(correlation_id.clone());
    problem.timestamp = Some(service.now());
    if let Ok(code) = HeaderValue::from_str(&problem.code) {
        parts.headers.insert(ERROR_CODE, code);
    }
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    Response::from_parts(parts, Body::from(body))
}

/// Makes a problem of what the router itself refuses: a wrong method, or an address that cannot be read.
fn by_the_router(response: &Response) -> Response {
    let rejection = match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => {
            Rejection::new(ProblemCode::MethodNotAllowed, "see `Allow` for what the path has")
        }
        status if status.is_client_error() => Rejection::bad_request("the address of the request cannot be read"),
        _ => Rejection::new(ProblemCode::Internal, "the cause is in the server's log, under the correlation id"),
    };
    let mut problem = rejection.into_response();
    problem.headers_mut().extend(response.headers().get(header::ALLOW).map(|allow| (header::ALLOW, allow.clone())));
    problem
}

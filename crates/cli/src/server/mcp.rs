//! `POST /mcp`: the offer to other programs, over HTTP.
//!
//! Every request stands for itself, in each revision of the protocol: there are no sessions, so that nothing is lost with the process. Who
//! is waited for longer than an answer takes gets a stream of events.

use std::{fmt, sync::Arc};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, Request, header},
    response::{IntoResponse as _, Response},
};
use orchestr8_schema::source::Format;
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
};

use super::{
    Service,
    body::RequestBody,
    problem::{ProblemCode, Rejection},
};
use crate::mcp::{Handler, Offer};

/// What speaks the protocol.
pub(super) struct Endpoint(StreamableHttpService<Handler, NeverSessionManager>);

/// An answer that has the form of the protocol, whatever its status is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spoken;

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").finish_non_exhaustive()
    }
}

impl Service {
    pub(super) fn mcp_endpoint(&self, exposes_workflows: bool) -> Endpoint {
        let offer = Offer::new(self.engine().clone(), self.catalogue().clone(), exposes_workflows, None);
        let mut config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            // Who may ask has been seen to for all routes, and how much may be sent where the body is read.
            .disable_allowed_hosts()
            .disable_allowed_origins()
            .with_max_request_body_bytes(usize::MAX)
            .with_cancellation_token(self.0.draining.clone());
        config.sse_retry = None;
        let handler = move || Ok(Handler::stateless(offer.clone()));
        Endpoint(StreamableHttpService::new(handler, Arc::new(NeverSessionManager::default()), config))
    }
}

/// Answers one message.
pub(super) async fn answer(State(service): State<Service>, request: Request<Body>) -> Result<Response, Rejection> {
    let Some(endpoint) = &service.0.mcp else {
        let detail = "the server offers nothing to other programs; `mcp.enabled` in the settings changes that";
        return Err(Rejection::new(ProblemCode::NotFound, detail));
    };
    let (mut head, body) = request.into_parts();
    let body = RequestBody::read(&head.headers, body).await?;
    if body.format == Format::Yaml || !head.headers.contains_key(header::CONTENT_TYPE) {
        return Err(Rejection::new(ProblemCode::UnsupportedMediaType, "send the message as application/json"));
    }
    // So deep that it could not be read without danger.
    if !body.bytes.is_empty() {
        body.json()?;
    }
    // Clients of the protocol name both forms; others take whatever comes, and say so or nothing.
    if head.headers.get(header::ACCEPT).is_none_or(|accept| accept == "*/*") {
        head.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    }
    let mut response = endpoint.0.handle(Request::from_parts(head, Body::from(body.bytes))).await.into_response();
    // Who was still waited for is let go when no more executions are taken.
    if response.status().is_server_error() && service.is_draining() {
        return Err(Rejection::shutting_down());
    }
    let is_json = |value: &HeaderValue| value.as_bytes().starts_with(b"application/json");
    if response.headers().get(header::CONTENT_TYPE).is_some_and(is_json) {
        response.extensions_mut().insert(Spoken);
    } else if response.status().is_client_error() {
        // What is wrong with the headers is said in a few words.
        let words = axum::body::to_bytes(response.into_body(), 4096).await.unwrap_or_default();
        let words = String::from_utf8_lossy(&words);
        return Err(Rejection::bad_request(words.trim_start_matches("Bad Request: ").trim()));
    }
    Ok(response)
}

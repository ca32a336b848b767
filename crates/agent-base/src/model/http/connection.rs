//! The connection to a provider.

use std::{
    error::Error,
    fmt,
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::StreamExt as _;
use indexmap::IndexMap;
use orchestr8_resilience::retry_after;
use orchestr8_schema::ErrorKind;
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{HeaderMap, HeaderValue},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::broken;
use crate::{AgentError, SecretString, outgoing};

/// The largest answer that is read.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// The most of the body of a failure that is looked at.
const MAX_ERROR: usize = 64 * 1024;

/// Where requests go, and with which headers.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    client: Arc<OnceLock<Client>>,
    base: Url,
    headers: HeaderMap,
    timeout: Option<Duration>,
}

/// Why a provider cannot be used as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidProvider(String);

impl InvalidProvider {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl Connection {
    pub(super) fn new(base: &str) -> Result<Self, InvalidProvider> {
        let invalid = |why: &dyn fmt::Display| InvalidProvider::new(format!("`{base}` is no base of an API: {why}"));
        let mut url = Url::parse(base).map_err(|error| invalid(&error))?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            _ => return Err(invalid(&"it must be https, unless it is on this machine")),
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self { client: Arc::default(), base: url, headers: HeaderMap::new(), timeout: None })
    }

    pub(super) fn headers(mut self, headers: &IndexMap<String, String>) -> Result<Self, InvalidProvider> {
        let headers = outgoing::headers(headers).map_err(|error| InvalidProvider::new(error.to_string()))?;
        self.headers.extend(headers);
        Ok(self)
    }

    fn client(&self) -> Result<&Client, AgentError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = outgoing::client();
        let client = client.map_err(|error| AgentError::internal("making the HTTP client").with_source(error))?;
        Ok(self.client.get_or_init(|| client))
    }

    pub(super) fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends a request and waits for the beginning of the answer. A status that is no success is an error.
    pub(super) async fn post(
        &self,
        path: &str,
        secret: Option<(&str, &str, SecretString)>,
        body: &Value,
        cancel: &CancellationToken,
    ) -> Result<Response, AgentError> {
        let url = self.base.join(path).map_err(|error| AgentError::internal("joining a URL").with_source(error))?;
        let mut request = self.client()?.post(url).headers(self.headers.clone()).json(body);
        if let Some((name, prefix, secret)) = secret {
            let text = format!("{prefix}{}", secret.expose());
            let mut value = HeaderValue::from_str(&text)
                .map_err(|_| AgentError::validation("the provider's key holds characters that no header may hold"))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        if let Some(timeout) = self.timeout {
            request = request.timeout(timeout);
        }
        let response = until(cancel, request.send()).await?.map_err(|error| failed(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(until(cancel, refused(response)).await?)
    }
}

/// Waits for something unless the token fires; then it is dropped, and the connection closed.
pub(super) async fn until<T>(cancel: &CancellationToken, what: impl Future<Output = T>) -> Result<T, AgentError> {
    let cancelled = || AgentError::cancelled("cancelled while a model was asked");
    cancel.run_until_cancelled(what).await.ok_or_else(cancelled)
}

/// Reads the whole body as JSON.
pub(super) async fn json_of(response: Response, cancel: &CancellationToken) -> Result<Value, AgentError> {
    let body = until(cancel, bytes_of(response, MAX_BODY)).await??;
    let body = body.ok_or_else(|| broken("it is over 16 MB"))?;
    // The parser's error would show a part of the answer.
    serde_json::from_slice(&body).map_err(|_| broken("it is no JSON"))
}

/// Reads a body; absent if it is too long.
async fn bytes_of(response: Response, limit: usize) -> Result<Option<Vec<u8>>, AgentError> {
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| failed(&error))?;
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// The error of a connection.
pub(super) fn failed(error: &reqwest::Error) -> AgentError {
    let kind = if error.is_timeout() { ErrorKind::Timeout } else { ErrorKind::Network };
    let what = if error.is_connect() { "connecting to the provider" } else { "talking to the provider" };
    // The URL stands in the messages of this crate; what led here does not need it.
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    let mut told = Vec::new();
    while let Some(error) = cause.filter(|_| told.len() < 8) {
        told.push(error.to_string());
        cause = error.source();
    }
    let source = told.into_iter().rev().fold(None, |inner: Option<AgentError>, message| {
        let error = AgentError::new(kind, message);
        Some(match inner {
            Some(inner) => error.with_source(inner),
            None => error,
        })
    });
    let failed = AgentError::new(kind, what);
    match source {
        Some(source) => failed.with_source(source),
        None => failed,
    }
}

/// The error of an answer with such a status. What the provider says may hold parts of the prompt or of the key, so only the name that
/// it gives the error is told.
async fn refused(response: Response) -> AgentError {
    let status = response.status();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let delay = header("retry-after").and_then(|value| {
        #[expect(clippy::disallowed_methods, reason = "the date that a server names is one of wall time")]
        let now = std::time::SystemTime::now();
        retry_after::parse(value, now)
    });
    let request_id = header("request-id").or_else(|| header("x-request-id")).map(str::to_owned);
    let body = bytes_of(response, MAX_ERROR).await.ok().flatten().unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let name = ["/error/code", "/error/type"].into_iter().find_map(|place| body.pointer(place)?.as_str());
    of_status(status, name, delay, request_id.as_deref())
}

/// The one map from statuses to kinds.
pub(super) fn of_status(
    status: StatusCode,
    name: Option<&str>,
    delay: Option<Duration>,
    request_id: Option<&str>,
) -> AgentError {
    let kind = match status.as_u16() {
        408 => ErrorKind::Timeout,
        429 => ErrorKind::RateLimited,
        500.. => ErrorKind::Retryable,
        401 | 403 => ErrorKind::Denied,
        404 => ErrorKind::NotFound,
        400..=499 => ErrorKind::Validation,
        _ => ErrorKind::Internal,
    };
    let is_name = |name: &&str| {
        name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    };
    let name = name.filter(is_name);
    let told = name.map_or_else(String::new, |name| format!(": {name}"));
    let mut error = AgentError::new(kind, format!("the provider answered {}{told}", status.as_u16()))
        .with_context(json!({ "status": status.as_u16(), "error": name, "requestId": request_id }));
    if let Some(delay) = delay {
        error = error.with_retry_after(delay);
    }
    error
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host.trim_matches(['[', ']']).parse().is_ok_and(|address: IpAddr| address.is_loopback()),
        None => false,
    }
}

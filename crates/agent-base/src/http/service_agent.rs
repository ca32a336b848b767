//! Agents that are services elsewhere.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use orchestr8_schema::{AgentId, ErrorKind};
use reqwest::{
    Client, Url,
    header::{HeaderMap, HeaderValue},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Web, answer::Answer, failure};
use crate::{Agent, AgentContext, AgentError, AgentManifest, Callee, outgoing};

type Trace = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// An agent that is a service elsewhere and speaks the protocol of `adapter::Microservice`, as a client of it.
///
/// Each attempt is one `POST /process` with the input as its body. The idempotency key, the ids of execution and correlation and the
/// deadline go along as headers. Where the service tells the kind of its failure in the protocol's form, that is the kind; else the
/// status decides. When the attempt is cancelled the connection is closed.
#[derive(Clone)]
pub struct ServiceAgent {
    client: Client,
    process: Url,
    headers: HeaderMap,
    manifest: AgentManifest,
    trace: Option<Trace>,
}

impl ServiceAgent {
    /// How long the service may take to say who it is.
    pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

    /// Asks a service who it is. The manifest is the one that it tells, under this id; a service that tells only its version has
    /// one of these two.
    ///
    /// # Errors
    ///
    /// By kind of failure and status; VALIDATION if the URL, a header or the manifest does not have the required form.
    pub async fn connect<'h>(
        id: &AgentId,
        url: &str,
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
    ) -> Result<Self, AgentError> {
        let invalid = |what: String| AgentError::validation(format!("agent {id}: {what}"));
        let base = Url::parse(url).map_err(|error| invalid("the URL is none".to_owned()).with_source(error))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(invalid(format!("`{}` is no scheme of HTTP", base.scheme())));
        }
        let sent = outgoing::headers(headers).map_err(|error| invalid(error.to_string()).with_source(error))?;
        let client =
            outgoing::client().map_err(|error| AgentError::internal("making the HTTP client").with_source(error))?;
        let at = |path: &str| {
            let mut url = base.clone();
            url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
            url
        };
        let asked = client.get(at("health")).headers(sent.clone()).timeout(Self::HEALTH_TIMEOUT).send().await;
        let answer = Answer::read(asked.map_err(failure::of_error)?, Web::MAX_BODY).await?;
        if !answer.status.is_success() {
            return Err(AgentError::network(format!("agent {id}: its health is {}", answer.status)));
        }
        let health = answer.into_value()["body"].take();
        let manifest = manifest(id, &health, &base)?;
        Ok(Self { client, process: at("process"), headers: sent, manifest, trace: None })
    }

    /// Sends a `traceparent` (W3C Trace Context) with each attempt: what this gives within its span.
    #[must_use]
    pub fn traced(mut self, trace: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.trace = Some(Arc::new(trace));
        self
    }

    fn headers(&self, cx: &AgentContext) -> Result<HeaderMap, AgentError> {
        let mut headers = self.headers.clone();
        let mut set = |name: &'static str, value: &str| {
            let value = HeaderValue::from_str(value);
            let value = value.map_err(|_| AgentError::validation(format!("`{name}` cannot stand in a header")))?;
            headers.insert(name, value);
            Ok::<(), AgentError>(())
        };
        set("idempotency-key", cx.idempotency_key())?;
        set("x-execution-id", &cx.execution_id().to_string())?;
        set("x-correlation-id", cx.correlation_id().as_str())?;
        if let Some(deadline) = cx.deadline() {
            set("x-deadline", &deadline.to_string())?;
        }
        if let Some(trace) = self.trace.as_ref().and_then(|trace| trace()) {
            set("traceparent", &trace)?;
        }
        Ok(headers)
    }
}

#[async_trait]
impl Agent for ServiceAgent {
    fn manifest(&self) -> AgentManifest {
        self.manifest.clone()
    }

    async fn execute(&self, input: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        let asking = async {
            let sending = self.client.post(self.process.clone()).headers(self.headers(cx)?).json(input);
            let response = sending.send().await.map_err(failure::of_error)?;
            // The envelope says the output twice.
            let answer = Answer::read(response, 2 * Callee::MAX_OUTPUT + 4096).await?;
            output_of(answer, cx)
        };
        let answered = cancel.run_until_cancelled(asking).await;
        answered.unwrap_or_else(|| Err(AgentError::cancelled("cancelled while a service was asked")))
    }

    fn target(&self, _: &Value) -> Option<String> {
        self.process.host_str().map(str::to_owned)
    }
}

fn manifest(id: &AgentId, health: &Value, url: &Url) -> Result<AgentManifest, AgentError> {
    let told = match health.get("manifest") {
        Some(manifest) => AgentManifest::from_value(manifest),
        None => {
            let version = health["version"].as_str().unwrap_or("0.0.0");
            let place = url.host_str().unwrap_or_default();
            AgentManifest::new(id.as_ref(), version, &format!("A service at {place}"))
        }
    };
    let mut manifest = told.map_err(|error| {
        AgentError::validation(format!("agent {id}: the service tells no valid manifest")).with_source(error)
    })?;
    manifest.id = id.clone();
    Ok(manifest)
}

fn output_of(answer: Answer, cx: &AgentContext) -> Result<Value, AgentError> {
    let by_status = failure::of_status(cx, answer.status, &answer.headers, &answer.excerpt());
    let status = answer.status;
    let mut body = answer.into_value()["body"].take();
    let Some(by_status) = by_status else {
        let is_output = status.is_success() && body["success"] == true && body.get("data").is_some();
        return if is_output {
            Ok(body["data"].take())
        } else {
            Err(AgentError::validation(format!("the service answered {status} with what is no output")))
        };
    };
    let code = body["code"].as_str().filter(|_| body["success"] == false);
    let Some(kind) = code.and_then(|code| ErrorKind::ALL.into_iter().find(|kind| kind.code() == code)) else {
        return Err(by_status);
    };
    let message = body["error"].as_str().unwrap_or("the service failed");
    let error = AgentError::new(kind, message).with_context(json!({ "status": status.as_u16() }));
    Err(match by_status.retry_after() {
        Some(delay) => error.with_retry_after(delay),
        None => error,
    })
}

impl fmt::Debug for ServiceAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAgent").field("id", &self.manifest.id).finish_non_exhaustive()
    }
}

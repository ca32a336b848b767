//! Who asks HTTP servers.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use orchestr8_schema::config::HttpPolicy;
use reqwest::{Client, Url, header, redirect};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    answer::Answer,
    failure, policy,
    request::{HttpInput, Request},
    resolver::{CheckedResolver, Lookup, SystemLookup},
};
use crate::{AgentContext, AgentError};

/// Asks HTTP servers under a policy. Cheap to clone; connections are kept and shared.
#[derive(Clone, Debug)]
pub struct Web {
    client: Arc<OnceLock<Client>>,
    policy: Arc<HttpPolicy>,
    lookup: Arc<dyn Lookup>,
}

impl Web {
    /// The longest body of an answer, in bytes: 10 MB.
    pub const MAX_BODY: usize = 10 * 1024 * 1024;
    /// The most redirects that one request follows.
    pub const MAX_REDIRECTS: usize = 5;
    /// How long connecting may take.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

    /// Makes it of a policy.
    #[must_use]
    pub fn new(policy: HttpPolicy) -> Self {
        Self::with_lookup(policy, Arc::new(SystemLookup))
    }

    /// Makes it of a policy and who finds the addresses of hosts.
    #[must_use]
    pub fn with_lookup(policy: HttpPolicy, lookup: Arc<dyn Lookup>) -> Self {
        Self { client: Arc::default(), policy: Arc::new(policy), lookup }
    }

    /// Makes the client when it is needed for the first time: it reads the certificates that the system trusts.
    fn client(&self) -> Result<&Client, AgentError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let resolver = CheckedResolver { policy: Arc::clone(&self.policy), lookup: Arc::clone(&self.lookup) };
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(Self::CONNECT_TIMEOUT)
            .user_agent(concat!("orchestr8/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(resolver))
            .build()
            .map_err(|error| AgentError::internal("making the HTTP client").with_source(error))?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Asks and gives `{status, headers, body | bodyBase64}`, of at most so many bytes.
    ///
    /// # Errors
    ///
    /// DENIED by the policy, with the setting in the context; by kind of failure and status as specified; CANCELLED.
    ///
    /// # Cancellation safety
    ///
    /// When the future is dropped the connection is closed. The server may have done what it was asked.
    pub async fn ask(
        &self,
        input: &HttpInput,
        cx: &AgentContext,
        limit: usize,
        cancel: &CancellationToken,
    ) -> Result<Value, AgentError> {
        let asking = self.follow(input, cx, limit);
        let asking = async {
            match input.timeout {
                None => asking.await,
                Some(limit) => tokio::time::timeout(limit.as_duration(), asking)
                    .await
                    .unwrap_or_else(|_| Err(AgentError::timeout(format!("the server took longer than {limit}")))),
            }
        };
        let asked = cancel.run_until_cancelled(asking).await;
        asked.unwrap_or_else(|| Err(AgentError::cancelled("cancelled while a server was asked")))
    }

    async fn follow(&self, input: &HttpInput, cx: &AgentContext, limit: usize) -> Result<Value, AgentError> {
        let mut request = Request::of(input)?;
        if !request.is_safe() {
            let key = header::HeaderValue::from_str(cx.idempotency_key());
            let key = key.map_err(|_| AgentError::validation("the idempotency key cannot stand in a header"))?;
            request.headers.entry("idempotency-key").or_insert(key);
        }
        for _ in 0..=Self::MAX_REDIRECTS {
            policy::check_url(&self.policy, &request.url)?;
            let mut sending = self.client()?.request(request.method.clone(), request.url.clone());
            sending = sending.headers(request.headers.clone());
            if let Some(body) = &request.body {
                sending = sending.body(body.clone());
            }
            let response = sending.send().await.map_err(failure::of_error)?;
            let status = response.status().as_u16();
            let is_expected = input.expect.contains(&status);
            let place = response.headers().get(header::LOCATION).and_then(|place| place.to_str().ok());
            match (status, place) {
                (301 | 302 | 303 | 307 | 308, Some(place)) if !is_expected => {
                    let to = next(&request.url, place)?;
                    request = request.redirected(status, to);
                }
                _ => return judged(Answer::read(response, limit).await?, input, cx),
            }
        }
        Err(AgentError::validation(format!("the server redirects more than {} times", Self::MAX_REDIRECTS)))
    }
}

fn next(from: &Url, place: &str) -> Result<Url, AgentError> {
    let to = from.join(place);
    let to = to.map_err(|error| AgentError::validation("the server redirects to what is no URL").with_source(error))?;
    if from.scheme() == "https" && to.scheme() != "https" {
        return Err(AgentError::denied("the server redirects from https to http"));
    }
    Ok(to)
}

/// Tells answers that were asked for from failures.
fn judged(answer: Answer, input: &HttpInput, cx: &AgentContext) -> Result<Value, AgentError> {
    let status = answer.status;
    let is_accepted =
        if input.expect.is_empty() { status.as_u16() < 400 } else { input.expect.contains(&status.as_u16()) };
    if is_accepted {
        return Ok(answer.into_value());
    }
    let failure = failure::of_status(cx, status, &answer.headers, &answer.excerpt());
    Err(failure
        .unwrap_or_else(|| AgentError::validation(format!("the server answered {status}, which is not expected"))))
}

//! The contract that everything an engine calls fulfils.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use async_trait::async_trait;
use orchestr8_schema::{usage::Estimate, validate::Obstacle};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::{AgentContext, AgentError, AgentManifest, AgentRegistry};

/// Turns a JSON value into a JSON value under a cancellation token.
///
/// Implement [`TypedAgent`](crate::TypedAgent) instead when input and output are Rust types, or use
/// [`agent_fn`](crate::agent_fn) for a closure.
///
/// An *execution* is one run of a workflow; a *step* of it calls an agent; an *attempt* is one try of that call. The same agent
/// value serves all of them at once, so state that changes belongs behind a lock or outside.
///
/// An agent may depend on its input, its configuration and its own version, and on nothing else of the execution: a result is
/// used again where these are unchanged.
///
/// # Examples
///
/// ```
/// use async_trait::async_trait;
/// use orchestr8_agent_base::{Agent, AgentContext, AgentError, AgentManifest};
/// use serde_json::{Value, json};
/// use tokio_util::sync::CancellationToken;
///
/// struct Double;
///
/// #[async_trait]
/// impl Agent for Double {
///     fn manifest(&self) -> AgentManifest {
///         AgentManifest::new("@acme/double", "1.0.0", "Doubles a number").expect("id and version are well formed")
///     }
///
///     async fn execute(&self, input: &Value, _cx: &AgentContext, _cancel: CancellationToken) -> Result<Value, AgentError> {
///         let number = input["number"].as_i64().ok_or_else(|| AgentError::validation("`number` is no integer"))?;
///         Ok(json!({ "number": number * 2 }))
///     }
/// }
/// ```
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no agent",
    note = "implement `Agent`, or `TypedAgent` where input and output are Rust types, or wrap a closure in `agent_fn`"
)]
pub trait Agent: Send + Sync + 'static {
    /// Says what the agent is. Asked once, when the agent is registered.
    fn manifest(&self) -> AgentManifest;

    /// Checks what the schema cannot say. Called before the step's first attempt, and again before each until it succeeds, with input that satisfies the
    /// manifest's schema; the default accepts everything.
    ///
    /// # Errors
    ///
    /// Whatever is wrong, usually of kind VALIDATION; it is not tried again unless its kind says so.
    // Written out as `async_trait` would, but for a future that takes no memory: most agents have nothing to say here.
    fn validate<'agent, 'input, 'cx, 'future>(
        &'agent self,
        input: &'input Value,
        cx: &'cx AgentContext,
    ) -> Pin<Box<dyn Future<Output = Result<(), AgentError>> + Send + 'future>>
    where
        'agent: 'future,
        'input: 'future,
        'cx: 'future,
        Self: 'future,
    {
        let _ = (input, cx);
        Box::pin(AcceptsEverything)
    }

    /// Does the work of one attempt.
    ///
    /// The input is borrowed, so a retry needs no copy.
    ///
    /// # Errors
    ///
    /// An [`AgentError`] whose kind decides about retry and circuit breaker. A panic is caught and counts as INTERNAL.
    ///
    /// # Cancellation safety
    ///
    /// The future may be dropped at any await: when the attempt's timeout expires, and when the grace after a cancellation is
    /// over. Once `cancel` fires the agent should end within 100 ms.
    async fn execute(&self, input: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError>;

    /// Tells the most that an attempt may use up, for workflows with a budget: it is reserved before the attempt, and what
    /// [`AgentContext::usage`] was told comes in its place. It depends on input and configuration alone; the default is nothing.
    fn estimate(&self, input: &Value, config: &Map<String, Value>) -> Estimate {
        let _ = (input, config);
        Estimate::default()
    }

    /// Says why the agent cannot work with a configuration, as far as that can be known before anything runs and no schema says it: that nobody has the
    /// model that it names, say. `registry` is the one that the agent is called from. Who checks a workflow asks this of each of its steps; the
    /// default finds nothing.
    fn obstacle(&self, config: &Map<String, Value>, registry: &AgentRegistry) -> Option<Obstacle> {
        let _ = (config, registry);
        None
    }

    /// Returns what the agent would ask its model first about an input, without asking it, for people who want to know; absent, as by default, if it has
    /// no prompt.
    ///
    /// # Errors
    ///
    /// What the call would fail with before it asks anything.
    #[cfg(feature = "prompt")]
    fn question(
        &self,
        input: &Value,
        config: &Map<String, Value>,
    ) -> Option<Result<crate::prompt::Question, AgentError>> {
        let _ = (input, config);
        None
    }

    /// Names what a call with this input depends on, for the key of its circuit breaker.
    ///
    /// The default is the text `target` of the input, else the host of a text `url`, else nothing.
    fn target(&self, input: &Value) -> Option<String> {
        default_target(input)
    }
}

/// What [`Agent::validate`] answers by default. Without a size, so that a box of it is no allocation.
struct AcceptsEverything;

impl Future for AcceptsEverything {
    type Output = Result<(), AgentError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
fn _obj_safe(_: &dyn Agent) {}

pub(crate) fn default_target(input: &Value) -> Option<String> {
    if let Some(target) = input.get("target").and_then(Value::as_str) {
        return Some(target.to_owned());
    }
    host(input.get("url")?.as_str()?).map(str::to_ascii_lowercase)
}

/// Finds the host of an absolute URL (RFC 3986, section 3.2), without user information and port.
fn host(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let is_scheme =
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let authority = rest.split(['/', '?', '#']).next()?;
    let host_and_port = authority.rsplit('@').next()?;
    let host = if host_and_port.starts_with('[') {
        host_and_port.split_inclusive(']').next()?
    } else {
        host_and_port.split(':').next()?
    };
    (is_scheme && !host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::default_target;

    #[test]
    fn target_is_the_text_target_else_the_host_of_the_url() {
        let cases = [
            (json!({"target": "db", "url": "https://a.test"}), Some("db")),
            (json!({"url": "https://user:pass@API.example.org:8443/v1?q=1"}), Some("api.example.org")),
            (json!({"url": "http://[::1]:80/x"}), Some("[::1]")),
            (json!({"url": "no url"}), None),
            (json!({"target": 7}), None),
            (json!("text"), None),
        ];
        for (input, expected) in cases {
            assert_eq!(default_target(&input).as_deref(), expected, "{input}");
        }
    }
}

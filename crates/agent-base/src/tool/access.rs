//! Tools in the hands of agents: which of them one may call, and what stands around each call.

use std::{fmt, sync::Arc, time::Duration};

use orchestr8_schema::{canonical, config::ToolPolicy, event::ToolCall, json_schema::Violations};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{RegisteredTool, ToolRegistry, ToolSpec};
use crate::{AgentContext, AgentError, Callee, context::Remark, pattern, service};

/// The tools of an engine, and which of them agents may call.
#[derive(Clone, Debug, Default)]
pub struct ToolAccess {
    registry: ToolRegistry,
    policy: ToolPolicy,
}

impl ToolAccess {
    /// Gives agents these tools under this policy.
    #[must_use]
    pub fn new(registry: ToolRegistry, policy: ToolPolicy) -> Self {
        Self { registry, policy }
    }

    /// Returns the tools.
    #[must_use]
    pub fn registry(&self) -> &ToolRegistry {
        &self.registry
    }

    /// Whether the policy lets agents call a tool of this name. `deny` wins.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        let stands_in = |patterns: &[String]| patterns.iter().any(|known| pattern::matches(known, name));
        self.policy.allow.as_deref().is_none_or(stands_in) && !stands_in(&self.policy.deny)
    }
}

/// Where within an attempt a tool is called, so that a call that is made again is known as the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToolPlace {
    /// The turn that asked for it, counted from 1; 0 where there are no turns.
    pub turn: u32,
    /// The place within the turn, from 0.
    pub index: u32,
}

/// The tools that one attempt of an agent may call.
#[derive(Clone)]
#[must_use]
pub struct Tools {
    cx: AgentContext,
    granted: Option<Arc<[String]>>,
}

impl Tools {
    /// How long a tool may take that says nothing itself.
    pub const TIMEOUT: Duration = Duration::from_secs(30);

    pub(crate) fn of(cx: AgentContext) -> Self {
        Self { cx, granted: None }
    }

    /// Keeps only those of these names. Another one is not available, whoever asks for it.
    pub fn only(mut self, names: impl IntoIterator<Item = String>) -> Self {
        let names: Arc<[String]> = names.into_iter().filter(|name| self.is_granted(name)).collect();
        self.granted = Some(names);
        self
    }

    /// Lists what may be called: the names that it was narrowed down to, in that order, else all tools that are registered, by name. A name
    /// that nobody has is left out.
    ///
    /// # Errors
    ///
    /// That of whoever offers a tool and does not answer.
    pub async fn list(&self) -> Result<Vec<ToolSpec>, AgentError> {
        let Some(access) = self.access() else { return Ok(Vec::new()) };
        let Some(granted) = &self.granted else {
            let all = access.registry().list().map(|tool| tool.spec());
            return Ok(all.filter(|spec| access.allows(spec.name.as_str())).cloned().collect());
        };
        let mut specs = Vec::new();
        for name in granted.iter().filter(|name| access.allows(name)) {
            if let Ok(name) = name.parse() {
                specs.extend(access.registry().describe(&name).await?);
            }
        }
        Ok(specs)
    }

    /// Calls a tool: its arguments are checked, it is given its own context (with an idempotency key of execution, step path, visit,
    /// turn and index) and its time, its result may have 1 MB. `<SECRET:path>` in a text of the arguments is replaced by the secret of
    /// that path. What it uses up counts for the attempt. The journal tells of the call.
    ///
    /// # Errors
    ///
    /// DENIED if it is not available, and then it was not called; VALIDATION if the arguments do not fit; TIMEOUT; and what it
    /// answers. CANCELLED if the token fires.
    pub async fn call(
        &self,
        name: &str,
        arguments: &Value,
        place: ToolPlace,
        cancel: CancellationToken,
    ) -> Result<Value, AgentError> {
        let began = Instant::now();
        let Some(tool) = self.find(name) else {
            let error = AgentError::denied(format!("tool `{name}` is not available")).unavailable();
            self.tell(name, place, None, Some(&error), true);
            return Err(error);
        };
        let span = tracing::info_span!(
            "orchestr8.tool",
            "orchestr8.tool.name" = name,
            "orchestr8.tool.turn" = (place.turn > 0).then_some(place.turn),
            "orchestr8.tool.arguments" = tracing::field::Empty,
            "orchestr8.tool.result" = tracing::field::Empty,
            "orchestr8.error_code" = tracing::field::Empty,
        );
        self.cx.show_content(&span, "orchestr8.tool.arguments", || arguments.clone());
        let result = self.run(&tool, arguments, place, cancel).instrument(span.clone()).await;
        match &result {
            Ok(value) => self.cx.show_content(&span, "orchestr8.tool.result", || value.clone()),
            Err(error) => {
                span.record("orchestr8.error_code", error.kind().code());
            }
        }
        self.tell(name, place, Some(began.elapsed()), result.as_ref().err(), false);
        result
    }

    /// Tells the journal of a call that is not made, because what the model has written is none.
    #[cfg(feature = "llm")]
    pub(crate) fn refuse(&self, name: &str, place: ToolPlace, error: AgentError) -> AgentError {
        self.tell(name, place, None, Some(&error), false);
        error
    }

    async fn run(
        &self,
        tool: &RegisteredTool,
        arguments: &Value,
        place: ToolPlace,
        cancel: CancellationToken,
    ) -> Result<Value, AgentError> {
        let callee = tool.callee();
        if let Some(schema) = callee.input_schema()
            && let Err(violations) = schema.validate(arguments)
        {
            return Err(AgentError::validation(format!("the arguments do not fit: {}", Violations(&violations))));
        }
        let mut arguments = arguments.clone();
        self.put_secrets_in(&mut arguments)?;
        let (arguments, cx) = self.context_of(callee, arguments, place);
        let timeout = callee.timeout().unwrap_or(Self::TIMEOUT);
        let call = service::call(callee, &arguments, &cx, cancel.child_token());
        let called = tokio::time::timeout(timeout, call);
        let result = match cancel.run_until_cancelled(called).await {
            None => Err(AgentError::cancelled("cancelled while a tool was called")),
            Some(Err(_)) => Err(AgentError::timeout(format!("the tool took longer than {} ms", timeout.as_millis()))),
            Some(Ok(result)) => result,
        };
        if let Some(usage) = cx.take_usage() {
            self.cx.usage(usage);
        }
        result
    }

    fn context_of(&self, callee: &Arc<Callee>, arguments: Value, place: ToolPlace) -> (Arc<Value>, AgentContext) {
        let ToolPlace { turn, index } = place;
        let (execution, path, visit) = (self.cx.execution_id(), self.cx.step_path(), self.cx.visit());
        let key = canonical::sha256_hex(format!("tool\n{execution}\n{path}\n{visit}\n{turn}\n{index}").as_bytes());
        let arguments = Arc::new(arguments);
        let scope = format!("turn/{turn}/tool/{index}");
        let cx = self.cx.for_tool(&scope, key, Arc::clone(&arguments), Arc::clone(callee));
        (arguments, cx)
    }

    /// Puts secrets in where the arguments refer to them.
    fn put_secrets_in(&self, value: &mut Value) -> Result<(), AgentError> {
        match value {
            Value::String(text) if text.contains(SECRET_OPENS) => {
                *text = self.with_secrets(text)?;
                Ok(())
            }
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.put_secrets_in(item)),
            Value::Object(map) => map.values_mut().try_for_each(|value| self.put_secrets_in(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    fn with_secrets(&self, text: &str) -> Result<String, AgentError> {
        let (mut whole, mut rest) = (String::with_capacity(text.len()), text);
        while let Some((before, after)) = rest.split_once(SECRET_OPENS) {
            whole.push_str(before);
            let Some((path, after)) = after.split_once('>') else {
                whole.push_str(SECRET_OPENS);
                rest = after;
                continue;
            };
            whole.push_str(self.cx.secret(&format!("secret://{path}"))?.expose());
            rest = after;
        }
        whole.push_str(rest);
        Ok(whole)
    }

    fn find(&self, name: &str) -> Option<Arc<RegisteredTool>> {
        if !self.is_allowed(name) {
            return None;
        }
        self.access()?.registry().get(&name.parse().ok()?)
    }

    fn is_allowed(&self, name: &str) -> bool {
        self.is_granted(name) && self.access().is_some_and(|access| access.allows(name))
    }

    fn is_granted(&self, name: &str) -> bool {
        self.granted.as_ref().is_none_or(|granted| granted.iter().any(|known| known == name))
    }

    fn access(&self) -> Option<&ToolAccess> {
        self.cx.host()?.tools()
    }

    fn tell(&self, name: &str, place: ToolPlace, took: Option<Duration>, error: Option<&AgentError>, is_denied: bool) {
        let Some(host) = self.cx.host() else { return };
        host.remark(Remark::Tool(ToolCall {
            call: self.cx.call_id(),
            attempt: self.cx.attempt(),
            tool: name.into(),
            turn: Some(place.turn).filter(|turn| *turn > 0),
            duration: took,
            error: error.map(|error| Arc::new(error.to_failure())),
            is_denied,
        }));
    }
}

/// What references to secrets begin with, in a text.
const SECRET_OPENS: &str = "<SECRET:";

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tools").field("granted", &self.granted).finish_non_exhaustive()
    }
}

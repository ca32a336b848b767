//! Models that answer turns as a scenario's mocks say, to agents that are otherwise real.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use orchestr8_agent_base::{
    AgentContext, AgentError, SecretString,
    model::{
        Capabilities, ChatModel, ChatRequest, ChatResponse, DeltaSink, Message, ModelInfo, Models, Provider,
        StopReason, ToolRequest,
    },
};
use orchestr8_schema::usage::Usage;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::stage::{Caller, Directed, Stage};
use crate::mocks::{Answer, Called, error_of};

tokio::task_local! {
    /// The step whose agent, or tool, is being called for real: models are not told who asks.
    static ASKING: Caller;
}

/// Makes the models of an execution: whichever is asked, the stage answers.
pub(super) fn all_on(stage: &Arc<Stage>) -> Models {
    Models::anybody(Asked { stage: Arc::clone(stage) })
}

/// Has the models that are asked in a real call know who asks.
pub(super) async fn asking<F: Future>(cx: &AgentContext, call: F) -> F::Output {
    ASKING.scope(Caller::of(cx), call).await
}

/// The provider where nobody says whose model is meant.
const NOBODY: &str = "test";

struct Asked {
    stage: Arc<Stage>,
}

impl Provider for Asked {
    fn model(&self, provider: &str, id: &str) -> Arc<dyn ChatModel> {
        let called = match provider {
            NOBODY => id.to_owned(),
            provider => format!("{provider}/{id}"),
        };
        let info = ModelInfo::new(provider, id, Capabilities::all());
        Arc::new(ModelStandIn { info, called: Called::Model(called), stage: Arc::clone(&self.stage) })
    }
}

/// Stands in for a model.
struct ModelStandIn {
    info: ModelInfo,
    called: Called,
    stage: Arc<Stage>,
}

#[async_trait]
impl ChatModel for ModelStandIn {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn keyed(&self, _: SecretString) -> Option<Arc<dyn ChatModel>> {
        let (info, called, stage) = (self.info.clone(), self.called.clone(), Arc::clone(&self.stage));
        Some(Arc::new(Self { info, called, stage }))
    }

    async fn chat(
        &self,
        request: ChatRequest,
        on_delta: Option<DeltaSink>,
        cancel: CancellationToken,
    ) -> Result<ChatResponse, AgentError> {
        let caller = ASKING.try_with(Clone::clone).unwrap_or_else(|_| Caller::unknown());
        let place = request.messages.len();
        let seen = as_seen(&self.info, &request);
        let fits = |value: &Value| turn(value, place).map(drop);
        let (result, after) = match self.stage.answer(&self.called, &seen, &caller, fits) {
            Directed::Wrong(message) => return Err(AgentError::internal(message)),
            Directed::To(Answer::Value(value, after)) => (turn(&value, place).map_err(AgentError::internal), after),
            Directed::To(Answer::Failure(failure, after)) => (Err(error_of(&failure)), after),
            Directed::To(Answer::Hang) => {
                cancel.cancelled().await;
                return Err(AgentError::cancelled("the token fired"));
            }
            Directed::To(Answer::Real) => return Err(AgentError::internal("no real model is asked in a test")),
        };
        let waiting = tokio::time::sleep(after.unwrap_or(Duration::ZERO));
        if after.is_some() && cancel.run_until_cancelled(waiting).await.is_none() {
            return Err(AgentError::cancelled("the token fired"));
        }
        let mut response = result?;
        response.model.clone_from(&self.info.model);
        if let Some(sink) = on_delta {
            sink(&response.message.text());
        }
        Ok(response)
    }
}

/// What mocks see of a question, as `input`.
fn as_seen(info: &ModelInfo, request: &ChatRequest) -> Value {
    let system: Vec<_> = request.system.iter().map(|block| block.text.as_str()).collect();
    let tools: Vec<_> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
    json!({
        "model": info.model,
        "system": system.join("\n\n"),
        "last": request.messages.last().map(Message::text).unwrap_or_default(),
        "messages": request.messages,
        "tools": tools,
    })
}

/// A turn of a model as it is written down: a text alone, or an object of these.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Written {
    text: Option<String>,
    json: Option<Value>,
    tools: Vec<WrittenCall>,
    usage: WrittenUsage,
    stop_reason: Option<StopReason>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCall {
    name: String,
    #[serde(default)]
    arguments: Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct WrittenUsage {
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    cache_creation_tokens: u64,
    cost_usd: f64,
}

/// Makes a turn of a model of what is written; `place` is how many messages there were before.
fn turn(value: &Value, place: usize) -> Result<ChatResponse, String> {
    const HINT: &str =
        "a model answers a text, or an object of `text`, `json` or `tools`, with `usage` and `stopReason`";

    if let Value::String(text) = value {
        return Ok(ChatResponse::text(text));
    }
    let written: Written = serde_json::from_value(value.clone())
        .map_err(|error| format!("this is no answer of a model: {error}; {HINT}"))?;
    let ways = [written.text.is_some(), written.json.is_some(), !written.tools.is_empty()];
    let is_refused = written.stop_reason == Some(StopReason::Refusal);
    if ways.iter().filter(|way| **way).count() != 1 && !(is_refused && ways == [false; 3]) {
        return Err(format!("this is no answer of a model; {HINT}"));
    }
    let mut response = if written.tools.is_empty() {
        let text = written.text.or_else(|| written.json.map(|json| json.to_string()));
        ChatResponse::text(text.unwrap_or_default())
    } else {
        let calls = written.tools.into_iter().enumerate();
        ChatResponse::tools(calls.map(|(index, call)| {
            ToolRequest::new(format!("call-{place}-{index}"), call.name, Value::Object(call.arguments))
        }))
    };
    response.stop_reason = written.stop_reason.unwrap_or(response.stop_reason);
    let WrittenUsage { input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, cost_usd } =
        written.usage;
    response.cost_usd = Some(cost_usd);
    Ok(response.with_usage(Usage {
        cache_read_tokens,
        cache_creation_tokens,
        ..Usage::new(input_tokens, output_tokens, cost_usd)
    }))
}

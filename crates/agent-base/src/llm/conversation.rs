//! The loop of turns and tools.

use futures_util::stream::{self, StreamExt as _};
use orchestr8_schema::{
    ErrorKind,
    usage::{Estimate, Usage},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Guardrails, LlmConfig, Subject, text_of};
use crate::{
    AgentContext, AgentError,
    model::{ChatRequest, ChatTool, Message, Model, Part, Role, StopReason, ToolChoice, ToolRequest, WireNames},
    prompt::Prompt,
    tool::{ToolPlace, Tools},
};

/// The most bytes of a tool's result that a model is told.
const MAX_RESULT: usize = 64 * 1024;

/// A conversation with a model about one input.
pub(super) struct Conversation<'a> {
    cx: &'a AgentContext,
    config: &'a LlmConfig,
    guardrails: &'a Guardrails,
    prompt: &'a Prompt,
    model: Model,
    tools: Tools,
    request: ChatRequest,
    used: Usage,
}

impl<'a> Conversation<'a> {
    pub(super) async fn begin(
        cx: &'a AgentContext,
        config: &'a LlmConfig,
        guardrails: &'a Guardrails,
        prompt: &'a Prompt,
        input: &Value,
    ) -> Result<Self, AgentError> {
        let composed = prompt.compose(input)?;
        guardrails.hold(cx, prompt, Subject::Input(input))?;
        let model = cx.model_of(config.model_for(Some(prompt)), config.provider.as_deref())?;
        let tools = cx.tools().only(config.tools.iter().cloned());
        let mut request = ChatRequest::new(Message::user(composed.user));
        request.system = composed.system;
        request.output_schema = config.schema_for(prompt).cloned();
        (request.temperature, request.max_tokens) = (config.temperature, config.max_tokens);
        if !config.allowed_tools.is_empty() {
            request.metadata.insert("allowedTools".to_owned(), json!(config.allowed_tools));
        }
        if let Some(cwd) = &config.cwd {
            request.metadata.insert("cwd".to_owned(), json!(cwd));
        }
        request.tools = tools.list().await?.iter().map(ChatTool::from).collect();
        if let Err((one, other)) = WireNames::new(request.tools.iter().map(|tool| tool.name.as_str())) {
            let message = format!("models cannot tell the tools `{one}` and `{other}` apart: rename one of them");
            return Err(AgentError::validation(message));
        }
        if !config.tools.is_empty() && !model.info().capabilities.tools {
            let message = format!("model `{}` takes no tools", model.info().model);
            return Err(AgentError::validation(message));
        }
        if config.max_cost_usd.is_some() && !model.has_price() {
            let message = format!("`maxCostUsd` is set, and the price of `{}` is not known", model.info().model);
            return Err(AgentError::validation(message));
        }
        Ok(Self { cx, config, guardrails, prompt, model, tools, request, used: Usage::default() })
    }

    pub(super) async fn run(mut self, cancel: CancellationToken) -> Result<Value, AgentError> {
        for turn in 1..=self.config.max_turns {
            if turn == self.config.max_turns {
                self.request.tool_choice = ToolChoice::None;
            }
            self.check_limits()?;
            let model = self.model.clone().turn(turn).within(self.left());
            let response = model.durable(&format!("turn/{turn}"), self.request.clone(), cancel.clone()).await?;
            self.used.add(&response.usage);
            let asked: Vec<_> = response.message.tool_requests().cloned().collect();
            if asked.is_empty() || response.stop_reason != StopReason::ToolUse {
                let output = match (response.structured, &self.request.output_schema) {
                    (Some(value), Some(_)) => value,
                    _ => text_of(&response.message.text()),
                };
                self.guardrails.hold(self.cx, self.prompt, Subject::Output(&output))?;
                return Ok(output);
            }
            if turn == self.config.max_turns {
                break;
            }
            for ToolRequest { name, arguments, .. } in &asked {
                self.guardrails.hold(self.cx, self.prompt, Subject::ToolCall { name, arguments })?;
            }
            self.request.messages.push(response.message);
            let results = self.call(turn, asked, &cancel).await?;
            self.request.messages.push(Message::of(Role::User, results));
        }
        let message = format!("the model has not answered in {} turns", self.config.max_turns);
        Err(self.spent(ErrorKind::LoopLimit, message))
    }

    /// Whether the next question might pass a limit of the agent's own.
    fn check_limits(&self) -> Result<(), AgentError> {
        let (bound, left) = (self.model.bound(&self.request), self.left());
        let limit = match () {
            () if bound.tokens > left.tokens => "maxTotalTokens",
            () if bound.cost_usd > left.cost_usd + 1e-9 => "maxCostUsd",
            () => return Ok(()),
        };
        Err(self.spent(ErrorKind::BudgetExceeded, format!("the next question might pass the agent's `{limit}`")))
    }

    /// What the agent's own limits leave to the next question.
    fn left(&self) -> Estimate {
        let tokens = self.config.max_total_tokens.map(|limit| limit.saturating_sub(self.used.tokens()));
        let cost = self.config.max_cost_usd.map(|limit| (limit - self.used.cost_usd).max(0.0));
        Estimate::new(tokens.unwrap_or(u64::MAX), cost.unwrap_or(f64::INFINITY))
    }

    fn spent(&self, kind: ErrorKind, message: String) -> AgentError {
        AgentError::new(kind, message).with_context(json!({ "usage": self.used }))
    }

    /// Calls tools, some at once, and gives their results in the order of the calls.
    async fn call(
        &self,
        turn: u32,
        asked: Vec<ToolRequest>,
        cancel: &CancellationToken,
    ) -> Result<Vec<Part>, AgentError> {
        let calls = asked
            .into_iter()
            .zip(0..)
            .map(|(request, index)| self.call_one(request, ToolPlace { turn, index }, cancel));
        let results: Vec<_> = stream::iter(calls).buffered(self.config.parallel_tools.max(1)).collect().await;
        results.into_iter().collect()
    }

    /// Calls a tool. What goes wrong with it is told to the model, and recorded like any result, so that a later attempt goes on from it.
    async fn call_one(
        &self,
        request: ToolRequest,
        place: ToolPlace,
        cancel: &CancellationToken,
    ) -> Result<Part, AgentError> {
        let ToolRequest { id, name, arguments, unparsed } = request;
        let asked = json!({ "name": name, "arguments": arguments, "unparsed": unparsed });
        let key = format!("turn/{}/tool/{}", place.turn, place.index);
        let call = async {
            let result = match unparsed {
                Some(_) => Err(self.tools.refuse(&name, place, AgentError::validation("the arguments are no JSON"))),
                None => self.tools.call(&name, &arguments, place, cancel.clone()).await,
            };
            match result {
                Ok(value) => Ok(json!({ "content": told(&value), "isError": false })),
                Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::BudgetExceeded) => Err(error),
                Err(error) => {
                    let content = match error.kind() {
                        ErrorKind::Denied if error.is_unavailable_tool() => "tool not available".to_owned(),
                        kind => cut(format!("{}: {error}", kind.code())),
                    };
                    Ok(json!({ "content": content, "isError": true }))
                }
            }
        };
        let result = self.cx.durable(&key, &asked, call).await?;
        let content = result["content"].as_str().unwrap_or_default().to_owned();
        Ok(Part::ToolResult { id, content, is_error: result["isError"] == true })
    }
}

/// A result as a model is told it.
fn told(value: &Value) -> String {
    cut(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_RESULT {
        let end = (0..=MAX_RESULT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str("[truncated]");
    }
    text
}

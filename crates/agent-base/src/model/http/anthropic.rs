//! Anthropic's messages.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use indexmap::IndexMap;
use orchestr8_schema::usage::Usage;
use reqwest::{Response, StatusCode};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    broken,
    connection::{Connection, InvalidProvider, json_of, of_status},
    count, names_of, object,
    stream::{Next, each_event},
};
use crate::{
    AgentError, SecretString,
    model::{
        ApiKey, Capabilities, ChatModel, ChatRequest, ChatResponse, DeltaSink, Message, ModelInfo, Part, Provider,
        Role, StopReason, ToolChoice, ToolRequest, WireNames,
    },
};

/// Anthropic's messages, and whoever speaks the same: `POST {apiBase}/v1/messages`.
#[derive(Clone, Debug)]
pub struct Anthropic {
    connection: Connection,
    key: ApiKey,
    native_schema: bool,
}

impl Anthropic {
    /// Where Anthropic is.
    pub const API_BASE: &'static str = "https://api.anthropic.com";
    /// The variable that the key is taken from by default.
    pub const KEY: &'static str = "ANTHROPIC_API_KEY";
    const VERSION: &'static str = "2023-06-01";
    /// The most marks of what may be cached that a request may have.
    const MAX_MARKS: usize = 4;

    /// Makes a provider of this key.
    ///
    /// # Errors
    ///
    /// [`InvalidProvider`] if the base is no URL, or not https and not on this machine.
    pub fn new(api_base: &str, key: ApiKey) -> Result<Self, InvalidProvider> {
        let version = IndexMap::from([("anthropic-version".to_owned(), Self::VERSION.to_owned())]);
        let connection = Connection::new(api_base)?.headers(&version)?;
        Ok(Self { connection, key, native_schema: true })
    }

    /// Sends these headers along.
    ///
    /// # Errors
    ///
    /// [`InvalidProvider`] if one of them is none.
    pub fn headers(mut self, headers: &IndexMap<String, String>) -> Result<Self, InvalidProvider> {
        self.connection = self.connection.headers(headers)?;
        Ok(self)
    }

    /// Sets how long an answer may take; by default only the attempt's own timeout counts.
    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.connection = self.connection.timeout(timeout);
        self
    }

    /// Sets whether models take JSON Schemas; default true.
    #[must_use]
    pub fn native_schema(mut self, native: bool) -> Self {
        self.native_schema = native;
        self
    }
}

impl Provider for Anthropic {
    fn model(&self, provider: &str, id: &str) -> Arc<dyn ChatModel> {
        let capabilities = Capabilities { native_schema: self.native_schema, ..Capabilities::all() };
        Arc::new(AnthropicModel { info: ModelInfo::new(provider, id, capabilities), provider: self.clone() })
    }
}

struct AnthropicModel {
    info: ModelInfo,
    provider: Anthropic,
}

#[async_trait]
impl ChatModel for AnthropicModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn key(&self) -> Option<SecretString> {
        self.provider.key.read().ok().flatten()
    }

    fn keyed(&self, key: SecretString) -> Option<Arc<dyn ChatModel>> {
        let provider = Anthropic { key: ApiKey::given(key), ..self.provider.clone() };
        Some(Arc::new(Self { info: self.info.clone(), provider }))
    }

    async fn chat(
        &self,
        request: ChatRequest,
        on_delta: Option<DeltaSink>,
        cancel: CancellationToken,
    ) -> Result<ChatResponse, AgentError> {
        let Anthropic { connection, key, .. } = &self.provider;
        let names = names_of(&request)?;
        let body = Value::Object(body(&self.info.model, &request, &names, on_delta.is_some()));
        let key = key.read()?.map(|key| ("x-api-key", "", key));
        let response = connection.post("v1/messages", key, &body, &cancel).await?;
        let request_id = response.headers().get("request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let message = match on_delta {
            Some(sink) => streamed(response, &sink, &cancel).await?,
            None => json_of(response, &cancel).await?,
        };
        Ok(ChatResponse { request_id, ..read(&message, &names)? })
    }
}

fn body(model: &str, request: &ChatRequest, names: &WireNames, streams: bool) -> Map<String, Value> {
    let mut marks = 0;
    let system: Vec<_> = request
        .system
        .iter()
        .map(|block| {
            marks += usize::from(block.cache);
            let cache = (block.cache && marks <= Anthropic::MAX_MARKS).then(|| json!({ "type": "ephemeral" }));
            object([("type", Some(json!("text"))), ("text", Some(json!(block.text))), ("cache_control", cache)])
        })
        .collect();
    let messages: Vec<_> = request.messages.iter().map(|message| written(message, names)).collect();
    let tools: Vec<_> = request
        .tools
        .iter()
        .map(|tool| {
            json!({
                "name": names.to_wire(&tool.name), "description": tool.description, "input_schema": tool.input_schema,
            })
        })
        .collect();
    let choice = match &request.tool_choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some(json!({ "type": "none" })),
        ToolChoice::Required => Some(json!({ "type": "any" })),
        ToolChoice::Tool(name) => Some(json!({ "type": "tool", "name": names.to_wire(name) })),
    };
    let format =
        request.output_schema.as_ref().map(|schema| json!({ "format": { "type": "json_schema", "schema": schema } }));
    let has_tools = !tools.is_empty();
    object([
        ("model", Some(json!(model))),
        ("max_tokens", Some(json!(request.max_tokens.unwrap_or(ChatRequest::MAX_TOKENS)))),
        ("system", (!system.is_empty()).then(|| json!(system))),
        ("messages", Some(json!(messages))),
        ("tools", has_tools.then(|| json!(tools))),
        ("tool_choice", choice.filter(|_| has_tools)),
        ("output_config", format),
        ("temperature", request.temperature.map(|temperature| json!(temperature))),
        ("stop_sequences", (!request.stop.is_empty()).then(|| json!(request.stop))),
        ("metadata", request.metadata.get("user_id").map(|user| json!({ "user_id": user }))),
        ("stream", streams.then(|| json!(true))),
    ])
}

fn written(message: &Message, names: &WireNames) -> Value {
    let role = match message.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let parts = message.parts.iter().filter_map(|part| match part {
        Part::Text { text } if text.is_empty() => None,
        Part::Text { text } => Some(json!({ "type": "text", "text": text })),
        Part::ToolCall(ToolRequest { id, name, arguments, .. }) => {
            let input = if arguments.is_object() { arguments.clone() } else { json!({}) };
            Some(json!({ "type": "tool_use", "id": id, "name": names.to_wire(name), "input": input }))
        }
        Part::ToolResult { id, content, is_error } => {
            Some(json!({ "type": "tool_result", "tool_use_id": id, "content": content, "is_error": is_error }))
        }
        Part::Opaque { provider, value } => (provider == "anthropic").then(|| value.clone()),
    });
    json!({ "role": role, "content": parts.collect::<Vec<_>>() })
}

/// Reads a whole message.
fn read(message: &Value, names: &WireNames) -> Result<ChatResponse, AgentError> {
    let content = message["content"].as_array().ok_or_else(|| broken("it has no content"))?;
    let text = |block: &Value, key: &str| block[key].as_str().unwrap_or_default().to_owned();
    let parts = content.iter().map(|block| match block["type"].as_str() {
        Some("text") => Part::Text { text: text(block, "text") },
        Some("tool_use") => {
            let name = names.from_wire(&text(block, "name"));
            let (arguments, unparsed) = match &block["input"] {
                Value::String(written) => (Value::Null, Some(written.clone())),
                input => (input.clone(), None),
            };
            Part::ToolCall(ToolRequest { id: text(block, "id"), name, arguments, unparsed })
        }
        _ => Part::Opaque { provider: "anthropic".to_owned(), value: block.clone() },
    });
    let stop_reason = match message["stop_reason"].as_str() {
        Some("tool_use") => StopReason::ToolUse,
        Some("max_tokens" | "model_context_window_exceeded") => StopReason::MaxTokens,
        Some("stop_sequence") => StopReason::StopSequence,
        Some("refusal") => StopReason::Refusal,
        Some(_) => StopReason::EndTurn,
        None => return Err(broken("it does not say why it stopped")),
    };
    let usage = &message["usage"];
    let mut response = ChatResponse::new(Message::of(Role::Assistant, parts.collect()), stop_reason);
    response.usage = Usage {
        cache_read_tokens: count(usage, "cache_read_input_tokens"),
        cache_creation_tokens: count(usage, "cache_creation_input_tokens"),
        ..Usage::new(count(usage, "input_tokens"), count(usage, "output_tokens"), 0.0)
    };
    response.model = text(message, "model");
    Ok(response)
}

/// Puts a message together that comes in events.
async fn streamed(response: Response, sink: &DeltaSink, cancel: &CancellationToken) -> Result<Value, AgentError> {
    let mut message = json!({});
    let mut blocks: Vec<Value> = Vec::new();
    // By block, the JSON of a tool's arguments as far as it is written.
    let mut inputs: Vec<String> = Vec::new();
    each_event(response, cancel, |event| {
        let index = event["index"].as_u64().unwrap_or(0) as usize;
        match event["type"].as_str() {
            Some("message_start") => message = event["message"].clone(),
            Some("content_block_start") if index == blocks.len() => {
                blocks.push(event["content_block"].clone());
                inputs.push(String::new());
            }
            Some("content_block_delta") => {
                let (Some(block), Some(input)) = (blocks.get_mut(index), inputs.get_mut(index)) else {
                    return Err(broken("an event of its stream names no block"));
                };
                append(block, input, &event["delta"], sink);
            }
            Some("content_block_stop") => {
                if let (Some(block), Some(input)) = (blocks.get_mut(index), inputs.get(index))
                    && block["type"] == "tool_use"
                    && !input.is_empty()
                {
                    block["input"] = serde_json::from_str(input).unwrap_or_else(|_| json!(input));
                }
            }
            Some("message_delta") => {
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                if let Value::Object(usage) = &event["usage"] {
                    for (key, value) in usage.iter().filter(|(_, value)| !value.is_null()) {
                        message["usage"][key] = value.clone();
                    }
                }
            }
            Some("message_stop") => return Ok(Next::Done),
            Some("error") => return Err(told(&event["error"])),
            _ => {}
        }
        Ok(Next::More)
    })
    .await?;
    message["content"] = json!(blocks);
    Ok(message)
}

fn append(block: &mut Value, input: &mut String, delta: &Value, sink: &DeltaSink) {
    let mut add = |key: &str| {
        let text = delta[key].as_str().unwrap_or_default();
        if let Value::String(known) = &mut block[key] {
            known.push_str(text);
        } else {
            block[key] = json!(text);
        }
    };
    match delta["type"].as_str() {
        Some("text_delta") => {
            add("text");
            sink(delta["text"].as_str().unwrap_or_default());
        }
        Some("thinking_delta") => add("thinking"),
        Some("signature_delta") => add("signature"),
        Some("input_json_delta") => input.push_str(delta["partial_json"].as_str().unwrap_or_default()),
        _ => {}
    }
}

/// An error within a stream, which has the status of a success.
fn told(error: &Value) -> AgentError {
    let name = error["type"].as_str();
    let status = match name {
        Some("invalid_request_error") => 400,
        Some("authentication_error") => 401,
        Some("permission_error") => 403,
        Some("not_found_error") => 404,
        Some("request_too_large") => 413,
        Some("rate_limit_error") => 429,
        Some("overloaded_error") => 529,
        _ => 500,
    };
    of_status(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), name, None, None)
}

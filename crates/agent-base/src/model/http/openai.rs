//! `OpenAI`'s chat completions, and whoever is compatible.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use indexmap::IndexMap;
use orchestr8_schema::{config::MaxTokensField, usage::Usage};
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

/// `OpenAI`'s chat completions, and whoever is compatible: `POST {apiBase}/chat/completions`.
#[derive(Clone, Debug)]
pub struct OpenAi {
    connection: Connection,
    key: ApiKey,
    native_schema: bool,
    max_tokens_field: MaxTokensField,
}

impl OpenAi {
    /// Where `OpenAI` is.
    pub const API_BASE: &'static str = "https://api.openai.com/v1";
    /// The variable that the key is taken from by default.
    pub const KEY: &'static str = "OPENAI_API_KEY";

    /// Makes a provider of this key.
    ///
    /// # Errors
    ///
    /// [`InvalidProvider`] if the base is no URL, or not https and not on this machine.
    pub fn new(api_base: &str, key: ApiKey) -> Result<Self, InvalidProvider> {
        let (native_schema, max_tokens_field) = (true, MaxTokensField::MaxCompletionTokens);
        Ok(Self { connection: Connection::new(api_base)?, key, native_schema, max_tokens_field })
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

    /// Sets how the most tokens of an answer are called; default `max_completion_tokens`.
    #[must_use]
    pub fn max_tokens_field(mut self, field: MaxTokensField) -> Self {
        self.max_tokens_field = field;
        self
    }
}

impl Provider for OpenAi {
    fn model(&self, provider: &str, id: &str) -> Arc<dyn ChatModel> {
        let capabilities =
            Capabilities { native_schema: self.native_schema, cache_marks: false, ..Capabilities::all() };
        Arc::new(OpenAiModel { info: ModelInfo::new(provider, id, capabilities), provider: self.clone() })
    }
}

struct OpenAiModel {
    info: ModelInfo,
    provider: OpenAi,
}

#[async_trait]
impl ChatModel for OpenAiModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn key(&self) -> Option<SecretString> {
        self.provider.key.read().ok().flatten()
    }

    fn keyed(&self, key: SecretString) -> Option<Arc<dyn ChatModel>> {
        let provider = OpenAi { key: ApiKey::given(key), ..self.provider.clone() };
        Some(Arc::new(Self { info: self.info.clone(), provider }))
    }

    async fn chat(
        &self,
        request: ChatRequest,
        on_delta: Option<DeltaSink>,
        cancel: CancellationToken,
    ) -> Result<ChatResponse, AgentError> {
        let OpenAi { connection, key, max_tokens_field, .. } = &self.provider;
        let names = names_of(&request)?;
        let body = Value::Object(body(&self.info.model, &request, &names, *max_tokens_field, on_delta.is_some()));
        let key = key.read()?.map(|key| ("authorization", "Bearer ", key));
        let response = connection.post("chat/completions", key, &body, &cancel).await?;
        let request_id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let completion = match on_delta {
            Some(sink) => streamed(response, &sink, &cancel).await?,
            None => json_of(response, &cancel).await?,
        };
        Ok(ChatResponse { request_id, ..read(&completion, &names)? })
    }
}

fn body(
    model: &str,
    request: &ChatRequest,
    names: &WireNames,
    max_tokens: MaxTokensField,
    streams: bool,
) -> Map<String, Value> {
    let system: Vec<_> = request.system.iter().map(|block| block.text.as_str()).collect();
    let system = (!system.is_empty()).then(|| json!({ "role": "system", "content": system.join("\n\n") }));
    let messages = system.into_iter().chain(request.messages.iter().flat_map(|message| written(message, names)));
    let messages: Vec<_> = messages.collect();
    let tools: Vec<_> = request
        .tools
        .iter()
        .map(|tool| {
            let name = names.to_wire(&tool.name);
            json!({
                "type": "function",
                "function": { "name": name, "description": tool.description, "parameters": tool.input_schema },
            })
        })
        .collect();
    let choice = match &request.tool_choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some(json!("none")),
        ToolChoice::Required => Some(json!("required")),
        ToolChoice::Tool(name) => Some(json!({ "type": "function", "function": { "name": names.to_wire(name) } })),
    };
    let format = request.output_schema.as_ref().map(|schema| {
        json!({
            "type": "json_schema",
            "json_schema": { "name": "answer", "schema": schema, "strict": is_strict(schema) },
        })
    });
    let has_tools = !tools.is_empty();
    let most = Some(json!(request.max_tokens.unwrap_or(ChatRequest::MAX_TOKENS)));
    let (completion, tokens) = match max_tokens {
        MaxTokensField::MaxCompletionTokens => (most, None),
        MaxTokensField::MaxTokens => (None, most),
    };
    object([
        ("model", Some(json!(model))),
        ("messages", Some(json!(messages))),
        ("tools", has_tools.then(|| json!(tools))),
        ("tool_choice", choice.filter(|_| has_tools)),
        ("response_format", format),
        ("max_completion_tokens", completion),
        ("max_tokens", tokens),
        ("temperature", request.temperature.map(|temperature| json!(temperature))),
        ("stop", (!request.stop.is_empty()).then(|| json!(request.stop))),
        ("stream", streams.then(|| json!(true))),
        ("stream_options", streams.then(|| json!({ "include_usage": true }))),
    ])
}

/// Whether a schema is one that is followed to the letter: every property of every object is required.
fn is_strict(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => {
            let required = map.get("required").and_then(Value::as_array);
            let is_required = |name: &String| required.is_some_and(|names| names.iter().any(|known| known == name));
            let properties = map.get("properties").and_then(Value::as_object);
            properties.is_none_or(|properties| properties.keys().all(is_required)) && map.values().all(is_strict)
        }
        Value::Array(items) => items.iter().all(is_strict),
        _ => true,
    }
}

/// A message may be several here: each result of a tool is one.
fn written(message: &Message, names: &WireNames) -> Vec<Value> {
    let text = message.text();
    match message.role {
        Role::User => {
            let results = message.parts.iter().filter_map(|part| match part {
                Part::ToolResult { id, content, is_error } => {
                    // There is no mark for it.
                    let content = if *is_error { format!("Error: {content}") } else { content.clone() };
                    Some(json!({ "role": "tool", "tool_call_id": id, "content": content }))
                }
                _ => None,
            });
            let mut messages: Vec<_> = results.collect();
            if messages.is_empty() || !text.is_empty() {
                messages.push(json!({ "role": "user", "content": text }));
            }
            messages
        }
        Role::Assistant => {
            let calls: Vec<_> = message
                .tool_requests()
                .map(|request| {
                    let written = request.unparsed.clone().unwrap_or_else(|| request.arguments.to_string());
                    let function = json!({ "name": names.to_wire(&request.name), "arguments": written });
                    json!({ "id": request.id, "type": "function", "function": function })
                })
                .collect();
            vec![Value::Object(object([
                ("role", Some(json!("assistant"))),
                ("content", Some(if text.is_empty() { Value::Null } else { json!(text) })),
                ("tool_calls", (!calls.is_empty()).then(|| json!(calls))),
            ]))]
        }
    }
}

/// Reads a whole completion.
fn read(completion: &Value, names: &WireNames) -> Result<ChatResponse, AgentError> {
    let choice = completion.pointer("/choices/0").ok_or_else(|| broken("it has no choice"))?;
    let message = &choice["message"];
    let mut parts = Vec::new();
    let refusal = message["refusal"].as_str().filter(|text| !text.is_empty());
    if let Some(text) = message["content"].as_str().or(refusal).filter(|text| !text.is_empty()) {
        parts.push(Part::Text { text: text.to_owned() });
    }
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let function = &call["function"];
        let name = names.from_wire(&text(&function["name"]));
        parts.push(Part::ToolCall(ToolRequest::read(text(&call["id"]), name, text(&function["arguments"]))));
    }
    let asks_for_tools = parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
    let stop_reason = match choice["finish_reason"].as_str() {
        _ if refusal.is_some() => StopReason::Refusal,
        Some("content_filter") => StopReason::Refusal,
        Some("length") => StopReason::MaxTokens,
        Some("tool_calls" | "function_call") => StopReason::ToolUse,
        // Some that are compatible say `stop` all the same.
        Some(_) if asks_for_tools => StopReason::ToolUse,
        Some(_) => StopReason::EndTurn,
        None => return Err(broken("it does not say why it stopped")),
    };
    let usage = &completion["usage"];
    let cached = count(&usage["prompt_tokens_details"], "cached_tokens");
    let mut response = ChatResponse::new(Message::of(Role::Assistant, parts), stop_reason);
    response.usage = Usage {
        cache_read_tokens: cached,
        // Tokens that were cached are counted as input, too.
        ..Usage::new(count(usage, "prompt_tokens").saturating_sub(cached), count(usage, "completion_tokens"), 0.0)
    };
    response.model = completion["model"].as_str().unwrap_or_default().to_owned();
    Ok(response)
}

/// A call of a tool as far as it is written.
#[derive(Default)]
struct Call {
    id: String,
    name: String,
    arguments: String,
}

/// Puts a completion together that comes in events.
async fn streamed(response: Response, sink: &DeltaSink, cancel: &CancellationToken) -> Result<Value, AgentError> {
    let (mut content, mut refusal) = (String::new(), String::new());
    let mut calls: BTreeMap<u64, Call> = BTreeMap::new();
    let (mut finish, mut model, mut usage) = (Value::Null, Value::Null, Value::Null);
    let read = each_event(response, cancel, |event| {
        if let Some(name) = event.get("error").filter(|error| !error.is_null()) {
            return Err(of_status(StatusCode::INTERNAL_SERVER_ERROR, name["type"].as_str(), None, None));
        }
        if !event["model"].is_null() {
            model = event["model"].clone();
        }
        if event["usage"].is_object() {
            usage = event["usage"].clone();
        }
        let choice = &event["choices"][0];
        if !choice["finish_reason"].is_null() {
            finish = choice["finish_reason"].clone();
        }
        let delta = &choice["delta"];
        if let Some(text) = delta["content"].as_str() {
            content.push_str(text);
            sink(text);
        }
        refusal.push_str(delta["refusal"].as_str().unwrap_or_default());
        for (place, part) in delta["tool_calls"].as_array().into_iter().flatten().enumerate() {
            let call = calls.entry(part["index"].as_u64().unwrap_or(place as u64)).or_default();
            let function = &part["function"];
            if let Some(id) = part["id"].as_str() {
                id.clone_into(&mut call.id);
            }
            call.name.push_str(function["name"].as_str().unwrap_or_default());
            call.arguments.push_str(function["arguments"].as_str().unwrap_or_default());
        }
        Ok(Next::More)
    })
    .await;
    match read {
        Err(error) => return Err(error),
        Ok(()) if finish.is_null() => return Err(broken("its stream does not say why it stopped")),
        Ok(()) => {}
    }
    let calls: Vec<_> = calls
        .into_values()
        .map(|Call { id, name, arguments }| json!({ "id": id, "function": { "name": name, "arguments": arguments } }))
        .collect();
    Ok(json!({
        "choices": [{
            "message": { "content": content, "refusal": refusal, "tool_calls": calls },
            "finish_reason": finish,
        }],
        "model": model,
        "usage": usage,
    }))
}

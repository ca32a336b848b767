//! What a model is asked, in a form that no provider owns.

use std::fmt;

use orchestr8_schema::canonical;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::tool::ToolSpec;

/// What a model is asked: system text, the conversation so far, tools, and what the answer is to be.
///
/// ```
/// use orchestr8_agent_base::model::{ChatRequest, Message};
///
/// let request = ChatRequest::new(Message::user("What is the capital of France?")).system("You answer in one word.");
/// assert_eq!(request.system.len(), 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct ChatRequest {
    /// What the model is told about its work. Parts that never change come first, so that providers can cache them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub system: Vec<SystemBlock>,
    /// The conversation so far; the last message is the user's.
    pub messages: Vec<Message>,
    /// What the model may call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ChatTool>,
    /// Whether it may, must or must not call one.
    pub tool_choice: ToolChoice,
    /// JSON Schema of the answer; absent for text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// The most tokens of the answer; absent for the provider's, which is [`ChatRequest::MAX_TOKENS`] unless configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// From 0 to 1; sent only when set, since some models refuse it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Texts that end the answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Further facts for the provider.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}

/// A part of the system text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SystemBlock {
    /// The text.
    pub text: String,
    /// Whether everything up to here may be cached by the provider.
    #[serde(default)]
    pub cache: bool,
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// What was said.
    pub parts: Vec<Part>,
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Whoever asks, and the tools.
    User,
    /// The model.
    Assistant,
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Part {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// The model asks for a call of a tool.
    ToolCall(ToolRequest),
    /// What the call gave.
    ToolResult {
        /// That of the request.
        id: String,
        /// The result, as text.
        content: String,
        /// Whether it failed.
        is_error: bool,
    },
    /// A part of the provider's own, such as its thinking, which goes back to it unchanged and to nobody else.
    Opaque {
        /// The kind of the provider.
        provider: String,
        /// The part as it was sent.
        value: Value,
    },
}

/// A request of a model for a call of a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ToolRequest {
    /// Names the request; its result bears the same.
    pub id: String,
    /// The tool's name, as it is registered.
    pub name: String,
    /// The arguments; null if the model has not written JSON.
    pub arguments: Value,
    /// What the model has written instead of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unparsed: Option<String>,
}

/// A tool, as a model is told of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ChatTool {
    /// Its name, as it is registered.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of its arguments.
    pub input_schema: Value,
}

/// Whether a model may call tools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ToolChoice {
    /// As it sees fit.
    #[default]
    Auto,
    /// It must not.
    None,
    /// It must, whichever.
    Required,
    /// It must, this one.
    Tool(String),
}

impl ChatRequest {
    /// The most tokens of an answer where nobody says: 4096.
    pub const MAX_TOKENS: u32 = 4096;

    /// Begins a conversation.
    #[must_use]
    pub fn new(message: Message) -> Self {
        Self { messages: vec![message], ..Self::default() }
    }

    /// Adds system text that may be cached.
    #[must_use]
    pub fn system(mut self, text: impl Into<String>) -> Self {
        self.system.push(SystemBlock { text: text.into(), cache: true });
        self
    }

    /// Adds a tool.
    #[must_use]
    pub fn tool(mut self, tool: ChatTool) -> Self {
        self.tools.push(tool);
        self
    }

    /// Asks for JSON of this schema.
    #[must_use]
    pub fn output_schema(mut self, schema: Value) -> Self {
        self.output_schema = Some(schema);
        self
    }

    /// Sets the most tokens of the answer.
    #[must_use]
    pub fn max_tokens(mut self, tokens: u32) -> Self {
        self.max_tokens = Some(tokens);
        self
    }

    /// Sets the temperature.
    #[must_use]
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.temperature = Some(temperature);
        self
    }

    /// Returns the digest of everything that the answer depends on: SHA-256, in hex, of its canonical JSON, in which the ids of tool calls are
    /// replaced by their order, since providers make them up.
    #[must_use]
    pub fn digest(&self) -> String {
        canonical::digest(&self.canonical())
    }

    /// Returns the request without ids, as digests and cassettes see it.
    pub(crate) fn canonical(&self) -> Value {
        let mut request = self.clone();
        request.metadata = Map::new();
        let mut ids: Vec<String> = Vec::new();
        for part in request.messages.iter_mut().flat_map(|message| &mut message.parts) {
            let (Part::ToolCall(ToolRequest { id, .. }) | Part::ToolResult { id, .. }) = part else { continue };
            let place = ids.iter().position(|known| known == id).unwrap_or_else(|| {
                ids.push(id.clone());
                ids.len() - 1
            });
            *id = place.to_string();
        }
        serde_json::to_value(&request).unwrap_or_default()
    }
}

impl SystemBlock {
    /// Makes a block.
    #[must_use]
    pub fn new(text: impl Into<String>, cache: bool) -> Self {
        Self { text: text.into(), cache }
    }
}

impl Message {
    /// Makes a text of the user's.
    #[must_use]
    pub fn user(text: impl Into<String>) -> Self {
        Self::of(Role::User, vec![Part::Text { text: text.into() }])
    }

    /// Makes a text of the model's.
    #[must_use]
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::of(Role::Assistant, vec![Part::Text { text: text.into() }])
    }

    /// Makes a message of parts.
    #[must_use]
    pub fn of(role: Role, parts: Vec<Part>) -> Self {
        Self { role, parts }
    }

    /// Returns its text, without the other parts.
    #[must_use]
    pub fn text(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text { text } => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// Lists the calls of tools that it asks for.
    pub fn tool_requests(&self) -> impl Iterator<Item = &ToolRequest> {
        self.parts.iter().filter_map(|part| match part {
            Part::ToolCall(request) => Some(request),
            _ => None,
        })
    }
}

impl ToolRequest {
    /// Makes a request.
    #[must_use]
    pub fn new(id: impl Into<String>, name: impl Into<String>, arguments: Value) -> Self {
        Self { id: id.into(), name: name.into(), arguments, unparsed: None }
    }

    /// Reads what a model has written as arguments. Nothing stands for none.
    #[cfg(feature = "http-models")]
    pub(crate) fn read(id: String, name: String, written: String) -> Self {
        match serde_json::from_str(if written.trim().is_empty() { "{}" } else { &written }) {
            Ok(arguments) => Self { id, name, arguments, unparsed: None },
            Err(_) => Self { id, name, arguments: Value::Null, unparsed: Some(written) },
        }
    }
}

impl From<&ToolSpec> for ChatTool {
    fn from(spec: &ToolSpec) -> Self {
        let input_schema = spec.input_schema.clone().unwrap_or_else(|| json!({ "type": "object" }));
        Self { name: spec.name.to_string(), description: spec.description.clone(), input_schema }
    }
}

impl fmt::Display for ToolChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::None => f.write_str("none"),
            Self::Required => f.write_str("required"),
            Self::Tool(name) => f.write_str(name),
        }
    }
}

//! The agent and the tools that ask HTTP servers.

use std::collections::BTreeMap;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{HttpInput, Web};
use crate::{
    Agent, AgentContext, AgentError, AgentManifest, AgentRegistry, Callee, Tool, ToolSpec, registry::RegisterError,
};

/// Adds the agent and both tools to a registry.
///
/// # Errors
///
/// [`RegisterError`] if one of them is there already.
pub fn register(registry: &mut AgentRegistry, web: &Web) -> Result<(), RegisterError> {
    registry.register(Http::new(web.clone()))?;
    registry.tools_mut().register(Http::new(web.clone()))?;
    registry.tools_mut().register(HttpGet::new(web.clone()))?;
    Ok(())
}

/// Makes any request: the agent `@orchestr8/http` and the tool `http.request`.
///
/// It takes [`HttpInput`] and gives `{status, headers, body | bodyBase64}`.
#[derive(Clone, Debug)]
pub struct Http(Web);

/// Makes a request that changes nothing: the tool `http.get`.
#[derive(Clone, Debug)]
pub struct HttpGet(Web);

/// What `http.get` takes.
#[derive(Deserialize, JsonSchema)]
struct GetInput {
    /// The absolute URL, http or https.
    url: String,
    /// Headers of the request.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// What is added to the query of the URL.
    #[serde(default)]
    query: BTreeMap<String, Value>,
}

impl Http {
    /// Makes it of who asks.
    #[must_use]
    pub fn new(web: Web) -> Self {
        Self(web)
    }
}

impl HttpGet {
    /// Makes it of who asks.
    #[must_use]
    pub fn new(web: Web) -> Self {
        Self(web)
    }
}

#[async_trait]
impl Agent for Http {
    fn manifest(&self) -> AgentManifest {
        AgentManifest::new("@orchestr8/http", "1.0.0", "Asks an HTTP server")
            .expect("id, version and description are well formed")
            .input::<HttpInput>()
            .output_schema(output_schema())
    }

    async fn execute(&self, input: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        self.0.ask(&decode(input)?, cx, Web::MAX_BODY, &cancel).await
    }
}

#[async_trait]
impl Tool for Http {
    fn spec(&self) -> ToolSpec {
        spec("http.request", "Asks an HTTP server").input::<HttpInput>()
    }

    async fn call(&self, arguments: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        self.0.ask(&decode(arguments)?, cx, Callee::MAX_TOOL_OUTPUT, &cancel).await
    }
}

#[async_trait]
impl Tool for HttpGet {
    fn spec(&self) -> ToolSpec {
        spec("http.get", "Reads from an HTTP server").input::<GetInput>().read_only().idempotent()
    }

    async fn call(&self, arguments: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        let GetInput { url, headers, query } = decode(arguments)?;
        let input = HttpInput { method: "GET".to_owned(), url, headers, query, ..HttpInput::default() };
        self.0.ask(&input, cx, Callee::MAX_TOOL_OUTPUT, &cancel).await
    }
}

fn decode<T: DeserializeOwned>(input: &Value) -> Result<T, AgentError> {
    T::deserialize(input).map_err(|source| AgentError::validation("the input does not decode").with_source(source))
}

fn spec(name: &str, description: &str) -> ToolSpec {
    ToolSpec::new(name, description).expect("the name is well formed").output_schema(output_schema())
}

fn output_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "status": { "type": "integer" },
            "headers": { "description": "By name in lower case.", "type": "object", "additionalProperties": { "type": "string" } },
            "body": { "description": "What is JSON parsed, else the text." },
            "bodyBase64": { "description": "A body that is no text.", "type": "string" }
        },
        "required": ["status", "headers"]
    })
}

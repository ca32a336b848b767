//! One server's tools.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use orchestr8_schema::{id::ToolName, json_schema::Violations};
use rmcp::model::CallToolRequestParams;
use serde_json::Value;
use tokio::{
    sync::Mutex,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::Connection,
    endpoint::Endpoint,
    result::{of_error, value_of},
    tools::Tools,
};
use crate::{AgentContext, AgentError, ToolSpec, tool::ToolNamespace};

/// The tools of one server.
///
/// ```
/// use std::sync::Arc;
/// use orchestr8_agent_base::{AgentRegistry, mcp::{Endpoint, McpClient}};
/// use orchestr8_schema::config::McpServer;
///
/// let server = McpServer::Program {
///     command: "npx".to_owned(),
///     args: vec!["@modelcontextprotocol/server-everything".to_owned()],
///     env: Default::default(),
///     cwd: None,
/// };
/// let endpoint = Endpoint::new(server, Arc::new(|text| Ok(text.to_owned())));
/// let mut registry = AgentRegistry::new();
/// registry.tools_mut().register_namespace("everything", Arc::new(McpClient::new("everything", endpoint)))?;
/// // Whether there is such a tool shows when it is called.
/// assert!(registry.tools().get(&"everything:echo".parse()?).is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct McpClient {
    server: String,
    endpoint: Endpoint,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    /// When it was connected to, the latest last.
    connected: VecDeque<Instant>,
}

impl McpClient {
    /// How long a server may take to be there and to list its tools.
    pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
    /// How often a server is connected to again within [`RESTART_WINDOW`](Self::RESTART_WINDOW).
    pub const MAX_RESTARTS: usize = 3;
    /// The time in which restarts are counted.
    pub const RESTART_WINDOW: Duration = Duration::from_secs(60);

    /// Makes the client of a server, without connecting. The name is the namespace of its tools.
    #[must_use]
    pub fn new(server: impl Into<String>, endpoint: Endpoint) -> Self {
        Self { server: server.into(), endpoint, state: Mutex::default() }
    }

    /// Returns the open connection, or opens one.
    async fn connection(&self) -> Result<Arc<Connection>, AgentError> {
        let mut state = self.state.lock().await;
        if let Some(connection) = state.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        state.connection = None;
        let now = Instant::now();
        while state.connected.front().is_some_and(|then| now.duration_since(*then) >= Self::RESTART_WINDOW) {
            state.connected.pop_front();
        }
        if state.connected.len() > Self::MAX_RESTARTS {
            let message = format!("the server `{}` of tools has ended too often", self.server);
            let wait =
                state.connected.front().map(|then| Self::RESTART_WINDOW.saturating_sub(now.duration_since(*then)));
            return Err(AgentError::network(message).with_retry_after(wait.unwrap_or(Self::RESTART_WINDOW)));
        }
        state.connected.push_back(now);
        let connection = Arc::new(Connection::open(&self.server, &self.endpoint).await?);
        state.connection = Some(Arc::clone(&connection));
        Ok(connection)
    }

    async fn tools(&self) -> Result<(Arc<Connection>, Arc<Tools>), AgentError> {
        let asking = async {
            let connection = self.connection().await?;
            let tools = connection.tools(&self.server).await?;
            Ok((connection, tools))
        };
        match time::timeout(Self::ANSWER_TIMEOUT, asking).await {
            Ok(answered) => answered,
            Err(_) => {
                let limit = Self::ANSWER_TIMEOUT.as_secs();
                Err(AgentError::network(format!("the server `{}` of tools did not answer in {limit} s", self.server)))
            }
        }
    }

    async fn call_at(&self, name: &ToolName, arguments: &Value) -> Result<Value, AgentError> {
        let (connection, tools) = self.tools().await?;
        let Some(tool) = tools.get(name) else {
            return Err(AgentError::not_found(format!("the server `{}` has no tool `{name}`", self.server)));
        };
        if let Some(schema) = &tool.input
            && let Err(violations) = schema.validate(arguments)
        {
            return Err(AgentError::validation(format!("the arguments do not fit: {}", Violations(&violations))));
        }
        let mut params = CallToolRequestParams::new(tool.name.clone());
        params.arguments = match arguments {
            Value::Object(arguments) => Some(arguments.clone()),
            Value::Null => None,
            _ => return Err(AgentError::validation("the arguments of a tool are an object")),
        };
        // When this future is dropped, the server is told that nobody waits.
        let called = connection.peer().call_tool_once(params).await;
        value_of(name.as_str(), called.map_err(|error| of_error(&self.server, error))?, tool.output.as_ref())
    }
}

#[async_trait]
impl ToolNamespace for McpClient {
    async fn list(&self) -> Result<Vec<ToolSpec>, AgentError> {
        let (_, tools) = self.tools().await?;
        Ok(tools.values().map(|tool| tool.spec.clone()).collect())
    }

    async fn call(
        &self,
        name: &ToolName,
        arguments: &Value,
        _: &AgentContext,
        cancel: CancellationToken,
    ) -> Result<Value, AgentError> {
        let called = cancel.run_until_cancelled(self.call_at(name, arguments)).await;
        called.unwrap_or_else(|| Err(AgentError::cancelled("cancelled while a tool was called")))
    }
}

impl fmt::Debug for McpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpClient")
            .field("server", &self.server)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

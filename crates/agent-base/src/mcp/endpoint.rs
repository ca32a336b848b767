//! Where a server is, and how it is reached.

use std::{env, fmt, sync::Arc};

use orchestr8_schema::config;
use reqwest::Client;
use rmcp::transport::{StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};

use crate::{AgentError, outgoing, process::Group};

/// Puts values in the places of `${VAR}` and of secret references, when a server is connected to.
pub type Expand = Arc<dyn Fn(&str) -> Result<String, AgentError> + Send + Sync>;

/// A server as settings name it, with what is needed to reach it.
#[derive(Clone)]
pub struct Endpoint {
    server: config::McpServer,
    expand: Expand,
}

/// A program that was started, and the ends of its pipes.
pub(super) struct Started {
    pub(super) group: Group,
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

pub(super) enum Reached {
    Program(Box<Started>),
    Service(StreamableHttpClientTransport<Client>),
}

impl Endpoint {
    /// Makes it of what the settings say.
    #[must_use]
    pub fn new(server: config::McpServer, expand: Expand) -> Self {
        Self { server, expand }
    }

    pub(super) fn reach(&self) -> Result<Reached, AgentError> {
        match &self.server {
            config::McpServer::Program { command, args, env, cwd } => {
                let mut child = Command::new((self.expand)(command)?);
                child.env_clear();
                for name in ["PATH", "LANG"] {
                    child.envs(env::var_os(name).map(|value| (name, value)));
                }
                for argument in args {
                    child.arg((self.expand)(argument)?);
                }
                for (name, value) in env {
                    child.env(name, (self.expand)(value)?);
                }
                if let Some(folder) = cwd {
                    child.current_dir((self.expand)(folder)?);
                }
                let started = || AgentError::network(format!("starting `{command}`"));
                let mut group = Group::start(&mut child).map_err(|error| started().with_source(error))?;
                let (Some(stdin), Some(stdout), Some(stderr)) = group.take_pipes() else { return Err(started()) };
                Ok(Reached::Program(Box::new(Started { group, stdin, stdout, stderr })))
            }
            config::McpServer::Service { url, headers } => {
                let expanded = headers.iter().map(|(name, value)| Ok((name, (self.expand)(value)?)));
                let headers = outgoing::headers(expanded.collect::<Result<Vec<_>, AgentError>>()?);
                let headers = headers.map_err(|error| AgentError::validation(error.to_string()).with_source(error))?;
                let client = outgoing::client()
                    .map_err(|error| AgentError::internal("making the HTTP client").with_source(error))?;
                let mut config = StreamableHttpClientTransportConfig::with_uri((self.expand)(url)?);
                config.custom_headers = headers.into_iter().filter_map(|(name, value)| Some((name?, value))).collect();
                Ok(Reached::Service(StreamableHttpClientTransport::with_client(client, config)))
            }
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers and variables may be secrets.
        let place = match &self.server {
            config::McpServer::Program { command, .. } => command,
            config::McpServer::Service { url, .. } => url,
        };
        f.debug_tuple("Endpoint").field(place).finish()
    }
}

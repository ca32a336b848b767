//! Where the server is that commands ask about executions.

use clap::Args;

use crate::{Error, client::Client};

/// The flags of every command that asks a server.
#[derive(Debug, Args)]
pub(crate) struct ServerAddress {
    #[arg(long, value_name = "URL", help = "Address of the server [default: http://127.0.0.1:<port>]")]
    server: Option<String>,
    /// Port of the server on this machine
    #[arg(
        long,
        env = "ORCHESTR8_SERVER_PORT",
        default_value_t = 8088,
        hide_env_values = true,
        conflicts_with = "server"
    )]
    port: u16,
}

impl ServerAddress {
    /// Returns the address.
    pub(crate) fn url(&self) -> String {
        self.server.clone().unwrap_or_else(|| format!("http://127.0.0.1:{}", self.port))
    }

    /// Begins to speak with the server, if one answers or its address was given.
    pub(crate) fn connect_if_any(&self) -> Result<Option<Client>, Error> {
        match self.connect() {
            Ok(client) => Ok(Some(client)),
            Err(_) if self.server.is_none() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Begins to speak with the server, with the token of the environment if there is one.
    pub(crate) fn connect(&self) -> Result<Client, Error> {
        let token = std::env::var("ORCHESTR8_TOKEN").ok().filter(|token| !token.is_empty());
        Client::connect(&self.url(), token)
    }
}

//! Where the server is that commands ask about executions.

use clap::Args;

use crate::{Error, client::Client, settings::Settings};

/// The flags of every command that asks a server.
#[derive(Debug, Args)]
pub(crate) struct ServerAddress {
    #[arg(long, value_name = "URL", help = "Address of the server [default: http://127.0.0.1:<port>]")]
    server: Option<String>,
    /// Port of the server on this machine [default: server.port of the settings, 8088]
    #[arg(long, conflicts_with = "server")]
    port: Option<u16>,
}

impl ServerAddress {
    /// Returns the address.
    pub(crate) fn url(&self, settings: &Settings) -> String {
        let port = self.port.unwrap_or(settings.config().server.port);
        self.server.clone().unwrap_or_else(|| format!("http://127.0.0.1:{port}"))
    }

    /// Begins to speak with the server, if one answers or its address was given.
    pub(crate) fn connect_if_any(&self, settings: &Settings) -> Result<Option<Client>, Error> {
        match self.connect(settings) {
            Ok(client) => Ok(Some(client)),
            Err(_) if self.server.is_none() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Begins to speak with the server, with the token of the environment if there is one.
    pub(crate) fn connect(&self, settings: &Settings) -> Result<Client, Error> {
        let token = std::env::var("ORCHESTR8_TOKEN").ok().filter(|token| !token.is_empty());
        Client::connect(&self.url(settings), token)
    }
}

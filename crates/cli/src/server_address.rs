//! Whom commands ask about executions: a server, or the data directory.

use clap::Args;

use crate::{
    Error,
    client::Client,
    context::Context,
    server_process::{self, Found},
};

/// The flags of every command that asks about executions, or changes them.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ServerAddress {
    /// Ask no server, but the data directory
    #[arg(long, conflicts_with_all = ["server", "port"])]
    local: bool,
    #[arg(
        long,
        value_name = "URL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        help = "Ask a server and nobody else [default: the one that runs]"
    )]
    server: Option<String>,
    /// Port of the server on this machine [default: server.port of the settings, 8088]
    #[arg(long, conflicts_with = "server")]
    port: Option<u16>,
}

impl ServerAddress {
    /// Asks a server if one runs, and the data directory otherwise.
    ///
    /// # Errors
    ///
    /// When a server was named and does not answer, or the store cannot be opened.
    pub(crate) fn client(&self, cx: &Context<'_>) -> Result<Client, Error> {
        match self.find(cx)? {
            Some(client) => Ok(client),
            None => in_process(cx),
        }
    }

    /// Looks for the server; none if the data directory is to be asked.
    ///
    /// # Errors
    ///
    /// When a server was asked for and there is none, or it is of another major version.
    pub(crate) fn find(&self, cx: &Context<'_>) -> Result<Option<Client>, Error> {
        if self.local {
            return Ok(None);
        }
        if let Some(url) = self.server.as_deref().filter(|url| !url.is_empty()) {
            let client = Client::connect(url, server_process::token())?;
            return cx.speaks_our_language(client).map(Some);
        }
        let is_needed = self.server.is_some() || self.port.is_some();
        match self.look(cx)? {
            Found::Running(client) => cx.speaks_our_language(*client).map(Some),
            _ if !is_needed => Ok(None),
            Found::Foreign(port) => Err(server_process::foreign(port)),
            Found::Mute(file) => Err(server_process::mute(&file)),
            Found::Absent => Err(Error::unreachable("no server runs").with_hint("orchestr8 start")),
        }
    }

    /// Looks for the server, wherever it may be.
    ///
    /// # Errors
    ///
    /// When the settings name no address.
    pub(crate) fn look(&self, cx: &Context<'_>) -> Result<Found, Error> {
        let server = &cx.settings.config().server;
        match self.port {
            // Whoever names a port does not mean the server of the data directory.
            Some(port) => server_process::find(None, &server.host, port),
            None => server_process::find(cx.data().ok().as_ref(), &server.host, server.port),
        }
    }

    /// Whether no server is to be asked.
    #[cfg(feature = "server")]
    pub(crate) fn is_local(&self) -> bool {
        self.local
    }

    /// Whether a server has to be asked.
    #[cfg(feature = "server")]
    pub(crate) fn is_demanded(&self) -> bool {
        self.server.is_some()
    }

    /// The port that was named.
    #[cfg(feature = "server")]
    pub(crate) fn port(&self) -> Option<u16> {
        self.port
    }

    /// The address of a server that was named.
    pub(crate) fn named(&self) -> Option<&str> {
        self.server.as_deref().filter(|url| !url.is_empty())
    }
}

/// Answers from the store of the data directory.
#[cfg(feature = "server")]
fn in_process(cx: &Context<'_>) -> Result<Client, Error> {
    Client::in_process(cx.engine()?)
}

/// Only a server has the routes.
#[cfg(not(feature = "server"))]
fn in_process(_: &Context<'_>) -> Result<Client, Error> {
    Err(Error::unreachable("no server runs, and this program is built without one"))
}

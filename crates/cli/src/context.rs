//! What every command is given beside its arguments.

#[cfg(feature = "server")]
use std::{
    ffi::OsString,
    sync::{Arc, OnceLock},
};
use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};

use orchestr8_agent_base::AgentRegistry;
use orchestr8_core::{Engine, engine::EngineBuilder, store::SqliteStore};
#[cfg(feature = "server")]
use orchestr8_schema::ValidWorkflow;
use orchestr8_schema::config::AccessPolicy;

use crate::{
    Error, agents::Agents, catalogue::Catalogue, client::Client, data::DataDir, server_process, settings::Settings,
    ui::Ui, workflow_folder::normalize,
};

/// What every command is given beside its arguments.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// What is printed with.
    pub(crate) ui: Ui,
    /// The settings.
    pub(crate) settings: &'a Settings,
    /// The agents and tools of the program.
    pub(crate) agents: &'a Agents,
    /// The data directory that was named.
    pub(crate) data_dir: Option<&'a Path>,
    /// The flags that say where settings are, for a server that is started.
    #[cfg(feature = "server")]
    pub(crate) global: Vec<OsString>,
}

impl Context<'_> {
    /// Finds the data directory.
    ///
    /// # Errors
    ///
    /// When nothing says where it is.
    pub(crate) fn data(&self) -> Result<DataDir, Error> {
        DataDir::find(self.data_dir, self.settings.config().journal.clone())
    }

    /// Makes an engine on the store of the data directory.
    ///
    /// # Errors
    ///
    /// When the store cannot be opened.
    pub(crate) fn engine(&self) -> Result<Engine, Error> {
        self.engine_on(self.data()?.open_store()?)
    }

    /// Makes an engine on a store.
    ///
    /// # Errors
    ///
    /// When the agents cannot be registered.
    pub(crate) fn engine_on(&self, store: SqliteStore) -> Result<Engine, Error> {
        // Whoever runs the file may do with the secrets what the file says.
        build(self.builder(store, &self.settings.config().policy.secrets)?)
    }

    /// Makes an engine on a store that executes what anybody sends it: of the secrets it gives out what the settings name, and nothing else. Where they
    /// name none, workflows of the catalogue are given what they list.
    ///
    /// # Errors
    ///
    /// When the agents cannot be registered.
    #[cfg(feature = "server")]
    pub(crate) fn serving_engine_on(
        &self,
        store: SqliteStore,
        catalogue: Arc<OnceLock<Catalogue>>,
    ) -> Result<Engine, Error> {
        let mut secrets = self.settings.config().policy.secrets.clone();
        let is_open = secrets.allow.is_none();
        secrets.allow.get_or_insert_default();
        let builder = self.builder(store, &secrets)?.metrics(true);
        let offers = move |workflow: &ValidWorkflow| catalogue.get().is_some_and(|known| known.offers(workflow));
        build(if is_open { builder.trusted(offers) } else { builder })
    }

    fn builder(&self, store: SqliteStore, secrets: &AccessPolicy) -> Result<EngineBuilder, Error> {
        let config = self.settings.config();
        Ok(Engine::builder()
            .registry(self.agents.registry()?)
            .secrets(self.agents.secrets().policy(secrets))
            .tool_policy(config.policy.tools.clone())
            .content_in_spans(config.telemetry.content)
            .store(store)
            .max_concurrent_steps(config.execution.max_concurrent)
            .default_timeout(config.execution.default_timeout.as_duration()))
    }

    /// Makes the catalogue of the settings, or of other files and folders. The agents are those of an engine.
    ///
    /// # Errors
    ///
    /// When there is no working directory.
    #[cfg_attr(not(feature = "server"), expect(dead_code, reason = "only a server has a catalogue"))]
    pub(crate) fn catalogue(&self, others: &[PathBuf], agents: &AgentRegistry) -> Result<Catalogue, Error> {
        let places = match others {
            [] => self.settings.paths("workflows.paths", &self.settings.config().workflows.paths),
            others => others.to_vec(),
        };
        // So that each file has one name.
        let whole = places.iter().map(|place| std::path::absolute(place).map(|place| normalize(&place)));
        let whole = whole.collect::<Result<_, _>>();
        let whole = whole.map_err(|error| Error::unreachable("there is no working directory").with_source(error))?;
        Ok(Catalogue::with_prompts(whole, agents.clone(), self.agents.inline_prompts().into_folders()))
    }

    /// Has something changed. If another process drives what is to be changed, the server in that process is asked.
    ///
    /// # Errors
    ///
    /// What the change fails with; if that process serves nobody, an error that names it.
    pub(crate) fn change<T>(
        &self,
        client: Client,
        change: impl Fn(&Client) -> Result<T, Error>,
    ) -> Result<(T, Client), Error> {
        match change(&client) {
            Ok(answer) => Ok((answer, client)),
            Err(error) => match error.holder().and_then(|process| self.server_of(process)) {
                Some(client) => Ok((change(&client)?, client)),
                None => Err(error),
            },
        }
    }

    /// Finds the server that a process of this machine is, if it is one.
    pub(crate) fn server_of(&self, process: u32) -> Option<Client> {
        let client = server_process::of_process(&self.data().ok()?, process)?;
        self.speaks_our_language(client).ok()
    }

    /// Sees to it that a server is of a version that this program can speak with.
    ///
    /// # Errors
    ///
    /// When its major version is another one.
    pub(crate) fn speaks_our_language(&self, client: Client) -> Result<Client, Error> {
        let (theirs, ours) = (&client.health().version, env!("CARGO_PKG_VERSION"));
        let part = |version: &str, index| version.split('.').nth(index).unwrap_or_default().to_owned();
        if part(theirs, 0) != part(ours, 0) {
            return Err(Error::unreachable(format!("the server is orchestr8 {theirs}, and this is {ours}"))
                .with_hint("orchestr8 restart"));
        }
        if part(theirs, 1) != part(ours, 1) {
            self.ui.warn(&format!("the server is orchestr8 {theirs}, and this is {ours}"));
        }
        Ok(client)
    }
}

fn build(builder: EngineBuilder) -> Result<Engine, Error> {
    builder.build().map_err(|error| Error::internal("making the engine").with_source(error))
}

/// Whether a person is there who can be asked, and shown a browser.
pub(crate) fn is_interactive() -> bool {
    let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    !in_ci && io::stdin().is_terminal() && io::stderr().is_terminal()
}

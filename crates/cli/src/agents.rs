//! The agents of the program: those that it brings along, those of its settings, and those that its author adds.

use std::{env, fmt, path::PathBuf, sync::Arc};

use futures_util::future::join_all;
use indexmap::IndexMap;
use orchestr8_agent_base::{
    AgentError, AgentManifest, AgentRegistry, Secrets, builtin, example_agents,
    http::{self, ServiceAgent, Web},
    llm::{self, Guardrails, Subject},
    mcp::{Endpoint, McpClient},
    process::{self, ProgramAgent, ProgramCall, Programs, ShellTool},
    prompt::PromptFiles,
    registry::RegisterError,
    research::Research,
};
use orchestr8_schema::{
    AgentId,
    config::{Config, ExternalAgent},
};
use serde_json::Value;
use tokio::runtime::Builder;

use crate::{Error, ErrorKind, inline_prompts::InlinePrompts, models::models, placeholder, telemetry};

type Registration = Arc<dyn Fn(&mut AgentRegistry) -> Result<(), Error> + Send + Sync>;

/// The agents and tools of a program.
#[derive(Clone, Default)]
pub(crate) struct Agents {
    added: Vec<Registration>,
    guardrails: Guardrails,
    config: Arc<Config>,
    /// The data directory, where there is one.
    home: Option<PathBuf>,
}

/// Where an agent comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The program brings it along.
    BuiltIn,
    /// The settings name a service.
    Service(String),
    /// The settings name a program.
    Program(String),
    /// Whoever made this program added it.
    Added,
}

impl Agents {
    pub(crate) fn add(&mut self, register: Registration) {
        self.added.push(register);
    }

    pub(crate) fn add_guardrail(
        &mut self,
        rule: &str,
        check: impl Fn(Subject<'_>) -> Option<String> + Send + Sync + 'static,
    ) {
        self.guardrails = std::mem::take(&mut self.guardrails).check(rule, check);
    }

    /// The same under these settings, with this data directory.
    pub(crate) fn configured(&self, config: Config, home: Option<PathBuf>) -> Self {
        let (added, guardrails) = (self.added.clone(), self.guardrails.clone());
        Self { added, guardrails, config: Arc::new(config), home }
    }

    /// Where secrets come from, whoever may ask for them.
    pub(crate) fn secrets(&self) -> Secrets {
        match &self.home {
            Some(home) => Secrets::environment().file(home.join("secrets.json")),
            None => Secrets::environment(),
        }
    }

    /// Where prompts are that workflow files name, beside the file.
    pub(crate) fn inline_prompts(&self) -> InlinePrompts {
        InlinePrompts::new(self.config.prompts.paths.iter().map(PathBuf::from).chain(self.home.clone()).collect())
    }

    /// Where prompts are that a workflow names. Those of the user are all that is read: a workflow may be anybody's.
    fn prompts(&self) -> PromptFiles {
        PromptFiles::new(self.config.prompts.paths.iter().map(PathBuf::from).chain(self.home.clone())).confined()
    }

    /// Makes their registry, with the models that they may ask.
    pub(crate) fn registry(&self) -> Result<AgentRegistry, Error> {
        let mut registry = self.without_models()?;
        registry.set_models(Some(models(&self.config, &self.secrets())));
        Ok(registry)
    }

    /// Makes their registry where nobody is asked, so that it does not matter who could be. A service of the settings that does not say who it is has no place in it, and the log says why.
    pub(crate) fn without_models(&self) -> Result<AgentRegistry, Error> {
        let mut registry = self.brought_along()?;
        for register in &self.added {
            register(&mut registry)?;
        }
        self.register_external(&mut registry)?;
        Ok(registry)
    }

    /// Makes the registry of those that reach nothing beyond the process where nothing else does: the agents that ask models, too, if the
    /// models are made up.
    pub(crate) fn within_process(&self) -> Result<AgentRegistry, Error> {
        let mut registry = built_in()?;
        self.register_askers(&mut registry)?;
        Ok(registry)
    }

    /// Tells where the agents of the registry come from.
    pub(crate) fn sources(&self) -> Result<impl Fn(&AgentId) -> Source, Error> {
        let brought_along = self.brought_along()?;
        Ok(move |id: &AgentId| match self.config.agents.get(id) {
            Some(ExternalAgent::Service { url, .. }) => Source::Service(url.clone()),
            Some(ExternalAgent::Program { command, .. }) => Source::Program(command.clone()),
            None if brought_along.latest(id).is_some() => Source::BuiltIn,
            None => Source::Added,
        })
    }

    /// What the program has itself: what stays within it, and what reaches beyond it as far as the policies let it.
    fn brought_along(&self) -> Result<AgentRegistry, Error> {
        let mut registry = built_in()?;
        http::register(&mut registry, &Web::new(self.config.policy.http.clone())).map_err(unregistered)?;
        let programs = self.programs();
        process::register(&mut registry, &programs).map_err(unregistered)?;
        self.register_askers(&mut registry)?;
        for (name, tool) in &self.config.tools {
            let tool = ShellTool::new(programs.clone(), name.clone(), tool);
            registry.tools_mut().register(tool).map_err(|error| misconfigured(&format!("tools.{name}"), error))?;
        }
        for (name, server) in &self.config.mcp.servers {
            let secrets = self.secrets();
            let expand = move |text: &str| placeholder::expanded(&secrets, text);
            let endpoint = Endpoint::new(server.clone(), Arc::new(expand));
            let client = Arc::new(McpClient::new(name, endpoint));
            let registered = registry.tools_mut().register_namespace(name, client);
            registered.map_err(|error| misconfigured(&format!("mcp.servers.{name}"), error))?;
        }
        Ok(registry)
    }

    /// Those that ask models.
    fn register_askers(&self, registry: &mut AgentRegistry) -> Result<(), Error> {
        llm::register_guarded(registry, self.prompts(), &self.guardrails).map_err(unregistered)?;
        let research = Research::new(self.prompts());
        let research = research.map_err(|error| Error::internal("making the research agent").with_source(error))?;
        registry.register(research).map_err(unregistered)
    }

    fn programs(&self) -> Programs {
        Programs::new(self.config.policy.process.clone())
    }

    fn register_external(&self, registry: &mut AgentRegistry) -> Result<(), Error> {
        let mut services = Vec::new();
        for (id, agent) in &self.config.agents {
            if registry.latest(id).is_some() {
                return Err(Error::new(ErrorKind::Invalid, format!("there are two agents {id}"))
                    .with_hint(format!("give the one of agents.{id} in the settings another id")));
            }
            match agent {
                ExternalAgent::Service { url, headers } => services.push((id, url, headers)),
                ExternalAgent::Program { command, args, env, manifest } => {
                    let mut call = ProgramCall::new(command);
                    call.args.clone_from(args);
                    call.env = env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
                    let manifest = AgentManifest::from_value(&Value::Object(manifest.clone()))
                        .map_err(|error| misconfigured(&format!("agents.{id}.manifest"), error))?;
                    if manifest.id != *id {
                        let message = format!("agents.{id}.manifest has the id {}", manifest.id);
                        return Err(Error::new(ErrorKind::Invalid, message));
                    }
                    let agent = ProgramAgent::new(self.programs(), call, manifest);
                    registry.register(agent).map_err(|error| misconfigured(&format!("agents.{id}"), error))?;
                }
            }
        }
        for (id, connected) in services.iter().map(|(id, ..)| id).zip(connect(&services, &self.secrets())?) {
            match connected {
                Ok(agent) => registry.register(agent).map_err(|error| misconfigured(&format!("agents.{id}"), error))?,
                Err(error) => tracing::error!(
                    agent = %id, error = &error as &dyn std::error::Error,
                    "the service does not say who it is, so there is no such agent"
                ),
            }
        }
        Ok(())
    }
}

type Service<'s> = (&'s AgentId, &'s String, &'s IndexMap<String, String>);

/// Asks all services at once who they are.
fn connect(services: &[Service<'_>], secrets: &Secrets) -> Result<Vec<Result<ServiceAgent, AgentError>>, Error> {
    if services.is_empty() {
        return Ok(Vec::new());
    }
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::internal("starting the runtime").with_source(error))?;
    let asked = services.iter().map(|(id, url, headers)| async move {
        let expanded = headers.iter().map(|(name, value)| Ok((name.as_str(), placeholder::expanded(secrets, value)?)));
        let headers = expanded.collect::<Result<Vec<_>, AgentError>>()?;
        let headers = headers.iter().map(|(name, value)| (*name, value.as_str()));
        Ok(ServiceAgent::connect(id, url, headers).await?.traced(telemetry::traceparent))
    });
    Ok(runtime.block_on(join_all(asked)))
}

impl fmt::Debug for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agents").field("added", &self.added.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::Service(url) => write!(f, "service {url}"),
            Self::Program(command) => write!(f, "program {command}"),
            Self::Added => f.write_str("this program"),
        }
    }
}

pub(crate) fn unregistered(error: RegisterError) -> Error {
    Error::internal("registering the agents").with_source(error)
}

fn misconfigured(key: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Invalid, format!("{key} in the settings cannot be used")).with_source(error)
}

/// Makes the registry of the agents that stay within the process, configured by its environment. Those that reach beyond it are not
/// among them: they are under the policies of somebody's settings.
///
/// # Errors
///
/// When two of them have the same id and version, or the environment configures one in a way that breaks its schema.
pub fn built_in() -> Result<AgentRegistry, Error> {
    let variables =
        env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut registry = AgentRegistry::with_environment(variables);
    let registered = builtin::register(&mut registry).and_then(|()| example_agents::register(&mut registry));
    registered.map_err(unregistered)?;
    Ok(registry)
}

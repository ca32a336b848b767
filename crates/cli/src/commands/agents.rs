//! `orchestr8 agents`

use clap::{Args, Subcommand};
use orchestr8_agent_base::{AgentManifest, AgentRegistry, prompt::Question, registry::RegisteredAgent};
use orchestr8_schema::{AgentId, workflow::VersionRange};
use serde_json::{Value, json};

use super::{
    install::{InstallArgs, UninstallArgs, install_agents, uninstall_agents},
    signal::json_or_file,
};
use crate::{
    Error, Exit,
    agents::{Agents, Source},
    ui::Ui,
};

/// Shows the agents that workflow files may name.
#[derive(Debug, Args)]
pub struct AgentsArgs {
    #[command(subcommand)]
    command: AgentsCommand,
}

#[derive(Debug, Subcommand)]
enum AgentsCommand {
    /// Lists them, by id
    List,
    /// Shows what one takes, gives and promises
    Inspect(InspectArgs),
    /// Installs research agents into the `.claude` folder of a repository
    Install(InstallArgs),
    /// Takes back what `install` has done
    Uninstall(UninstallArgs),
}

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  orchestr8 agents inspect @orchestr8/echo\n  \
                             orchestr8 agents inspect @orchestr8/hello-world --json\n  \
                             orchestr8 agents inspect @orchestr8/summarizer --prompt --input '{\"text\": \"…\"}'")]
struct InspectArgs {
    /// The agent's id: `@scope/name`
    #[arg(value_name = "ID")]
    id: AgentId,
    /// A version, or a range of versions
    #[arg(long, value_name = "RANGE", default_value = "latest")]
    version: VersionRange,
    /// Show what the agent would ask its model, and which model that is, without asking
    #[arg(long)]
    prompt: bool,
    /// The input that it would be asked about: JSON, or a file of it [default: an empty object]
    #[arg(long, value_name = "JSON|@PATH", requires = "prompt")]
    input: Option<String>,
    /// What a step would say in the agent's `config`: JSON, or a file of it
    #[arg(long, value_name = "JSON|@PATH", requires = "prompt")]
    agent_config: Option<String>,
}

pub(crate) fn agents(ui: Ui, args: &AgentsArgs, agents: &Agents) -> Result<Exit, Error> {
    match &args.command {
        AgentsCommand::List => list(ui, agents),
        AgentsCommand::Inspect(args) => inspect(ui, args, agents),
        AgentsCommand::Install(args) => install_agents(ui, args),
        AgentsCommand::Uninstall(args) => uninstall_agents(ui, args),
    }
}

fn list(ui: Ui, agents: &Agents) -> Result<Exit, Error> {
    let registry = agents.registry()?;
    let manifests: Vec<_> = registry.list().map(|agent| agent.manifest()).collect();
    let source = agents.sources()?;
    if ui.is_json() {
        let listed = manifests.iter().map(|manifest| {
            let mut listed = json!(manifest);
            listed["source"] = source(&manifest.id).to_string().into();
            listed
        });
        ui.print_json(&json!({ "agents": listed.collect::<Vec<_>>() }))?;
        return Ok(Exit::Success);
    }
    let width = manifests.iter().map(|manifest| manifest.id.to_string().len()).max().unwrap_or(0);
    for manifest in manifests {
        let (id, version) = (manifest.id.to_string(), manifest.version.to_string());
        let source = match source(&manifest.id) {
            Source::BuiltIn => String::new(),
            elsewhere => format!(" ({elsewhere})"),
        };
        ui.print(&format!("{id:width$}  {version}  {}{source}", manifest.description))?;
    }
    Ok(Exit::Success)
}

fn inspect(ui: Ui, args: &InspectArgs, agents: &Agents) -> Result<Exit, Error> {
    let registry = agents.registry()?;
    let Some(agent) = registry.get(&args.id, &args.version) else {
        let versions: Vec<_> = registry.versions(&args.id).map(ToString::to_string).collect();
        let message = if versions.is_empty() {
            format!("there is no agent {}", args.id)
        } else {
            format!("{} has no version {}; there are {}", args.id, args.version, versions.join(", "))
        };
        return Err(Error::usage(message).with_hint("orchestr8 agents list"));
    };
    if args.prompt {
        return show_prompt(ui, args, agent, &registry);
    }
    let manifest = agent.manifest();
    if ui.is_json() {
        ui.print_json(manifest)?;
        return Ok(Exit::Success);
    }
    ui.print(&summary(manifest))?;
    ui.print(&manifest.description)?;
    let tags = Some(manifest.tags.join(", ")).filter(|tags| !tags.is_empty());
    for (name, told) in
        [("name", &manifest.name), ("author", &manifest.author), ("license", &manifest.license), ("tags", &tags)]
    {
        if let Some(told) = told {
            ui.print(&format!("{name}: {told}"))?;
        }
    }
    if !manifest.capabilities.is_empty() {
        ui.print("\ncapabilities")?;
    }
    for capability in &manifest.capabilities {
        let required = if capability.required { " (required)" } else { "" };
        ui.print(&format!("{}{required}: {}", capability.name, capability.description))?;
    }
    for (name, schema) in
        [("input", &manifest.input_schema), ("output", &manifest.output_schema), ("config", &manifest.config_schema)]
    {
        if let Some(schema) = schema {
            ui.print(&format!("\n{name}\n{schema:#}"))?;
        }
    }
    Ok(Exit::Success)
}

/// Shows what the agent would ask, and whom.
fn show_prompt(ui: Ui, args: &InspectArgs, agent: &RegisteredAgent, registry: &AgentRegistry) -> Result<Exit, Error> {
    let id = &args.id;
    let read = |text: &Option<String>| text.as_deref().map(json_or_file).transpose();
    let input = read(&args.input)?.unwrap_or_else(|| json!({}));
    let config = match read(&args.agent_config)? {
        None => None,
        Some(Value::Object(config)) => Some(config),
        Some(_) => return Err(Error::usage("the configuration of an agent is an object")),
    };
    let config = agent
        .configure(config.as_ref())
        .map_err(|error| Error::usage(format!("{id} cannot be configured so")).with_source(error))?;
    let Some(question) = agent.agent().question(&input, &config) else {
        return Err(Error::usage(format!("{id} has no prompt")).with_hint(format!("orchestr8 agents inspect {id}")));
    };
    let question =
        question.map_err(|error| Error::usage(format!("the prompt of {id} cannot be made")).with_source(error))?;
    let Question { composed, model, provider, output_schema, .. } = question;
    let models = registry.models().cloned().unwrap_or_default();
    let resolved = models.resolve(model.as_deref(), provider.as_deref());
    if ui.is_json() {
        let model = match &resolved {
            Ok(found) => json!({ "provider": found.provider, "id": found.model, "resolution": *found.chain }),
            Err(error) => json!({ "error": error.to_string(), "help": error.help() }),
        };
        let system: Vec<_> = composed.system.iter().map(|block| block.text.as_str()).collect();
        let (agent, user) = (agent.manifest(), composed.user);
        ui.print_json(&json!({
            "agent": agent.id, "version": agent.version, "model": model, "system": system, "user": user,
            "outputSchema": output_schema,
        }))?;
        return Ok(Exit::Success);
    }
    match resolved {
        Ok(found) => ui.print(&format!("model\n{} of {}: {}", found.model, found.provider, found.chain.join("; ")))?,
        Err(error) => ui.print(&format!("model\nnone: {error}; {}", error.help()))?,
    }
    if !composed.system.is_empty() {
        ui.print(&format!("\nsystem\n{}", composed.system_text()))?;
    }
    ui.print(&format!("\nuser\n{}", composed.user))?;
    if let Some(schema) = output_schema {
        ui.print(&format!("\noutput\n{schema:#}"))?;
    }
    Ok(Exit::Success)
}

/// `@orchestr8/echo 1.0.0 · input: any · output: any · idempotent`
fn summary(manifest: &AgentManifest) -> String {
    let promises = [
        (manifest.idempotent, "idempotent"),
        (manifest.irreversible, "irreversible"),
        (!manifest.retryable, "never retried"),
        (manifest.dedicated_task, "in a task of its own"),
    ];
    let mut parts = vec![
        format!("{} {}", manifest.id, manifest.version),
        format!("input: {}", shape(manifest.input_schema.as_ref())),
        format!("output: {}", shape(manifest.output_schema.as_ref())),
    ];
    parts.extend(manifest.timeout.map(|timeout| format!("timeout: {timeout}")));
    parts.extend(promises.into_iter().filter(|(is_made, _)| *is_made).map(|(_, promise)| promise.to_owned()));
    parts.join(" · ")
}

/// Says in a few words what a schema takes: `{data, expression}`, with `?` after what may be absent.
fn shape(schema: Option<&Value>) -> String {
    let Some(schema) = schema else { return "any".to_owned() };
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return schema.get("type").and_then(Value::as_str).unwrap_or("any").to_owned();
    };
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|known| known == name));
    let names = properties.keys().map(|name| if is_required(name) { name.clone() } else { format!("{name}?") });
    format!("{{{}}}", names.collect::<Vec<_>>().join(", "))
}

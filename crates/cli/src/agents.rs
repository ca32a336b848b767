//! The agents that the program brings along.

use orchestr8_agent_base::{AgentRegistry, builtin, example_agents};

use crate::Error;

/// Makes the registry of the agents that every workflow file may name, configured by the environment of this process.
///
/// # Errors
///
/// When two of them have the same id and version, or the environment configures one in a way that breaks its schema.
pub fn built_in() -> Result<AgentRegistry, Error> {
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut registry = AgentRegistry::with_environment(variables);
    let registered = builtin::register(&mut registry).and_then(|()| example_agents::register(&mut registry));
    registered.map_err(|error| Error::internal("registering the agents").with_source(error))?;
    Ok(registry)
}

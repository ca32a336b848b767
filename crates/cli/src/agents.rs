//! The agents that the program brings along.

use std::fmt;

use orchestr8_agent_base::{AgentRegistry, builtin, example_agents, registry::RegisterError};

use crate::Error;

type Registration = Box<dyn Fn(&mut AgentRegistry) -> Result<(), RegisterError> + Send + Sync>;

/// The agents and tools of a program: those that it brings along, and those that its author adds.
#[derive(Default)]
pub(crate) struct Agents(Vec<Registration>);

impl Agents {
    pub(crate) fn add(&mut self, register: Registration) {
        self.0.push(register);
    }

    /// Makes their registry.
    pub(crate) fn registry(&self) -> Result<AgentRegistry, Error> {
        let mut registry = built_in()?;
        for register in &self.0 {
            register(&mut registry).map_err(unregistered)?;
        }
        Ok(registry)
    }
}

impl fmt::Debug for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agents").field("added", &self.0.len()).finish_non_exhaustive()
    }
}

fn unregistered(error: RegisterError) -> Error {
    Error::internal("registering the agents").with_source(error)
}

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
    registered.map_err(unregistered)?;
    Ok(registry)
}

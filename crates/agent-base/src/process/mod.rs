//! Running programs, as agents and as tools, as far as a policy allows it.
//!
//! | agent | tool | what it runs |
//! |---|---|---|
//! | `@orchestr8/process` | `process.run` | a program with its arguments, without a shell |
//! | `@orchestr8/shell` | `shell.run` | a command of `sh` |
//!
//! A [`ShellTool`] is a command that settings make a tool of, a [`ProgramAgent`] a program that they make an agent of.
//!
//! [`Programs`] is who runs them: it holds the policy, and is the only way from here to a new process. A program
//!
//! - is run only if the policy names it; a shell only if the policy says so;
//! - sees of the environment `PATH`, `LANG` and what the call gives it;
//! - leads a process group of its own, and when it has ended, for whatever reason, the group is killed: what it started does not
//!   survive it. A program that makes a session of its own (`setsid`) leaves the group and is not found;
//! - may say as much as it likes, of which [`Programs::MAX_STREAM`] bytes of each stream are kept;
//! - is held to the limits of the policy, and writes only below its roots if the policy confines it, as far as the kernel can do that; what
//!   held is told with the result ([`Enforced`]).
//!
//! ```
//! use orchestr8_agent_base::{AgentRegistry, process::{self, Programs}};
//! use orchestr8_schema::config::ProcessPolicy;
//!
//! let mut policy = ProcessPolicy::default();
//! policy.allow.push("git".to_owned());
//! let mut registry = AgentRegistry::new();
//! process::register(&mut registry, &Programs::new(policy))?;
//! assert!(registry.tools().get(&"process.run".parse()?).is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the policy does not do
//!
//! It names programs, not what they do: who may run `sh`, `env`, `git` or `python` can run everything. Unless it confines
//! them, files are guarded by the rights of the user whom orchestr8 runs as only, and reading them always.

mod agents;
mod capture;
mod confinement;
mod finished;
mod group;
mod policy;
mod program_agent;
mod programs;
mod shell_tool;

#[cfg(feature = "mcp")]
pub(crate) use self::group::Group;
pub use self::{
    agents::{Process, Shell, register},
    confinement::{Enforced, Writes},
    finished::Finished,
    program_agent::ProgramAgent,
    programs::{ProgramCall, Programs},
    shell_tool::ShellTool,
};

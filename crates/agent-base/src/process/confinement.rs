//! What a program, and whatever it starts, is held to by the kernel.
//!
//! Bounds on resources are set right after the program has started, before it can have done much. That it writes only below its folders is
//! arranged before it starts: a thread of its own gives up the right to write elsewhere (Landlock) and starts the program, which inherits that.
//! What could not be had on this system is told with the result, never passed over in silence.

use std::{io, path::PathBuf};

use orchestr8_schema::config::{Confine, ProcessLimits};
use serde::Serialize;
use tokio::process::Command;

use super::group::Group;

/// What a program is to be held to.
#[derive(Clone, Debug)]
pub(super) struct Confinement {
    pub(super) limits: ProcessLimits,
    pub(super) confine: Confine,
    /// Where it may write, if it is confined.
    pub(super) folders: Vec<PathBuf>,
}

/// What a program was held to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Enforced {
    /// The limits that held, by their names in the settings.
    pub limits: Vec<&'static str>,
    /// Where it could write.
    pub writes: Writes,
}

/// Where a program could write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Writes {
    /// Wherever the user may whom orchestr8 runs as.
    Anywhere,
    /// Below its folders only, as far as this kernel knows to tell; some ways of changing files are not seen by it.
    Partly,
    /// Below its folders only.
    Folders,
}

impl Confinement {
    /// Starts a command under it; absent if it is held to nothing.
    ///
    /// # Errors
    ///
    /// As of starting it; [`io::ErrorKind::Unsupported`] if it must be confined and this system cannot do that.
    pub(super) fn start(&self, command: &mut Command) -> io::Result<(Group, Option<Enforced>)> {
        if self.confine == Confine::Off && self.limits == ProcessLimits::default() {
            return Ok((Group::start(command)?, None));
        }
        let (group, writes) = if self.confine == Confine::Off {
            (Group::start(command)?, Writes::Anywhere)
        } else {
            system::start_confined(self, command)?
        };
        let limits = system::limit(&group, &self.limits);
        Ok((group, Some(Enforced { limits, writes })))
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::{env, io, thread};

    use landlock::{
        ABI, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus,
        path_beneath_rules,
    };
    use orchestr8_schema::config::{Confine, ProcessLimits};
    use rustix::process::{Resource, Rlimit, prlimit};
    use tokio::{process::Command, runtime::Handle};

    use super::{Confinement, Writes};
    use crate::process::group::Group;

    /// The newest ways of writing that are asked for; an older kernel holds the program to those that it knows.
    const KNOWN: ABI = ABI::V5;
    /// What programs write to without keeping anything.
    const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty"];

    pub(super) fn start_confined(confinement: &Confinement, command: &mut Command) -> io::Result<(Group, Writes)> {
        let runtime = Handle::current();
        thread::scope(|scope| {
            // The thread ends with what it has given up; no other thread of this process has.
            let confined = thread::Builder::new().spawn_scoped(scope, || {
                let _entered = runtime.enter();
                let writes = restrict(confinement).map_err(io::Error::other)?;
                if confinement.confine == Confine::Require && writes != Writes::Folders {
                    return Err(io::ErrorKind::Unsupported.into());
                }
                Ok((Group::start(command)?, writes))
            })?;
            confined.join().unwrap_or_else(|_| Err(io::Error::other("the thread that was to start it has failed")))
        })
    }

    fn restrict(confinement: &Confinement) -> Result<Writes, RulesetError> {
        let writes = AccessFs::from_write(KNOWN);
        let devices = DEVICES.map(Into::into);
        let places = confinement.folders.iter().cloned().chain([env::temp_dir()]).chain(devices);
        let ruleset = Ruleset::default().handle_access(writes)?.create()?;
        let status = ruleset.add_rules(path_beneath_rules(places, writes))?.restrict_self()?;
        Ok(match status.ruleset {
            RulesetStatus::FullyEnforced => Writes::Folders,
            RulesetStatus::PartiallyEnforced => Writes::Partly,
            RulesetStatus::NotEnforced => Writes::Anywhere,
        })
    }

    pub(super) fn limit(group: &Group, limits: &ProcessLimits) -> Vec<&'static str> {
        let Some(leader) = group.id() else { return Vec::new() };
        let wanted = [
            ("cpuSeconds", Resource::Cpu, limits.cpu_seconds),
            ("memoryBytes", Resource::As, limits.memory_bytes),
            ("fileBytes", Resource::Fsize, limits.file_bytes),
            ("openFiles", Resource::Nofile, limits.open_files),
            ("processes", Resource::Nproc, limits.processes),
        ];
        let set = |(name, resource, wanted): (&'static str, Resource, Option<u64>)| {
            // It may not be raised over what holds already.
            let known = rustix::process::getrlimit(resource).maximum;
            let value = known.map_or(wanted?, |known| known.min(wanted.unwrap_or(known)));
            let value = Rlimit { current: Some(value), maximum: Some(value) };
            prlimit(Some(leader), resource, value).ok().map(|_| name)
        };
        wanted.into_iter().filter_map(set).collect()
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    use orchestr8_schema::config::{Confine, ProcessLimits};
    use tokio::process::Command;

    use super::{Confinement, Writes};
    use crate::process::group::Group;

    pub(super) fn start_confined(confinement: &Confinement, command: &mut Command) -> io::Result<(Group, Writes)> {
        if confinement.confine == Confine::Require {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok((Group::start(command)?, Writes::Anywhere))
    }

    pub(super) fn limit(_: &Group, _: &ProcessLimits) -> Vec<&'static str> {
        Vec::new()
    }
}

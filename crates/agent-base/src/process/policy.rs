//! What a policy says of one call.

use std::{
    env,
    path::{Path, PathBuf},
};

use orchestr8_schema::config::ProcessPolicy;
use serde_json::json;

use crate::AgentError;

/// Variables by which the loader of programs is told to load other code, which would make every program an allowed one.
const LOADER: [&str; 4] = ["LD_PRELOAD", "LD_AUDIT", "DYLD_INSERT_LIBRARIES", "DYLD_LIBRARY_PATH"];

/// Finds the file of an allowed program. It is looked for where this process looks, whatever `PATH` the call gives.
pub(super) fn program(policy: &ProcessPolicy, name: &str) -> Result<PathBuf, AgentError> {
    if !policy.allow.iter().any(|allowed| allowed == name) {
        return Err(denied(&format!("the program `{name}` is not allowed"), "policy.process.allow"));
    }
    if name.contains('/') {
        return Ok(name.into());
    }
    find(name).ok_or_else(|| AgentError::not_found(format!("there is no program `{name}` in PATH")))
}

/// Finds the shell, if shells are allowed.
pub(super) fn shell(policy: &ProcessPolicy) -> Result<PathBuf, AgentError> {
    if !policy.shell {
        return Err(denied("commands of a shell are not allowed", "policy.process.shell"));
    }
    find("sh").ok_or_else(|| AgentError::not_found("there is no shell `sh` in PATH"))
}

fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let absolute = env::split_paths(&path).filter(|folder| folder.is_absolute());
    absolute.map(|folder| folder.join(name)).find(|file| is_executable(file))
}

#[cfg(unix)]
fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(file: &Path) -> bool {
    file.is_file()
}

/// Finds the folder to run in: the one asked for, if it lies in a root, links resolved. Without roots, the working directory is the
/// only one.
pub(super) fn folder(policy: &ProcessPolicy, asked: Option<&Path>) -> Result<PathBuf, AgentError> {
    let (here, roots) = (here()?, roots(policy)?);
    let is_allowed = |folder: &Path| roots.iter().any(|root| folder.starts_with(root));
    let refused = |folder: &Path| {
        denied(&format!("programs may not be run in the folder `{}`", folder.display()), "policy.process.roots")
    };
    let Some(asked) = asked else {
        let root = if is_allowed(&here) { Some(here.clone()) } else { roots.into_iter().next() };
        return root.ok_or_else(|| refused(&here));
    };
    // Whether a folder exists is not told to who may not use it.
    let folder = here.join(asked).canonicalize().map_err(|_| refused(asked))?;
    if is_allowed(&folder) { Ok(folder) } else { Err(refused(asked)) }
}

/// Finds the folders that programs may be run in.
pub(super) fn roots(policy: &ProcessPolicy) -> Result<Vec<PathBuf>, AgentError> {
    let here = here()?;
    if policy.roots.is_empty() {
        return Ok(vec![here]);
    }
    Ok(policy.roots.iter().filter_map(|root| here.join(at_home(root)).canonicalize().ok()).collect())
}

fn here() -> Result<PathBuf, AgentError> {
    let here = env::current_dir().and_then(|folder| folder.canonicalize());
    here.map_err(|error| AgentError::internal("finding the working directory").with_source(error))
}

/// Puts the home directory in the place of `~`.
fn at_home(root: &str) -> PathBuf {
    let rest = root.strip_prefix("~/").or((root == "~").then_some(""));
    match (rest, env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => root.into(),
    }
}

/// Refuses variables that would undo the policy.
pub(super) fn variable(name: &str) -> Result<(), AgentError> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(AgentError::validation(format!("`{name}` is no name of a variable")));
    }
    if LOADER.contains(&name) {
        return Err(denied(&format!("the variable `{name}` would load other code"), "policy.process.allow"));
    }
    Ok(())
}

fn denied(message: &str, setting: &str) -> AgentError {
    AgentError::denied(format!("{message} by {setting}")).with_context(json!({ "setting": setting }))
}

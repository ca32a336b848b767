//! Who runs programs.

use std::{
    collections::BTreeMap,
    env, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use orchestr8_schema::config::{Confine, ProcessPolicy};
use serde_json::json;
use tokio::{io::AsyncWriteExt as _, process::Command, time};
use tokio_util::sync::CancellationToken;

use super::{Finished, capture::Capture, confinement::Confinement, policy};
use crate::AgentError;

/// Runs programs under a policy. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Programs {
    policy: Arc<ProcessPolicy>,
}

/// A program to run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ProgramCall {
    /// The program, by the name that the policy allows: one of `PATH`, or a path.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it reads from standard input.
    pub stdin: String,
    /// Variables of its environment, beside `PATH` and `LANG`.
    pub env: BTreeMap<String, String>,
    /// The folder to run it in; without one, the working directory, or the first root of the policy if that does not lie in one.
    pub cwd: Option<PathBuf>,
}

impl ProgramCall {
    /// Makes a call without arguments.
    pub fn new(program: impl Into<String>) -> Self {
        Self { program: program.into(), ..Self::default() }
    }
}

impl Programs {
    /// How much of each stream is kept: 1 MB.
    pub const MAX_STREAM: usize = 1024 * 1024;
    /// How long a program may take to end once it is asked to.
    pub const GRACE: Duration = Duration::from_secs(3);
    /// How long its streams may stay open when the group is gone, because somebody has left it.
    const LAST_WORDS: Duration = Duration::from_millis(500);

    /// Makes them of a policy.
    #[must_use]
    pub fn new(policy: ProcessPolicy) -> Self {
        Self { policy: Arc::new(policy) }
    }

    /// Runs a program to its end.
    ///
    /// When the token fires the group is asked to end (SIGTERM), and killed after [`GRACE`](Self::GRACE).
    ///
    /// # Errors
    ///
    /// DENIED with the setting in the context if the policy forbids it, NOT_FOUND if there is no such program, CANCELLED. How the
    /// program ends is no error here; see [`Finished::accept`].
    ///
    /// # Cancellation safety
    ///
    /// When the future is dropped the group is killed.
    pub async fn run(&self, call: &ProgramCall, cancel: &CancellationToken) -> Result<Finished, AgentError> {
        let program = policy::program(&self.policy, &call.program)?;
        let mut command = self.command(&program, &call.env, call.cwd.as_deref())?;
        command.args(&call.args);
        run(command, &self.confinement()?, &call.program, &call.stdin, cancel).await
    }

    /// Runs a command of `sh` to its end; all else is as of [`run`](Self::run), the program of the call being the command.
    ///
    /// # Errors
    ///
    /// As of [`run`](Self::run); DENIED if the policy allows no shell.
    pub async fn shell(&self, call: &ProgramCall, cancel: &CancellationToken) -> Result<Finished, AgentError> {
        let mut command = self.command(&policy::shell(&self.policy)?, &call.env, call.cwd.as_deref())?;
        command.arg("-c").arg(&call.program).arg("sh").args(&call.args);
        run(command, &self.confinement()?, "sh", &call.stdin, cancel).await
    }

    fn confinement(&self) -> Result<Confinement, AgentError> {
        let ProcessPolicy { limits, confine, .. } = &*self.policy;
        let folders = if *confine == Confine::Off { Vec::new() } else { policy::roots(&self.policy)? };
        Ok(Confinement { limits: *limits, confine: *confine, folders })
    }

    fn command(
        &self,
        program: &Path,
        env: &BTreeMap<String, String>,
        cwd: Option<&Path>,
    ) -> Result<Command, AgentError> {
        let mut command = Command::new(program);
        command.current_dir(policy::folder(&self.policy, cwd)?).env_clear();
        for name in ["PATH", "LANG"] {
            command.envs(env::var_os(name).map(|value| (name, value)));
        }
        for (name, value) in env {
            policy::variable(name)?;
            command.env(name, value);
        }
        Ok(command)
    }
}

async fn run(
    mut command: Command,
    confinement: &Confinement,
    name: &str,
    stdin: &str,
    cancel: &CancellationToken,
) -> Result<Finished, AgentError> {
    if cancel.is_cancelled() {
        return Err(AgentError::cancelled("cancelled before the program was started"));
    }
    let (mut group, enforced) = confinement.start(&mut command).map_err(|error| not_started(name, error))?;
    let (input, output, errors) = group.take_pipes();
    let (mut stdout, mut stderr) = (Capture::default(), Capture::default());
    let (status, was_cancelled) = {
        let feed = async {
            if let Some(mut input) = input {
                // A program need not read what it is given.
                let _ = input.write_all(stdin.as_bytes()).await;
            }
        };
        let streams = async {
            tokio::join!(feed, stdout.read(output, Programs::MAX_STREAM), stderr.read(errors, Programs::MAX_STREAM))
        };
        let mut streams = std::pin::pin!(streams);
        let mut streams_open = true;
        let ended = loop {
            tokio::select! {
                status = group.wait() => break Some(status),
                () = cancel.cancelled() => break None,
                _ = &mut streams, if streams_open => streams_open = false,
            }
        };
        let was_cancelled = ended.is_none();
        let status = match ended {
            Some(status) => status,
            None => {
                group.terminate();
                let in_time = async {
                    loop {
                        tokio::select! {
                            status = group.wait() => break status,
                            _ = &mut streams, if streams_open => streams_open = false,
                        }
                    }
                };
                match time::timeout(Programs::GRACE, in_time).await {
                    Ok(status) => status,
                    Err(_) => {
                        group.kill();
                        group.wait().await
                    }
                }
            }
        };
        // Whoever is left of the group would hold the streams open.
        group.kill();
        if streams_open && !was_cancelled {
            let _ = time::timeout(Programs::LAST_WORDS, &mut streams).await;
        }
        (status, was_cancelled)
    };
    if was_cancelled {
        return Err(AgentError::cancelled(format!("`{name}` was ended because the step is cancelled")));
    }
    let status = status.map_err(|error| AgentError::internal(format!("waiting for `{name}`")).with_source(error))?;
    Ok(Finished::new(status, stdout, stderr, enforced))
}

fn not_started(name: &str, error: io::Error) -> AgentError {
    let message = format!("starting `{name}`");
    match error.kind() {
        io::ErrorKind::NotFound => AgentError::not_found(message),
        io::ErrorKind::PermissionDenied => AgentError::denied(message),
        io::ErrorKind::Unsupported => {
            let setting = "policy.process.confine";
            let message =
                format!("`{name}` is not started: this system cannot hold it to its folders as {setting} wants it");
            return AgentError::denied(message).with_context(json!({ "setting": setting }));
        }
        io::ErrorKind::ArgumentListTooLong | io::ErrorKind::InvalidInput => AgentError::validation(message),
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => AgentError::retryable(message),
        _ => AgentError::internal(message),
    }
    .with_source(error)
}

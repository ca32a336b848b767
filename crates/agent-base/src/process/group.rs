//! A process and all that it starts.

use std::{
    io,
    process::{ExitStatus, Stdio},
};

use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// A process that leads a group of its own. When this value goes, so does the group.
#[derive(Debug)]
#[must_use]
pub(crate) struct Group {
    leader: Child,
    #[cfg(unix)]
    id: Option<rustix::process::Pid>,
}

impl Group {
    /// Starts a command with all three streams piped.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let leader = command.spawn()?;
        #[cfg(unix)]
        let id = leader.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
        Ok(Self {
            leader,
            #[cfg(unix)]
            id,
        })
    }

    /// Returns the id of the leader; absent if it has ended.
    #[cfg(target_os = "linux")]
    pub(crate) fn id(&self) -> Option<rustix::process::Pid> {
        self.id
    }

    /// Takes the ends of the pipes, which are there once.
    pub(crate) fn take_pipes(&mut self) -> (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>) {
        (self.leader.stdin.take(), self.leader.stdout.take(), self.leader.stderr.take())
    }

    /// Waits until the leader has ended.
    ///
    /// # Cancellation safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.leader.wait().await
    }

    /// Asks the whole group to end.
    pub(crate) fn terminate(&mut self) {
        #[cfg(unix)]
        self.signal(rustix::process::Signal::TERM);
        #[cfg(not(unix))]
        self.kill();
    }

    /// Ends the whole group.
    pub(crate) fn kill(&mut self) {
        #[cfg(unix)]
        self.signal(rustix::process::Signal::KILL);
        #[cfg(not(unix))]
        // It has ended already.
        let _ = self.leader.start_kill();
    }

    #[cfg(unix)]
    fn signal(&self, signal: rustix::process::Signal) {
        if let Some(id) = self.id {
            // The only failure is that nobody is left.
            let _ = rustix::process::kill_process_group(id, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

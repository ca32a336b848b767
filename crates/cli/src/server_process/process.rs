//! Processes of this machine by their numbers: whether one lives, what it is, and asking it to end.

#[cfg(unix)]
pub(crate) use unix::{end, is_alive};

/// How a process is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// In good order (SIGTERM).
    Gracefully,
    /// At once (SIGKILL).
    AtOnce,
}

/// Returns program and arguments of a process; absent where the system does not tell.
pub(crate) fn command(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words: Vec<_> =
        text.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    // Each word ends with a zero.
    words.pop();
    (!words.is_empty()).then_some(words)
}

#[cfg(unix)]
mod unix {
    use rustix::process::{Pid, Signal, kill_process, test_kill_process};

    use super::How;

    /// Whether there is such a process. One that has ended and waits for its parent to notice does not count.
    pub(crate) fn is_alive(pid: u32) -> bool {
        let Some(id) = to_pid(pid) else { return false };
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
        // The program's name, which may hold anything, stands in parentheses.
        let state = state.as_deref().and_then(|stat| stat.rsplit_once(") ")?.1.chars().next());
        let has_ended = matches!(state, Some('Z' | 'X'));
        !has_ended && !matches!(test_kill_process(id), Err(rustix::io::Errno::SRCH))
    }

    /// Asks a process to end.
    pub(crate) fn end(pid: u32, how: How) -> std::io::Result<()> {
        let Some(id) = to_pid(pid) else { return Ok(()) };
        let signal = match how {
            How::Gracefully => Signal::TERM,
            How::AtOnce => Signal::KILL,
        };
        match kill_process(id, signal) {
            // It has ended meanwhile.
            Err(rustix::io::Errno::SRCH) => Ok(()),
            sent => Ok(sent?),
        }
    }

    fn to_pid(pid: u32) -> Option<Pid> {
        // Zero and negative numbers would mean whole groups of processes.
        i32::try_from(pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw)
    }
}

/// Where there are no signals, who answers is all that can be known.
#[cfg(not(unix))]
pub(crate) fn is_alive(_: u32) -> bool {
    true
}

/// There are no signals.
#[cfg(not(unix))]
pub(crate) fn end(_: u32, _: How) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

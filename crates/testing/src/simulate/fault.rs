//! What goes wrong in a simulation, and how that is written.

use std::{fmt, str::FromStr};

/// One thing that goes wrong at a certain place of a simulated execution.
///
/// It is written as its name, `@`, and its place: a number of appends (counted from 1, over all lives of the process), a step path with
/// an attempt behind `:` unless it is the first, or a number of events. `crash@12`, `timeout@charge`, `fail@reviews[3].score:2`,
/// `cancel@40`, `reopen@1`, `fork@charge`, `slow-human`.
///
/// Attempts of a step are counted on where the execution is reopened or forked, and so are events over an execution and its forks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The process is gone when the store has kept this append, before anybody hears of it.
    Crash(u64),
    /// The process is gone before this append reaches the store.
    CrashBefore(u64),
    /// The process is gone while the store writes this append: a store that keeps its promise has nothing of it afterwards.
    Torn(u64),
    /// Another process has taken the execution over when this append comes.
    Conflict(u64),
    /// The store has no room for this append for a while.
    DiskFull(u64),
    /// The attempt takes longer than it may, and ends when it is told to.
    Timeout(Place),
    /// The attempt fails, in a way that the seed decides.
    Fail(Place),
    /// The attempt never ends, and does not look at its token.
    Hang(Place),
    /// The attempt is asked to come back later, with or without a time.
    RateLimit(Place),
    /// Somebody cancels the execution once it has this many events.
    Cancel(u64),
    /// Somebody pauses the execution once it has this many events, and resumes it later.
    Pause(u64),
    /// The wall clock is set forward or back once the execution has this many events.
    ClockJump(u64),
    /// Somebody stops the process in good order once the execution has this many events, and another begins at once.
    Shutdown(u64),
    /// Somebody resumes the execution a while after it has failed for this many times, at times with higher limits.
    Reopen(u64),
    /// Somebody forks the execution once it has ended, with the same input. A second fork is one of the first one.
    Fork(Checkpoint),
    /// The same with another input.
    ForkOther(Checkpoint),
    /// People take from minutes to weeks to answer.
    SlowHuman,
}

/// Where in the life of an execution a fork of it begins: written as a number, or else as a step path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Checkpoint {
    /// Behind the event of this number, from 1.
    Behind(u64),
    /// Just before this step was first scheduled.
    Before(String),
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind(sequence) => write!(f, "{sequence}"),
            Self::Before(path) => f.write_str(path),
        }
    }
}

/// An attempt of a step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The step's path.
    pub path: String,
    /// The number of the attempt, from 1.
    pub attempt: u32,
}

impl Fault {
    /// The names of all faults, as they are written.
    pub const NAMES: [&'static str; 17] = [
        "crash",
        "crash-before",
        "torn",
        "conflict",
        "disk-full",
        "timeout",
        "fail",
        "hang",
        "429",
        "cancel",
        "pause",
        "upgrade-clock",
        "shutdown",
        "reopen",
        "fork",
        "fork-other",
        "slow-human",
    ];

    /// Returns the fault's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Crash(_) => "crash",
            Self::CrashBefore(_) => "crash-before",
            Self::Torn(_) => "torn",
            Self::Conflict(_) => "conflict",
            Self::DiskFull(_) => "disk-full",
            Self::Timeout(_) => "timeout",
            Self::Fail(_) => "fail",
            Self::Hang(_) => "hang",
            Self::RateLimit(_) => "429",
            Self::Cancel(_) => "cancel",
            Self::Pause(_) => "pause",
            Self::ClockJump(_) => "upgrade-clock",
            Self::Shutdown(_) => "shutdown",
            Self::Reopen(_) => "reopen",
            Self::Fork(_) => "fork",
            Self::ForkOther(_) => "fork-other",
            Self::SlowHuman => "slow-human",
        }
    }

    /// Whether it only interrupts or does again what is not done, so that the result should be the one that would have been without it.
    #[must_use]
    pub fn is_interruption(&self) -> bool {
        match self {
            Self::Crash(_)
            | Self::CrashBefore(_)
            | Self::Torn(_)
            | Self::Conflict(_)
            | Self::DiskFull(_)
            | Self::Shutdown(_)
            | Self::Reopen(_)
            | Self::Fork(_) => true,
            Self::ForkOther(_)
            | Self::Timeout(_)
            | Self::Fail(_)
            | Self::Hang(_)
            | Self::RateLimit(_)
            | Self::Cancel(_)
            | Self::Pause(_)
            | Self::ClockJump(_)
            | Self::SlowHuman => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Crash(n)
            | Self::CrashBefore(n)
            | Self::Torn(n)
            | Self::Conflict(n)
            | Self::DiskFull(n)
            | Self::Cancel(n)
            | Self::Pause(n)
            | Self::ClockJump(n)
            | Self::Shutdown(n)
            | Self::Reopen(n) => write!(f, "@{n}"),
            Self::Fork(at) | Self::ForkOther(at) => write!(f, "@{at}"),
            Self::Timeout(place) | Self::Fail(place) | Self::Hang(place) | Self::RateLimit(place) => {
                write!(f, "@{}", place.path)?;
                if place.attempt == 1 { Ok(()) } else { write!(f, ":{}", place.attempt) }
            }
            Self::SlowHuman => Ok(()),
        }
    }
}

/// The error of a text that names no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no fault: {reason}")]
pub struct InvalidFault {
    text: String,
    reason: String,
}

impl FromStr for Fault {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let invalid = |reason: String| InvalidFault { text: text.to_owned(), reason };
        let (name, at) = text.split_once('@').map_or((text, None), |(name, at)| (name, Some(at)));
        let number = |what: &str| {
            let given = at.and_then(|at| at.parse().ok()).filter(|number| *number > 0);
            given.ok_or_else(|| invalid(format!("`{name}@<n>` needs the number of {what}, from 1")))
        };
        let place = || {
            let at = at.filter(|at| !at.is_empty());
            let at = at.ok_or_else(|| invalid(format!("`{name}@<step path>` needs a step path")))?;
            let numbered = at.rsplit_once(':').and_then(|(path, attempt)| Some((path, attempt.parse().ok()?)));
            let (path, attempt) = numbered.unwrap_or((at, 1));
            Ok(Place { path: path.to_owned(), attempt })
        };
        let checkpoint = || match at {
            None | Some("" | "0") => Err(invalid(format!(
                "`{name}@<n>` needs the number of an event, from 1, and `{name}@<step path>` a step"
            ))),
            Some(at) => Ok(match at.parse() {
                Ok(sequence) => Checkpoint::Behind(sequence),
                Err(_) => Checkpoint::Before(at.to_owned()),
            }),
        };
        Ok(match name {
            "crash" => Self::Crash(number("an append")?),
            "crash-before" => Self::CrashBefore(number("an append")?),
            "torn" => Self::Torn(number("an append")?),
            "conflict" => Self::Conflict(number("an append")?),
            "disk-full" => Self::DiskFull(number("an append")?),
            "timeout" => Self::Timeout(place()?),
            "fail" => Self::Fail(place()?),
            "hang" => Self::Hang(place()?),
            "429" => Self::RateLimit(place()?),
            "cancel" => Self::Cancel(number("an event")?),
            "pause" => Self::Pause(number("an event")?),
            "upgrade-clock" => Self::ClockJump(number("an event")?),
            "shutdown" => Self::Shutdown(number("an event")?),
            "reopen" => Self::Reopen(number("a failure")?),
            "fork" => Self::Fork(checkpoint()?),
            "fork-other" => Self::ForkOther(checkpoint()?),
            "slow-human" if at.is_none() => Self::SlowHuman,
            "slow-human" => return Err(invalid("`slow-human` has no place".to_owned())),
            _ => return Err(invalid(format!("the faults are {}", Self::NAMES.join(", ")))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_they_are_written() {
        let texts = [
            "crash@12",
            "crash-before@1",
            "torn@3",
            "conflict@4",
            "disk-full@5",
            "timeout@charge",
            "fail@a.b:2",
            "hang@reviews[\"x:y\"].score",
            "429@refine#2.critic:3",
            "cancel@7",
            "pause@8",
            "upgrade-clock@9",
            "shutdown@10",
            "reopen@1",
            "fork@12",
            "fork-other@reviews[\"x\"].score",
            "slow-human",
        ];
        for (text, name) in texts.iter().zip(Fault::NAMES) {
            let fault: Fault = text.parse().unwrap();
            assert_eq!(fault.to_string(), *text);
            assert_eq!(fault.name(), name);
        }
    }

    #[test]
    fn what_is_no_fault_is_told_with_what_would_be() {
        let tell = |text: &str| text.parse::<Fault>().unwrap_err().to_string();
        assert_eq!(tell("crash@0"), "`crash@0` is no fault: `crash@<n>` needs the number of an append, from 1");
        assert_eq!(tell("timeout@"), "`timeout@` is no fault: `timeout@<step path>` needs a step path");
        let needed = "`fork@<n>` needs the number of an event, from 1, and `fork@<step path>` a step";
        assert_eq!(tell("fork@0"), format!("`fork@0` is no fault: {needed}"));
        assert_eq!(tell("slow-human@3"), "`slow-human@3` is no fault: `slow-human` has no place");
        assert!(tell("flood@3").starts_with("`flood@3` is no fault: the faults are crash, crash-before, "));
    }
}

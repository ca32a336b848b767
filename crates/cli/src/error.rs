//! How a command ends: well, or with a kind, a source and a hint.

use std::{error::Error as StdError, fmt, process::ExitCode};

use orchestr8_schema::{CorrelationId, api::Problem};

use crate::render::Report;

/// How a command ended that had nothing to complain about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is done: 0.
    Success,
    /// The execution failed, or was cancelled from elsewhere: 1.
    Failed,
    /// What was given is not valid: 2.
    Invalid,
    /// What was asked about is away: 3.
    Away,
    /// A signal ended it: 130.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failed => 1,
            Exit::Invalid => 2,
            Exit::Away => 3,
            Exit::Interrupted => 130,
        })
    }
}

/// What kind of error it is, which decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The command was not used as it is meant, or names something that does not exist: exit 2.
    Usage,
    /// A workflow or an input is not valid: exit 2.
    Invalid,
    /// A server or something else around the program cannot be reached: exit 3.
    Unreachable,
    /// Nobody reads what is printed; nothing is said, exit 0.
    BrokenPipe,
    /// Anything unexpected: exit 1.
    Internal,
}

/// Why a command did not do what it was asked.
///
/// People see it as `error:` with its sources and a `hint:`; with `--format json` it is a problem object.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    hint: Option<String>,
    correlation_id: Option<CorrelationId>,
    holder: Option<u32>,
    report: Option<Box<Report>>,
}

impl Error {
    /// Makes an error; the message is lowercase, without full stop, and says what was attempted.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
            hint: None,
            correlation_id: None,
            holder: None,
            report: None,
        }
    }

    /// Makes an error of wrong use.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Makes an error of something around the program that cannot be reached.
    #[must_use]
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unreachable, message)
    }

    /// Makes an unexpected error.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Makes the error of a workflow file that has errors.
    #[must_use]
    pub fn invalid_file(report: Report) -> Self {
        let mut error = Self::new(ErrorKind::Invalid, report.summary());
        error.report = Some(Box::new(report));
        error
    }

    /// Adds what led here.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds what to do next, as a command to copy where there is one.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the process that alone can do what was asked.
    #[must_use]
    pub fn with_holder(mut self, process: u32) -> Self {
        self.holder = Some(process);
        self
    }

    /// Adds what ties the error to the log of whoever answered.
    #[must_use]
    pub fn with_correlation_id(mut self, id: CorrelationId) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// Returns what kind of error it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the process that alone can do what was asked.
    #[must_use]
    pub fn holder(&self) -> Option<u32> {
        self.holder
    }

    /// Returns what to do next.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns the problems of the file that it is about.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        self.report.as_deref()
    }

    /// Returns the message and those of all sources, the nearest first.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut next = self.source();
        while let Some(source) = next {
            let message = source.to_string();
            // The number says nothing that the words do not say.
            let message = message.split(" (os error ").next().unwrap_or_default();
            // Some libraries repeat their source in their own message.
            if !text.ends_with(message) {
                text.push_str(": ");
                text.push_str(message);
            }
            next = source.source();
        }
        text
    }

    /// Returns the error as a problem object.
    #[must_use]
    pub fn to_problem(&self) -> Problem {
        let (code, title, status) = match self.kind {
            ErrorKind::Usage => ("BAD_REQUEST", "The command cannot be understood", 400),
            ErrorKind::Invalid => ("VALIDATION", "The workflow or input is not valid", 400),
            ErrorKind::Unreachable => ("UNREACHABLE", "The server or environment cannot be reached", 503),
            ErrorKind::BrokenPipe | ErrorKind::Internal => ("INTERNAL", "An unexpected error", 500),
        };
        let mut problem = Problem::new(code, title, status, self.chain());
        problem.is_retryable = self.kind == ErrorKind::Unreachable;
        problem.correlation_id = self.correlation_id.clone();
        if let Some(report) = &self.report {
            problem.issues = report.diagnostics().to_vec();
            problem.instance = Some(report.file().to_owned());
        }
        if let Some(hint) = &self.hint {
            problem.extensions.insert("hint".to_owned(), hint.as_str().into());
        }
        problem
    }

    /// Returns the exit code.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            ErrorKind::BrokenPipe => 0,
            ErrorKind::Internal => 1,
            ErrorKind::Usage | ErrorKind::Invalid => 2,
            ErrorKind::Unreachable => 3,
        })
    }

    /// Returns what ties the error to the log of whoever answered.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&CorrelationId> {
        self.correlation_id.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

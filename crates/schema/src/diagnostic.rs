//! What is wrong with a workflow file, where, and what to do about it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One problem of a workflow file. All problems are reported at once, sorted by position, then code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Diagnostic {
    /// The stable code, such as `O8303`.
    pub code: Code,
    /// Whether the file can be run in spite of it.
    pub severity: Severity,
    /// What is wrong: lowercase, no full stop.
    pub message: String,
    /// The file, where it is a sub-workflow's and not the document itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The place in the document, a JSON pointer (RFC 6901).
    pub path: String,
    /// The place in the text, where the text was read with positions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
    /// A short remark drawn at the place itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Diagnostic {
    /// Makes a diagnostic without position; the severity is the code's own.
    #[must_use]
    pub fn new(code: Code, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            message: message.into(),
            file: None,
            path: path.into(),
            span: None,
            label: None,
            help: None,
        }
    }

    /// Adds a remark drawn at the place itself.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether the file cannot be run because of it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: {}", self.severity, self.code, self.message)?;
        if let Some(file) = &self.file {
            write!(f, " (in {file})")?;
        }
        match (self.span, self.path.is_empty()) {
            (Some(span), _) => write!(f, " (line {}, column {})", span.line, span.column),
            (None, false) => write!(f, " (at {})", self.path),
            (None, true) => Ok(()),
        }
    }
}

/// The error of a document that is no valid workflow: everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidWorkflow {
    diagnostics: Vec<Diagnostic>,
}

/// The error of another document, such as a test file: everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDocument {
    diagnostics: Vec<Diagnostic>,
}

macro_rules! invalid {
    ($name:ident, $what:literal) => {
        impl $name {
            pub(crate) fn new(diagnostics: Vec<Diagnostic>) -> Self {
                Self { diagnostics }
            }

            /// Returns the problems in the order of the document, at least one of them an error; of a document with more than a
            /// thousand, the first thousand that were found.
            #[must_use]
            pub fn diagnostics(&self) -> &[Diagnostic] {
                &self.diagnostics
            }

            /// Returns the problems.
            #[must_use]
            pub fn into_diagnostics(self) -> Vec<Diagnostic> {
                self.diagnostics
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut errors = self.diagnostics.iter().filter(|diagnostic| diagnostic.is_error());
                match errors.next() {
                    Some(first) => write!(f, concat!("invalid ", $what, ": {}"), first)?,
                    None => f.write_str(concat!("invalid ", $what))?,
                }
                match errors.count() {
                    0 => Ok(()),
                    1 => f.write_str(" and 1 more error"),
                    more => write!(f, " and {more} more errors"),
                }
            }
        }

        impl std::error::Error for $name {}
    };
}

invalid!(InvalidWorkflow, "workflow");
invalid!(InvalidDocument, "document");

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal, $severity:ident;)*) => {
        /// The stable code of a problem; it names the kind of problem, never the wording.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])* #[serde(rename = $text)] $name,)*
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the code as it is written, such as `O8303`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Returns how bad the problem is, strict mode aside.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)*
                }
            }
        }
    };
}

codes! {
    /// The text is neither JSON nor YAML.
    Syntax = "O8001", Error;
    /// A key is given twice in one object.
    DuplicateKey = "O8002", Error;
    /// The text is too long.
    TooLong = "O8003", Error;
    /// The document is nested too deeply.
    TooDeep = "O8004", Error;
    /// The document has too many values, YAML aliases expanded.
    TooManyNodes = "O8005", Error;
    /// The text is in another format.
    WrongFormat = "O8006", Error;
    /// The document is not an object.
    NotAnObject = "O8007", Error;
    /// A required field is missing.
    Missing = "O8101", Error;
    /// A value has another type.
    WrongType = "O8102", Error;
    /// A value breaks a pattern, a length or a list of allowed values.
    WrongForm = "O8103", Error;
    /// A key is unknown; an error in strict mode.
    UnknownKey = "O8104", Warning;
    /// A step has no kind, or several.
    StepKind = "O8105", Error;
    /// Two steps have the same id.
    DuplicateStep = "O8106", Error;
    /// A list that needs an element is empty.
    Empty = "O8107", Error;
    /// A name is reserved.
    ReservedName = "O8108", Error;
    /// The format's major version is not supported.
    SchemaVersion = "O8109", Error;
    /// The format's hash is no SHA-256.
    SchemaHashForm = "O8110", Error;
    /// The format's hash is another one; strict mode only.
    SchemaHash = "O8111", Error;
    /// A key does not belong to this kind of step.
    KeyNotForKind = "O8112", Error;
    /// An alias and the name it stands for are both given.
    AliasAndName = "O8113", Error;
    /// A dependency names no step.
    UnknownDependency = "O8201", Error;
    /// A step depends on itself.
    SelfDependency = "O8202", Error;
    /// Steps wait for each other.
    Cycle = "O8203", Error;
    /// A dependency is listed twice.
    DuplicateDependency = "O8204", Error;
    /// A fallback is missing, unknown, the step itself, or not asked for.
    Fallback = "O8205", Error;
    /// Fallbacks form a cycle.
    FallbackCycle = "O8206", Error;
    /// A fallback serves two steps.
    SharedFallback = "O8207", Error;
    /// A sub-workflow cannot be found or read.
    SubWorkflow = "O8208", Error;
    /// A sub-workflow includes itself, or sub-workflows are nested too deeply.
    SubWorkflowNesting = "O8209", Error;
    /// A dependency is a step of another scope.
    OtherScope = "O8210", Error;
    /// A step or a case can never run.
    Unreachable = "O8211", Warning;
    /// A loop's condition reads nothing that changes.
    EndlessLoop = "O8212", Warning;
    /// An expression is not well formed.
    ExpressionSyntax = "O8301", Error;
    /// An expression or condition names no step.
    UnknownStep = "O8302", Error;
    /// A step is read without being a dependency.
    NotADependency = "O8303", Error;
    /// A root or a name below it does not exist.
    UnknownName = "O8304", Error;
    /// A name is not allowed anywhere.
    ForbiddenName = "O8305", Error;
    /// An expression or condition is over a limit.
    ExpressionLimit = "O8306", Error;
    /// A condition is not valid JMESPath, or asks what depends on chance.
    ConditionSyntax = "O8307", Error;
    /// A function or operator does not exist.
    UnknownFunction = "O8308", Error;
    /// An expression asks for a secret.
    SecretInExpression = "O8309", Error;
    /// A process variable is not allowed.
    VariableNotAllowed = "O8310", Error;
    /// A root exists, but not here.
    RootOutOfScope = "O8311", Error;
    /// A condition always has the same result.
    ConstantCondition = "O8312", Warning;
    /// Two steps capture the same name without an order between them.
    ConcurrentCaptures = "O8313", Error;
    /// A JSON Schema is not valid.
    BadSchema = "O8401", Error;
    /// A property that is read cannot exist, or may be absent without a default.
    NoSuchProperty = "O8402", Error;
    /// A value is of another type than is asked for.
    TypeMismatch = "O8403", Error;
    /// What an agent or tool requires is not given.
    MissingInput = "O8404", Error;
    /// An agent or a tool is not registered.
    UnknownAgent = "O8405", Error;
    /// No registered version of an agent fits.
    AgentVersion = "O8406", Error;
    /// A constant violates its schema.
    ConstantViolatesSchema = "O8407", Error;
    /// An agent cannot work as it is configured.
    Obstacle = "O8408", Error;
    /// A number or duration is out of range.
    OutOfRange = "O8501", Error;
    /// Two fields contradict each other.
    Contradiction = "O8502", Error;
    /// A field has no effect on this kind of step.
    NoEffect = "O8503", Warning;
    /// A timeout is so short that nothing will succeed.
    ShortTimeout = "O8504", Warning;
    /// The order of the resilience layers is fixed.
    CompositionOrder = "O8505", Error;
    /// A wait is longer than the time that there is for it.
    ShortDeadline = "O8506", Warning;
    /// `onError: retry` on a step that calls nothing.
    RetryOnNonLeaf = "O8507", Error;
    /// A guard where it can prevent nothing.
    Guard = "O8508", Error;
    /// What a step does cannot be undone, and it does not say how.
    Irreversible = "O8509", Warning;
    /// The body of a map reads its accumulator while items run at the same time.
    RacingAccumulator = "O8510", Error;
    /// A field has a newer name.
    Alias = "O8601", Warning;
    /// A field has no effect.
    Ignored = "O8602", Warning;
    /// An expression stands where none is evaluated.
    ExpressionNotEvaluated = "O8603", Warning;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A range of text; lines and columns count from 1, columns in characters; the end is behind the last character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// The first line.
    pub line: u32,
    /// The first column.
    pub column: u32,
    /// The last line.
    pub end_line: u32,
    /// The column behind the last character.
    pub end_column: u32,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be run.
    Error,
    /// It can, but is probably not meant so.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

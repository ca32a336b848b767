//! What came of tests.

use std::{fmt, time::Duration};

use orchestr8_schema::Span;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// What came of the tests of one file.
///
/// As JSON: `{file, tests, warnings, coverage}`, with what is [`TestReport`]'s in `tests`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FileReport {
    /// The name of the file.
    pub file: String,
    /// Its tests, in the order of the file.
    pub tests: Vec<TestReport>,
    /// What is probably not meant so: mocks that no test uses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Failure>,
    /// What the tests reached, if all of them were executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<TestCoverage>,
}

/// What came of one test.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TestReport {
    /// The test's name; of a row of a table, `<test> / <row>`.
    pub name: String,
    /// Whether it passed.
    pub status: TestStatus,
    /// How long it took, in milliseconds of real time.
    #[serde(rename = "durationMs", serialize_with = "millis")]
    pub duration: Duration,
    /// How long the execution took, in its own time.
    #[serde(rename = "virtualMs", serialize_with = "millis")]
    pub elapsed: Duration,
    /// The seed of everything random.
    pub seed: u64,
    /// What does not hold.
    pub failures: Vec<Failure>,
    /// Of a test that failed, the last lines of the journal, of the step concerned if there is one.
    #[serde(skip)]
    pub journal: Vec<String>,
    /// What came wherever something was expected, by JSON pointers into the test file, for whoever writes it down.
    #[serde(skip)]
    pub actuals: Vec<(String, Value)>,
}

/// Whether a test passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TestStatus {
    /// Everything holds.
    Passed,
    /// Something does not.
    Failed,
    /// It was not asked for.
    Skipped,
}

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Failure {
    /// What was checked: `steps.search.attempts`, `mocks.search`, `when[1]`; empty for the execution as a whole.
    pub path: String,
    /// What is wrong, where it is not that one value was expected and another one came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Value>,
    /// What came instead; absent if nothing did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<Value>,
    /// Where it stands in the test file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
    /// Of a value that was expected, where it stands in the test file, as a JSON pointer.
    #[serde(skip)]
    pub pointer: Option<String>,
    /// The step that it is about.
    #[serde(skip)]
    pub step: Option<String>,
}

impl Failure {
    pub(super) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: Some(message.into()),
            expected: None,
            actual: None,
            span: None,
            pointer: None,
            step: None,
        }
    }

    pub(super) fn expected(path: impl Into<String>, expected: Value, actual: Option<Value>) -> Self {
        Self { message: None, expected: Some(expected), actual, ..Self::new(path, "") }
    }
}

/// `steps.search.attempts: expected 3, got 2`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        match (&self.message, &self.expected, &self.actual) {
            (Some(message), ..) => f.write_str(message),
            (None, Some(expected), Some(actual)) => write!(f, "expected {}, got {}", Short(expected), Short(actual)),
            (None, Some(expected), None) => write!(f, "expected {}, got nothing", Short(expected)),
            (None, None, _) => f.write_str("it does not hold"),
        }
    }
}

/// A value as people write it; of a long one, the beginning.
struct Short<'a>(&'a Value);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX: usize = 200;
        let text = match self.0 {
            Value::String(text) if !text.is_empty() && !text.contains(char::is_whitespace) => text.clone(),
            other => other.to_string(),
        };
        match text.char_indices().nth(MAX) {
            Some((end, _)) => write!(f, "{}…", &text[..end]),
            None => f.write_str(&text),
        }
    }
}

/// What tests reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TestCoverage {
    /// How many steps the workflow has, those of sub-workflows included.
    pub steps: usize,
    /// The steps that no test reached, by their places.
    pub steps_never_reached: Vec<String>,
    /// The cases that no test took, as `<place>: <case>`.
    pub cases_never_taken: Vec<String>,
}

impl FileReport {
    /// How many tests have a status.
    #[must_use]
    pub fn count(&self, status: TestStatus) -> usize {
        self.tests.iter().filter(|test| test.status == status).count()
    }
}

fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

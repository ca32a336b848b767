//! Workflow test files: `review.test.yaml`, which `orchestr8 test` executes.
//!
//! A [`TestFile`] says what an execution is [`Given`], how calls are [`Mock`]ed, what happens to it from outside
//! ([`Stimulus`]), and what is true in the end ([`Expectation`]). Unknown keys are errors. Reading keeps the places of everything,
//! so that a check that fails can name its line.
//!
//! ```
//! use orchestr8_schema::{source::Options, test_file::{MockTarget, TestFile}};
//!
//! let text = r#"{
//!     "workflow": "./review.yaml",
//!     "defaults": { "given": { "input": { "topic": "rust" } } },
//!     "tests": [{
//!         "name": "falls back when search is down",
//!         "given": { "input": { "depth": 2 } },
//!         "mocks": { "search": { "fail": { "code": "NETWORK" } } },
//!         "then": { "status": "completed", "steps": { "search": { "attempts": 3 } } }
//!     }]
//! }"#;
//! let file = TestFile::read(text, &Options::new().file_name("review.test.json"))?;
//! let scenario = &file.value.scenarios()[0];
//! assert_eq!(scenario.given.input, Some(serde_json::json!({ "topic": "rust", "depth": 2 })));
//! assert!(scenario.mocks.contains_key(&"search".parse::<MockTarget>()?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod expectation;
mod given;
mod mock;
mod mock_file;
mod pattern;
mod stimulus;

use std::fmt;

use indexmap::IndexMap;
use schemars::JsonSchema;

pub use self::{
    expectation::{Bounds, Expectation, FailureExpectation, JournalExpectation, StepExpectation, UsageExpectation},
    given::Given,
    mock::{Mock, MockAnswer, MockFailure, MockRule, MockTarget},
    mock_file::{CalleeFacts, MockFile},
    pattern::{InvalidStepPattern, StepPattern},
    stimulus::{Action, EventPattern, Moment, Stimulus},
};
use crate::{
    InvalidDocument, Span,
    problem::escape,
    source::{self, Loaded, Options, Places},
};

/// The tests of one workflow.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TestFile {
    /// The path of the workflow's file, relative to this one.
    #[schemars(length(min = 1))]
    pub workflow: String,
    /// Whether a mock that no test uses is an error; default false, a warning.
    #[schemars(default)]
    pub strict: bool,
    /// What every test begins with.
    #[schemars(default)]
    pub defaults: Defaults,
    /// The tests, at least one, each with a name of its own.
    #[schemars(length(min = 1))]
    pub tests: Vec<Test>,
}

/// What every test of a file begins with.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Defaults {
    /// What its executions are given.
    pub given: Given,
    /// How its calls are answered, where a test does not say otherwise; one that a test has no use for is no mistake.
    #[schemars(with = "std::collections::BTreeMap<String, Mock>")]
    pub mocks: IndexMap<MockTarget, Mock>,
}

/// One test, or a table of them.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Test {
    /// What is tested, in a few words.
    #[schemars(length(min = 1))]
    pub name: String,
    /// What the execution is given.
    #[schemars(default)]
    pub given: Given,
    /// How calls are answered.
    #[schemars(default, with = "std::collections::BTreeMap<String, Mock>")]
    pub mocks: IndexMap<MockTarget, Mock>,
    /// What happens to the execution from outside, in the order of time.
    #[schemars(default)]
    pub when: Vec<Stimulus>,
    /// What is checked in the end.
    #[schemars(default)]
    pub then: Expectation,
    /// A table: the test is executed once for each of them.
    #[schemars(default, length(min = 1))]
    pub cases: Option<Vec<TestCase>>,
}

/// A row of a table: what differs from the test that it belongs to.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TestCase {
    /// What the row is about.
    #[schemars(length(min = 1))]
    pub name: String,
    /// What the execution is given, over the test's.
    #[schemars(default)]
    pub given: Given,
    /// What is checked in the end, over the test's.
    #[schemars(default)]
    pub then: Expectation,
}

/// One execution that is to be tested: a test, or a test with one row of its table, over the file's defaults.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Scenario {
    /// The test's name; of a row, `<test> / <row>`.
    pub name: String,
    /// What the execution is given.
    pub given: Given,
    /// How calls are answered, the test's own first, then the defaults'.
    pub mocks: IndexMap<MockTarget, Mock>,
    /// How many of the mocks are the test's own, and not defaults.
    pub own_mocks: usize,
    /// What happens to the execution from outside.
    pub when: Vec<Stimulus>,
    /// What is checked in the end.
    pub then: Expectation,
    /// The places that it is made of, as JSON pointers: its row, if it has one, and its test.
    pub pointers: Vec<String>,
}

impl TestFile {
    /// Reads a test file.
    ///
    /// # Errors
    ///
    /// When the text cannot be read, a key is unknown, or a value has another type or form; all problems at once.
    pub fn read(text: impl AsRef<[u8]>, options: &Options<'_>) -> Result<Loaded<Self>, InvalidDocument> {
        source::read_test_file(text.as_ref(), options)
    }

    /// Returns the executions that the file asks for, in its order.
    #[must_use]
    pub fn scenarios(&self) -> Vec<Scenario> {
        let mut scenarios = Vec::with_capacity(self.tests.len());
        for (number, test) in self.tests.iter().enumerate() {
            let given = test.given.over(&self.defaults.given);
            let mut mocks = test.mocks.clone();
            for (target, mock) in &self.defaults.mocks {
                mocks.entry(target.clone()).or_insert_with(|| mock.clone());
            }
            let whole = Scenario {
                name: test.name.clone(),
                given,
                mocks,
                own_mocks: test.mocks.len(),
                when: test.when.clone(),
                then: test.then.clone(),
                pointers: vec![format!("/tests/{number}")],
            };
            let Some(cases) = &test.cases else {
                scenarios.push(whole);
                continue;
            };
            for (row, case) in cases.iter().enumerate() {
                let mut scenario = whole.clone();
                scenario.name = format!("{} / {}", test.name, case.name);
                scenario.given = case.given.over(&scenario.given);
                scenario.then = case.then.over(&scenario.then);
                scenario.pointers.insert(0, format!("/tests/{number}/cases/{row}"));
                scenarios.push(scenario);
            }
        }
        scenarios
    }
}

impl Scenario {
    /// Returns where something of the scenario stands in the file, such as `["then", "steps", "search", "attempts"]`: in its row,
    /// else in its test; of what is in neither, the place of what would hold it.
    #[must_use]
    pub fn span(&self, places: &Places, keys: &[&str]) -> Option<Span> {
        (0..=keys.len()).rev().find_map(|depth| {
            let rest: String = keys[..depth].iter().map(|key| format!("/{}", escape(key))).collect();
            self.pointers.iter().find_map(|pointer| places.span(&format!("{pointer}{rest}")))
        })
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

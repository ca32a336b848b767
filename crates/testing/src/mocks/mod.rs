//! What answers calls instead of those who are called: the mocks of a test file or of a file of mocks, beside the workflow that they are
//! about.

mod callees;
mod nobody;
mod place;
mod replace;

use std::{borrow::Cow, time::Duration};

use indexmap::IndexMap;
use orchestr8_agent_base::AgentError;
use orchestr8_schema::{
    Millis, StepPath,
    expression::{OwnField, Root, Scope, Template},
    test_file::{Mock, MockAnswer, MockFailure, MockTarget},
};
use serde_json::{Value, json};

pub(crate) use self::{
    callees::Callees,
    nobody::{NoStandIn, Nobody, completed, replacement},
    place::{place_of, static_path},
    replace::prepared,
};

/// The most bytes of JSON that a mocked value may have.
const MAX_VALUE: u64 = Template::MAX_OUTPUT_SIZE;

/// Who is called: an agent, a tool or a model by its name, or what stands in for a step of another kind, by its number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Called {
    Agent(String),
    Tool(String),
    /// As it is asked for, behind its provider if one is said.
    Model(String),
    Replaced(usize),
}

impl Called {
    /// Whether it is the model that a name means: whole, or without its provider.
    pub(crate) fn is_model(&self, name: &str) -> bool {
        let Self::Model(model) = self else { return false };
        model == name || model.split_once('/').is_some_and(|(_, model)| model == name)
    }
}

/// A step of another kind than agent and tool that a mock answers for.
#[derive(Clone, Debug)]
pub(crate) struct Replaced {
    /// The step's place, without items and iterations.
    pub(crate) place: String,
    /// What a sub-workflow is referred to by.
    pub(crate) reference: Option<String>,
}

/// The mocks of an execution, and who they are for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mocks {
    mocks: Vec<(MockTarget, Mock)>,
    pub(crate) callees: Callees,
    pub(crate) replaced: Vec<Replaced>,
}

/// How a call is answered.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// By this value, after this time if one is given.
    Value(Value, Option<Duration>),
    /// By this failure, likewise.
    Failure(MockFailure, Option<Duration>),
    /// Not at all.
    Hang,
    /// By the real one.
    Real,
}

impl Mocks {
    pub(crate) fn new(mocks: &IndexMap<MockTarget, Mock>, callees: Callees, replaced: Vec<Replaced>) -> Self {
        let mocks = mocks.iter().map(|(target, mock)| (target.clone(), mock.clone())).collect();
        Self { mocks, callees, replaced }
    }

    /// Returns what a mock is for, by number.
    pub(crate) fn target(&self, number: usize) -> &MockTarget {
        &self.mocks[number].0
    }

    pub(crate) fn mock(&self, number: usize) -> &Mock {
        &self.mocks[number].1
    }

    /// Whether a step calls what it names, rather than a hook of it, or what undoes it.
    pub(crate) fn is_own_call(&self, called: &Called, path: &StepPath) -> bool {
        let place = static_path(path);
        match called {
            Called::Replaced(number) => self.replaced.get(*number).is_some_and(|replaced| replaced.place == place),
            called => self.callees.of_step(&place) == Some(called),
        }
    }

    /// Finds the most specific mock of a call.
    pub(crate) fn of(&self, called: &Called, path: Option<&StepPath>) -> Option<usize> {
        if self.mocks.is_empty() {
            return None;
        }
        let own = path.filter(|path| self.is_own_call(called, path));
        let fits = |target: &MockTarget| match (target, called) {
            (MockTarget::Step(pattern), _) => own.is_some_and(|path| pattern.matches(path)),
            (MockTarget::Agent(id), Called::Agent(name)) => id.as_str() == name,
            (MockTarget::Tool(tool), Called::Tool(name)) => tool.as_str() == name,
            (MockTarget::Model(model), called) => called.is_model(model),
            (MockTarget::Workflow(reference), Called::Replaced(number)) => {
                self.replaced.get(*number).and_then(|replaced| replaced.reference.as_deref()) == Some(&**reference)
            }
            _ => false,
        };
        let rank = |target: &MockTarget| match target {
            MockTarget::Step(pattern) => pattern.wildcards(),
            _ => usize::MAX,
        };
        let fitting = self.mocks.iter().enumerate().filter(|(_, (target, _))| fits(target));
        fitting.min_by_key(|(_, (target, _))| rank(target)).map(|(number, _)| number)
    }

    /// Whether a mock answers for some of the calls of an agent or tool.
    pub(crate) fn answers_for(&self, name: &str) -> bool {
        self.mocks.iter().any(|(target, _)| match target {
            MockTarget::Step(pattern) => match self.callees.of_step(&place_of(pattern)) {
                Some(Called::Agent(called) | Called::Tool(called)) => called == name,
                _ => false,
            },
            MockTarget::Agent(id) => id.as_str() == name,
            MockTarget::Tool(tool) => tool.as_str() == name,
            _ => false,
        })
    }

    pub(crate) fn name<'a>(&'a self, called: &'a Called) -> Cow<'a, str> {
        match called {
            Called::Agent(name) | Called::Tool(name) | Called::Model(name) => Cow::Borrowed(name),
            Called::Replaced(number) => match self.replaced.get(*number) {
                Some(replaced) => Cow::Owned(format!("`{}`", replaced.place)),
                None => Cow::Borrowed("a step"),
            },
        }
    }
}

/// Goes down in a mock to the answer of a call, and notes the way. `turn` says which answer of a sequence comes, by the way to it and by
/// how many it has. `Err` says why there is none.
pub(crate) fn resolve(
    mock: &Mock,
    input: &Value,
    attempt: u32,
    way: &mut Vec<String>,
    mut turn: impl FnMut(&[String], usize) -> Result<usize, String>,
) -> Result<Answer, String> {
    let (mut mock, mut after) = (mock, mock.after);
    loop {
        after = mock.after.or(after);
        let delay = after.map(Millis::as_duration);
        match &mock.answer {
            MockAnswer::Returns(template) => {
                way.push("returns".to_owned());
                let value = template.resolve(&CallInput(input), MAX_VALUE).map_err(|error| error.to_string())?;
                return Ok(Answer::Value(value, delay));
            }
            MockAnswer::Fail(failure) => return Ok(Answer::Failure(failure.clone(), delay)),
            MockAnswer::Hang => return Ok(Answer::Hang),
            MockAnswer::Sequence(parts) => {
                way.push("sequence".to_owned());
                let place = turn(way, parts.len())?;
                way.push(place.to_string());
                mock = &parts[place];
            }
            MockAnswer::By(rules) => {
                way.push("by".to_owned());
                let seen = json!({ "input": input, "attempt": attempt });
                let mut found = None;
                for (place, rule) in rules.iter().enumerate() {
                    let holds = match &rule.when {
                        None => true,
                        Some(when) => when.holds(&seen).map_err(|error| error.to_string())?,
                    };
                    if holds {
                        found = Some((place, &rule.mock));
                        break;
                    }
                }
                let Some((place, rule)) = found else {
                    return Err(format!("no rule holds for attempt {attempt} with the input {input}"));
                };
                way.push(place.to_string());
                mock = rule;
            }
            _ => return Ok(Answer::Real),
        }
    }
}

/// The input of a call, as the expressions of a mock see it.
struct CallInput<'a>(&'a Value);

impl Scope for CallInput<'_> {
    fn root(&self, root: Root) -> Option<Cow<'_, Value>> {
        (root == Root::Own(OwnField::Input)).then_some(Cow::Borrowed(self.0))
    }
}

/// Makes the error of a mocked failure.
pub(crate) fn error_of(failure: &MockFailure) -> AgentError {
    let message = failure.message.as_deref().unwrap_or(MockFailure::DEFAULT_MESSAGE);
    let error = AgentError::new(failure.code, message);
    match failure.retry_after {
        Some(delay) => error.with_retry_after(delay.as_duration()),
        None => error,
    }
}

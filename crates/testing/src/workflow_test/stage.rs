//! What answers the calls of an execution under test, and remembers them.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use orchestr8_agent_base::{AgentContext, AgentError};
use orchestr8_schema::{
    StepPath,
    expression::{OwnField, Root, Scope, Template},
    json_schema::{JsonValidator, Violations},
    test_file::{Mock, MockAnswer, MockFailure, MockTarget, Scenario, StepPattern},
};
use serde_json::{Value, json};

use super::{callees::Callees, place::static_path};

/// The most bytes of JSON that a mocked value may have.
const MAX_VALUE: u64 = Template::MAX_OUTPUT_SIZE;

/// Who is called: an agent or a tool by its name, or what stands in for a step of another kind, by its number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Called {
    Agent(String),
    Tool(String),
    Replaced(usize),
}

/// A step of another kind than agent and tool that a mock answers for.
#[derive(Clone, Debug)]
pub(super) struct Replaced {
    /// The step's place, without items and iterations.
    pub(super) place: String,
    /// What a sub-workflow is referred to by.
    pub(super) reference: Option<String>,
}

/// Answers calls as a scenario's mocks say.
#[derive(Debug)]
pub(super) struct Stage {
    mocks: Vec<(MockTarget, Mock)>,
    callees: Callees,
    replaced: Vec<Replaced>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// How often each was called.
    called: HashMap<Called, u32>,
    /// How often each step instance called what it names itself.
    by_step: BTreeMap<String, (StepPath, u32)>,
    /// Which mocks have answered, by number.
    used: BTreeSet<usize>,
    /// How many answers of a sequence were given, by its place.
    given: HashMap<Vec<String>, usize>,
    problems: Vec<Problem>,
}

/// What went wrong with a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Problem {
    /// The mock that it is about, by number, and the way down in it.
    pub(super) mock: Option<(usize, Vec<String>)>,
    pub(super) message: String,
    pub(super) step: String,
}

/// How a call is answered.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    Value {
        value: Value,
        after: Duration,
    },
    Failure {
        failure: MockFailure,
        after: Duration,
    },
    Hang,
    Real,
    /// The test is not meant to come here.
    Wrong(String),
}

impl Stage {
    pub(super) fn new(scenario: &Scenario, callees: Callees, replaced: Vec<Replaced>) -> Self {
        let mocks = scenario.mocks.iter().map(|(target, mock)| (target.clone(), mock.clone())).collect();
        Self { mocks, callees, replaced, memory: Mutex::default() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides how a call is answered.
    pub(super) fn answer(
        &self,
        called: &Called,
        input: &Value,
        cx: &AgentContext,
        schema: Option<&JsonValidator>,
    ) -> Answer {
        let mut memory = self.memory();
        *memory.called.entry(called.clone()).or_default() += 1;
        let is_own = self.is_own_call(called, cx);
        if is_own {
            let path = cx.step_path();
            memory.by_step.entry(path.as_str().to_owned()).or_insert_with(|| (path.clone(), 0)).1 += 1;
        }
        let Some(number) = self.mock_of(called, is_own, cx) else { return self.without_mock(&mut memory, called, cx) };
        memory.used.insert(number);
        let mut way = Vec::new();
        let answer = resolve(&self.mocks[number].1, input, cx, &mut way, &mut memory.given, number);
        let answer = match answer {
            Ok(Answer::Real) if !self.callees.is_registered(called) => {
                Err(format!("{} is not there to be called", self.name(called)))
            }
            Ok(Answer::Value { value, after }) => match schema.map(|schema| schema.validate(&value)) {
                Some(Err(violations)) => Err(format!(
                    "the answer breaks the output schema of {}: {}",
                    self.name(called),
                    Violations(&violations)
                )),
                _ => Ok(Answer::Value { value, after }),
            },
            other => other,
        };
        answer.unwrap_or_else(|message| {
            let problem = Problem { mock: Some((number, way)), message, step: cx.step_path().to_string() };
            Self::blame(&mut memory, problem)
        })
    }

    /// Whether a call will reach the real one.
    pub(super) fn is_real(&self, called: &Called, cx: &AgentContext) -> bool {
        match self.mock_of(called, self.is_own_call(called, cx), cx) {
            Some(number) => self.mocks[number].1.answer == MockAnswer::Real,
            None => self.callees.is_unasked(called),
        }
    }

    /// Whether a step calls what it names, rather than a hook of it, or what undoes it.
    fn is_own_call(&self, called: &Called, cx: &AgentContext) -> bool {
        let place = static_path(cx.step_path());
        match called {
            Called::Replaced(number) => self.replaced.get(*number).is_some_and(|replaced| replaced.place == place),
            called => self.callees.of_step(&place) == Some(called),
        }
    }

    /// Finds the most specific mock of a call.
    fn mock_of(&self, called: &Called, is_own: bool, cx: &AgentContext) -> Option<usize> {
        let fits = |target: &MockTarget| match (target, called) {
            (MockTarget::Step(pattern), _) => is_own && pattern.matches(cx.step_path()),
            (MockTarget::Agent(id), Called::Agent(name)) => id.as_str() == name,
            (MockTarget::Tool(tool), Called::Tool(name)) => tool.as_str() == name,
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

    fn without_mock(&self, memory: &mut Memory, called: &Called, cx: &AgentContext) -> Answer {
        if self.callees.is_unasked(called) {
            return Answer::Real;
        }
        let step = cx.step_path().to_string();
        let message = match called {
            Called::Replaced(_) => format!("`{step}` has no mock, and other instances of it have: mock all, with `*`"),
            called => format!("`{step}` calls {}, which is not mocked", self.name(called)),
        };
        Self::blame(memory, Problem { mock: None, message, step })
    }

    fn blame(memory: &mut Memory, problem: Problem) -> Answer {
        let answer = Answer::Wrong(problem.message.clone());
        if !memory.problems.contains(&problem) {
            memory.problems.push(problem);
        }
        answer
    }

    fn name<'a>(&'a self, called: &'a Called) -> Cow<'a, str> {
        match called {
            Called::Agent(name) | Called::Tool(name) => Cow::Borrowed(name),
            Called::Replaced(number) => match self.replaced.get(*number) {
                Some(replaced) => Cow::Owned(format!("`{}`", replaced.place)),
                None => Cow::Borrowed("a step"),
            },
        }
    }

    // === what came of it ===

    pub(super) fn problems(&self) -> Vec<Problem> {
        self.memory().problems.clone()
    }

    /// The mocks that have answered, by number.
    pub(super) fn used(&self) -> BTreeSet<usize> {
        self.memory().used.clone()
    }

    /// How often a step's own calls were made, over all instances that fit; `None` if there was none, or it calls nothing.
    pub(super) fn calls_of_step(&self, pattern: &StepPattern) -> Option<u32> {
        let memory = self.memory();
        let fitting = memory.by_step.values().filter(|(path, _)| pattern.matches(path));
        fitting.map(|(_, count)| *count).reduce(u32::saturating_add)
    }

    pub(super) fn calls_of(&self, called: &Called) -> u32 {
        self.memory().called.get(called).copied().unwrap_or_default()
    }

    /// The places of steps of other kinds that are mocked.
    pub(super) fn places(&self) -> impl Iterator<Item = &str> {
        self.replaced.iter().map(|replaced| &*replaced.place)
    }

    /// The numbers of what stands in for a sub-workflow.
    pub(super) fn replacing(&self, reference: &str) -> impl Iterator<Item = Called> {
        let numbers = self.replaced.iter().enumerate();
        numbers
            .filter(move |(_, replaced)| replaced.reference.as_deref() == Some(reference))
            .map(|(number, _)| Called::Replaced(number))
    }
}

/// Goes down in a mock to the answer of this call. `Err` says why there is none.
fn resolve(
    mock: &Mock,
    input: &Value,
    cx: &AgentContext,
    way: &mut Vec<String>,
    given: &mut HashMap<Vec<String>, usize>,
    number: usize,
) -> Result<Answer, String> {
    let (mut mock, mut after) = (mock, mock.after);
    loop {
        after = mock.after.or(after);
        let delay = after.map_or(Duration::ZERO, |after| after.as_duration());
        match &mock.answer {
            MockAnswer::Returns(template) => {
                way.push("returns".to_owned());
                let value = template.resolve(&CallInput(input), MAX_VALUE).map_err(|error| error.to_string())?;
                return Ok(Answer::Value { value, after: delay });
            }
            MockAnswer::Fail(failure) => return Ok(Answer::Failure { failure: failure.clone(), after: delay }),
            MockAnswer::Hang => return Ok(Answer::Hang),
            MockAnswer::Sequence(parts) => {
                way.push("sequence".to_owned());
                let mut key = way.clone();
                key.push(number.to_string());
                let place = given.entry(key).or_default();
                *place += 1;
                mock = parts
                    .get(*place - 1)
                    .ok_or_else(|| format!("this is call {place}, and the sequence has {} answers", parts.len()))?;
                way.push((*place - 1).to_string());
            }
            MockAnswer::By(rules) => {
                way.push("by".to_owned());
                let seen = json!({ "input": input, "attempt": cx.attempt() });
                let mut found = None;
                for (place, rule) in rules.iter().enumerate() {
                    let holds = match &rule.when {
                        None => true,
                        Some(when) => is_true(&when.evaluate(&seen).map_err(|error| error.to_string())?),
                    };
                    if holds {
                        found = Some((place, &rule.mock));
                        break;
                    }
                }
                let Some((place, rule)) = found else {
                    return Err(format!("no rule holds for attempt {} with the input {input}", cx.attempt()));
                };
                way.push(place.to_string());
                mock = rule;
            }
            _ => return Ok(Answer::Real),
        }
    }
}

/// What JMESPath calls true: everything but null, false and what is empty.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
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
pub(super) fn error_of(failure: &MockFailure) -> AgentError {
    let message = failure.message.as_deref().unwrap_or(MockFailure::DEFAULT_MESSAGE);
    let error = AgentError::new(failure.code, message);
    match failure.retry_after {
        Some(delay) => error.with_retry_after(delay.as_duration()),
        None => error,
    }
}

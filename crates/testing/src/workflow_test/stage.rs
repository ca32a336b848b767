//! What answers the calls of an execution under test, and remembers them.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use orchestr8_agent_base::AgentContext;
use orchestr8_schema::{
    StepPath,
    test_file::{MockAnswer, Scenario, StepPattern},
};
use serde_json::Value;

use crate::mocks::{Answer, Called, Callees, Mocks, Replaced, resolve};

/// Answers calls as a scenario's mocks say.
#[derive(Debug)]
pub(super) struct Stage {
    mocks: Mocks,
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
    given: HashMap<(usize, Vec<String>), usize>,
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

/// Who makes a call.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// The step; absent if nobody knows.
    pub(super) path: Option<StepPath>,
    pub(super) attempt: u32,
}

impl Caller {
    pub(super) fn of(cx: &AgentContext) -> Self {
        Self { path: Some(cx.step_path().clone()), attempt: cx.attempt() }
    }

    /// Somebody who asks in a task of its own.
    pub(super) fn unknown() -> Self {
        Self { path: None, attempt: 1 }
    }
}

/// What the stage has a call do.
#[derive(Debug, PartialEq)]
pub(super) enum Directed {
    To(Answer),
    /// The test is not meant to come here.
    Wrong(String),
}

impl Stage {
    pub(super) fn new(scenario: &Scenario, callees: Callees, replaced: Vec<Replaced>) -> Self {
        Self { mocks: Mocks::new(&scenario.mocks, callees, replaced), memory: Mutex::default() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides how a call is answered; `fits` says what is wrong with a value as its answer.
    pub(super) fn answer(
        &self,
        called: &Called,
        input: &Value,
        caller: &Caller,
        fits: impl FnOnce(&Value) -> Result<(), String>,
    ) -> Directed {
        let mut memory = self.memory();
        *memory.called.entry(called.clone()).or_default() += 1;
        let path = caller.path.as_ref();
        if let Some(path) = path.filter(|path| self.mocks.is_own_call(called, path)) {
            memory.by_step.entry(path.as_str().to_owned()).or_insert_with(|| (path.clone(), 0)).1 += 1;
        }
        let step = path.map_or_else(|| "a task of its own".to_owned(), ToString::to_string);
        let Some(number) = self.mocks.of(called, path) else { return self.without_mock(&mut memory, called, step) };
        memory.used.insert(number);
        let mut way = Vec::new();
        let given = &mut memory.given;
        let answer = resolve(self.mocks.mock(number), input, caller.attempt, &mut way, |way, length| {
            let place = given.entry((number, way.to_vec())).or_default();
            *place += 1;
            match *place {
                place if place > length => Err(format!("this is call {place}, and the sequence has {length} answers")),
                place => Ok(place - 1),
            }
        });
        let answer = match answer {
            Ok(Answer::Real) if !self.mocks.callees.is_registered(called) => {
                Err(format!("{} is not there to be called", self.mocks.name(called)))
            }
            Ok(Answer::Value(value, after)) => fits(&value).map(|()| Answer::Value(value, after)),
            other => other,
        };
        match answer {
            Ok(answer) => Directed::To(answer),
            Err(message) => {
                let problem = Problem { mock: Some((number, way)), message, step };
                Self::blame(&mut memory, problem)
            }
        }
    }

    /// Whether a call will reach the real one.
    pub(super) fn is_real(&self, called: &Called, cx: &AgentContext) -> bool {
        match self.mocks.of(called, Some(cx.step_path())) {
            Some(number) => self.mocks.mock(number).answer == MockAnswer::Real,
            None => self.mocks.callees.is_unasked(called),
        }
    }

    fn without_mock(&self, memory: &mut Memory, called: &Called, step: String) -> Directed {
        if self.mocks.callees.is_unasked(called) {
            return Directed::To(Answer::Real);
        }
        let message = match called {
            Called::Model(name) => {
                format!("`{step}` asks the model `{name}`, which is not mocked: add `model:{name}` to the mocks")
            }
            Called::Replaced(_) => format!("`{step}` has no mock, and other instances of it have: mock all, with `*`"),
            called => format!("`{step}` calls {}, which is not mocked", self.mocks.name(called)),
        };
        Self::blame(memory, Problem { mock: None, message, step })
    }

    fn blame(memory: &mut Memory, problem: Problem) -> Directed {
        let directed = Directed::Wrong(problem.message.clone());
        if !memory.problems.contains(&problem) {
            memory.problems.push(problem);
        }
        directed
    }

    pub(super) fn name<'a>(&'a self, called: &'a Called) -> Cow<'a, str> {
        self.mocks.name(called)
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

    /// How often the models were asked that are meant by a name.
    pub(super) fn calls_of_model(&self, name: &str) -> u32 {
        self.memory().called.iter().filter(|(called, _)| called.is_model(name)).map(|(_, count)| count).sum()
    }

    /// The places of steps of other kinds that are mocked.
    pub(super) fn places(&self) -> impl Iterator<Item = &str> {
        self.mocks.replaced.iter().map(|replaced| &*replaced.place)
    }

    /// The numbers of what stands in for a sub-workflow.
    pub(super) fn replacing(&self, reference: &str) -> impl Iterator<Item = Called> {
        let numbers = self.mocks.replaced.iter().enumerate();
        numbers
            .filter(move |(_, replaced)| replaced.reference.as_deref() == Some(reference))
            .map(|(number, _)| Called::Replaced(number))
    }
}

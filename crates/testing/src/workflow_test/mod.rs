//! Workflow test files, executed: `review.test.yaml`, which `orchestr8 test` runs.
//!
//! Each [`Scenario`] of a [`TestFile`] is one execution of the real engine (plan, machine, driver, resilience layers) with a memory
//! store of its own, on virtual time. What is mocked answers as its mock says; agents and tools that are registered and not
//! mocked are called; one that is neither fails the test, and is not called. Models are never asked: who asks one is answered by the mock of
//! `model:<name>`, turn by turn. A mocked step of another kind (a composite, a wait, an
//! approval, a sub-workflow) becomes a call of a stand-in for this execution.
//!
//! ```
//! use orchestr8_agent_base::{AgentRegistry, HelloWorld};
//! use orchestr8_schema::{InvalidWorkflow, ValidWorkflow, source::{Options, load}, test_file::TestFile};
//! use orchestr8_testing::workflow_test::{TestRunner, TestStatus};
//!
//! let workflow = r#"{
//!     "version": "1.0.0",
//!     "metadata": { "id": "greet", "name": "Greet" },
//!     "steps": [
//!         { "id": "look", "agent": { "id": "@acme/search" } },
//!         { "id": "greet", "dependencies": ["look"], "agent": { "id": "@orchestr8/hello-world" },
//!           "input": { "name": "${steps.look.output.name}" } }
//!     ]
//! }"#;
//! let tests = r#"{
//!     "workflow": "./greet.json",
//!     "tests": [{
//!         "name": "greets whom it finds",
//!         "mocks": { "agent:@acme/search": { "sequence": [{ "fail": { "code": "NETWORK" } }, { "returns": { "name": "Ada" } }] } },
//!         "then": { "status": "completed", "steps": { "look": { "attempts": 2 } } }
//!     }]
//! }"#;
//! let tests = TestFile::read(tests, &Options::new().file_name("greet.test.json"))?;
//! let mut agents = AgentRegistry::new();
//! agents.register(HelloWorld)?;
//!
//! let runner = TestRunner::new(agents);
//! let load = |options: Options<'_>| load(workflow, &options).map_err(InvalidWorkflow::into_diagnostics);
//! let report = runner.run("greet.test.json", &tests, load, |_| true);
//! assert_eq!(report.count(TestStatus::Passed), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
pub(crate) mod compare;
mod model;
mod perform;
mod report;
mod stage;
mod stand_in;

use std::{
    collections::{BTreeSet, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use orchestr8_agent_base::{AgentRegistry, Clock};
use orchestr8_core::{Snapshot, clock::SystemClock};
use orchestr8_schema::{
    Diagnostic, Span, ValidWorkflow,
    config::{Config, ConfigLayer},
    source::{Loaded, Options, Places},
    test_file::{Given, MockTarget, Scenario, TestFile},
};
use serde_json::{Value, json};

pub use self::report::{Failure, FileReport, TestCoverage, TestReport, TestStatus};
use self::{
    perform::{Performance, Subject, perform},
    stage::{Problem, Stage},
};
use crate::mocks::{Callees, completed, prepared, static_path};

/// How many lines of the journal a failed test shows.
const LINES: usize = 20;

/// Executes workflow test files.
#[derive(Clone, Debug)]
#[must_use]
pub struct TestRunner {
    agents: AgentRegistry,
    /// Those that are called without a mock that asks for it; absent for all.
    unasked: Option<AgentRegistry>,
    threads: usize,
}

/// A workflow that can be executed, and who is called by it.
struct Prepared {
    workflow: ValidWorkflow,
    agents: AgentRegistry,
    callees: Callees,
}

/// What came of one execution, for the report of the whole file.
struct Performed {
    report: TestReport,
    /// Which of the scenario's mocks have answered.
    used: BTreeSet<usize>,
    steps: HashSet<String>,
    cases: HashSet<(String, String)>,
}

impl TestRunner {
    /// Makes a runner whose workflows may call these agents and tools.
    pub fn new(agents: AgentRegistry) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { agents, unasked: None, threads }
    }

    /// Has only the agents and tools of this registry called without a mock; all others need one, if only `real: true`. For agents that
    /// may leave the process.
    pub fn unasked_only(mut self, agents: &AgentRegistry) -> Self {
        self.unasked = Some(agents.clone());
        self
    }

    /// Sets how many threads execute tests, one for each core unless told otherwise. It changes no result.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Executes the tests of a file that are chosen by their names, those of a row as `<test> / <row>`.
    ///
    /// `file` is the name that the report has; `load` reads and validates the workflow under the options that it is given,
    /// completed by whoever knows where its sub-workflows and prompts are, or says what is wrong with it.
    pub fn run(
        &self,
        file: &str,
        tests: &Loaded<TestFile>,
        load: impl Fn(Options<'_>) -> Result<ValidWorkflow, Vec<Diagnostic>>,
        is_chosen: impl Fn(&str) -> bool,
    ) -> FileReport {
        let prepared = self.prepare(load);
        let scenarios = tests.value.scenarios();
        let chosen: Vec<bool> = scenarios.iter().map(|scenario| is_chosen(&scenario.name)).collect();
        let performed = Mutex::new(scenarios.iter().map(|_| None).collect::<Vec<Option<Performed>>>());
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(scenario) = scenarios.get(index) else { return };
                let done = match (chosen[index], &prepared) {
                    (false, _) => skipped(scenario),
                    (true, Ok(prepared)) => prepared.test(scenario, &tests.places),
                    (true, Err(problems)) => invalid(scenario, &tests.places, problems),
                };
                performed.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(done);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads.min(scenarios.len()) {
                scope.spawn(work);
            }
            work();
        });
        let performed = performed.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut performed: Vec<_> = performed.into_iter().flatten().collect();
        let is_whole = chosen.iter().all(|chosen| *chosen);
        let mut warnings = Vec::new();
        if is_whole && prepared.is_ok() {
            let unused = unused(tests, &scenarios, &performed);
            if tests.value.strict {
                for (index, failure) in unused {
                    let report = &mut performed[index].report;
                    report.status = TestStatus::Failed;
                    report.failures.push(failure);
                }
            } else {
                warnings.extend(unused.into_iter().map(|(_, failure)| failure));
            }
        }
        let coverage = prepared.as_ref().ok().filter(|_| is_whole).map(|prepared| prepared.coverage(&performed));
        let tests = performed.into_iter().map(|performed| performed.report).collect();
        FileReport { file: file.to_owned(), tests, warnings, coverage }
    }

    /// Reads the workflow, and sees to it that whatever it calls has a stand-in.
    fn prepare(
        &self,
        load: impl Fn(Options<'_>) -> Result<ValidWorkflow, Vec<Diagnostic>>,
    ) -> Result<Prepared, Vec<Diagnostic>> {
        // Who is called is known only once it is read.
        let workflow = load(Options::new())?;
        let mut callees = Callees::of(&workflow, &self.agents);
        if let Some(unasked) = &self.unasked {
            callees.ask_for_all_but(&Callees::of(&workflow, unasked));
        }
        let agents = match completed(&self.agents, &callees, |agent| agent, |tool| tool) {
            Ok(agents) => agents,
            Err(error) => {
                return Err(vec![Diagnostic::new(orchestr8_schema::Code::UnknownAgent, "/steps", error.to_string())]);
            }
        };
        let workflow = load(Options::new().agents(&agents))?;
        Ok(Prepared { workflow, agents, callees })
    }
}

impl Prepared {
    fn test(&self, scenario: &Scenario, places: &Places) -> Performed {
        let real = SystemClock::new();
        let began = real.now();
        let mut performed = self.perform(scenario, places);
        performed.report.duration = real.now().since(began);
        let report = &mut performed.report;
        report.status = if report.failures.is_empty() { TestStatus::Passed } else { TestStatus::Failed };
        for failure in &mut report.failures {
            locate(failure, scenario, places);
        }
        report.actuals.retain_mut(|(pointer, _)| {
            let mut known = scenario.pointers.iter().map(|test| format!("{test}/then{pointer}"));
            known.find(|place| places.span(place).is_some()).map(|place| *pointer = place).is_some()
        });
        performed
    }

    fn perform(&self, scenario: &Scenario, places: &Places) -> Performed {
        let mut performed = begun(scenario);
        let failures = &mut performed.report.failures;
        if scenario.then.diagnostics.is_some() {
            failures.push(Failure::new("then.diagnostics", "the workflow is valid"));
            return performed;
        }
        failures.extend(self.strangers(scenario, places));
        let config = configured(&scenario.given).unwrap_or_else(|message| {
            failures.push(Failure::new("given.config", message));
            None
        });
        if !failures.is_empty() {
            return performed;
        }
        let (workflow, replaced) =
            match prepared(&self.workflow, &scenario.mocks, scenario.given.budget.as_ref(), &self.callees) {
                Ok(prepared) => prepared,
                Err(message) => {
                    failures
                        .push(Failure::new("mocks", format!("with these mocks the workflow is not valid: {message}")));
                    return performed;
                }
            };
        let count = replaced.len();
        let stage = Arc::new(Stage::new(scenario, self.callees.clone(), replaced));
        let agents = match stand_in::all_on(&stage, &self.agents, &self.callees, count) {
            Ok(agents) => agents,
            Err(error) => {
                failures.push(Failure::new("mocks", error.to_string()));
                return performed;
            }
        };
        let subject = Subject {
            workflow: &workflow,
            agents: &agents,
            models: &model::all_on(&stage),
            scenario,
            config: config.as_ref(),
        };
        let Performance { snapshot, failures: found } = perform(subject);
        failures.extend(stage.problems().into_iter().map(|problem| of_mock(problem, scenario, places)));
        failures.extend(found);
        performed.used = stage.used();
        if let Some(snapshot) = snapshot {
            let checked = check::check(scenario, &snapshot, &stage, &self.callees);
            failures.extend(checked.failures);
            let report = &mut performed.report;
            report.actuals = checked.actuals;
            report.elapsed = check::elapsed(&snapshot).as_duration();
            if !report.failures.is_empty() {
                report.journal = journal(&snapshot, &report.failures);
            }
            reached(&snapshot, &mut performed);
        }
        performed
    }

    /// Mocks and counts of what the workflow does not have.
    fn strangers(&self, scenario: &Scenario, places: &Places) -> Vec<Failure> {
        let mut failures = Vec::new();
        for (number, target) in scenario.mocks.keys().enumerate() {
            if let Some(message) = self.callees.is_strange(target) {
                let mut failure = Failure::new(format!("mocks.{target}"), message);
                failure.span = span_of_mock(scenario, places, number, &[]);
                failures.push(failure);
            }
        }
        for target in scenario.then.calls.keys() {
            if let Some(message) = self.callees.is_strange(target) {
                let mut failure = Failure::new(format!("calls.{target}"), message);
                failure.span = scenario.span(places, &["then", "calls", &target.to_string()]);
                failures.push(failure);
            }
        }
        let steps = scenario.then.steps.keys().map(|pattern| ("steps", pattern));
        let order = scenario.then.order.iter().map(|pattern| ("order", pattern));
        for (key, pattern) in steps.chain(order) {
            if let Some(message) = self.callees.is_strange(&MockTarget::Step(pattern.clone())) {
                let mut failure = Failure::new(format!("{key}.{pattern}"), message);
                failure.span = scenario.span(places, &["then", key, pattern.as_str()]);
                failures.push(failure);
            }
        }
        failures
    }

    fn coverage(&self, performed: &[Performed]) -> TestCoverage {
        let is_reached = |place: &String| performed.iter().any(|performed| performed.steps.contains(place));
        let is_taken = |case: &(String, String)| performed.iter().any(|performed| performed.cases.contains(case));
        let steps = self.callees.steps.iter().map(|(place, _)| place);
        TestCoverage {
            steps: self.callees.steps.len(),
            steps_never_reached: steps.filter(|place| !is_reached(place)).cloned().collect(),
            cases_never_taken: self
                .callees
                .cases
                .iter()
                .filter(|case| !is_taken(case))
                .map(|(place, case)| format!("{place}: {case}"))
                .collect(),
        }
    }
}

// === reports ===

fn begun(scenario: &Scenario) -> Performed {
    let report = TestReport {
        name: scenario.name.clone(),
        status: TestStatus::Skipped,
        duration: Duration::ZERO,
        elapsed: Duration::ZERO,
        seed: scenario.given.seed.unwrap_or(Given::DEFAULT_SEED),
        failures: Vec::new(),
        journal: Vec::new(),
        actuals: Vec::new(),
    };
    Performed { report, used: BTreeSet::new(), steps: HashSet::new(), cases: HashSet::new() }
}

fn skipped(scenario: &Scenario) -> Performed {
    begun(scenario)
}

/// A test of a workflow that does not validate.
fn invalid(scenario: &Scenario, places: &Places, problems: &[Diagnostic]) -> Performed {
    let mut performed = begun(scenario);
    let report = &mut performed.report;
    let found: BTreeSet<_> =
        problems.iter().filter(|problem| problem.is_error()).map(|problem| problem.code.as_str()).collect();
    match &scenario.then.diagnostics {
        Some(wanted) => {
            let wanted: BTreeSet<_> = wanted.iter().map(|code| code.as_str()).collect();
            if wanted != found {
                let mut failure = Failure::expected("diagnostics", json!(wanted), Some(json!(found)));
                failure.pointer = Some("/diagnostics".to_owned());
                report.failures.push(failure);
            }
        }
        None => {
            let errors: Vec<_> = problems.iter().filter(|problem| problem.is_error()).collect();
            let first = errors.first().map(|problem| {
                let line = problem.span.map(|span| format!(", line {}", span.line)).unwrap_or_default();
                format!(": {} ({}{line})", problem.message, problem.code)
            });
            let more = match errors.len() {
                0 | 1 => String::new(),
                count => format!(", and {} more", count - 1),
            };
            let message = format!("the workflow is not valid{}{more}", first.unwrap_or_default());
            report.failures.push(Failure::new("workflow", message));
        }
    }
    report.status = if report.failures.is_empty() { TestStatus::Passed } else { TestStatus::Failed };
    for failure in &mut report.failures {
        locate(failure, scenario, places);
        if failure.path == "workflow" {
            failure.span = places.span("/workflow");
        }
    }
    performed
}

/// Finds where in the file that stands which does not hold.
fn locate(failure: &mut Failure, scenario: &Scenario, places: &Places) {
    let Some(pointer) = &failure.pointer else {
        if failure.span.is_none() {
            let keys: Vec<_> = failure.path.split(['.', '[', ']']).filter(|key| !key.is_empty()).collect();
            failure.span = scenario.span(places, &keys);
        }
        return;
    };
    let whole = format!("/then{pointer}");
    let prefixes = whole.match_indices('/').map(|(end, _)| &whole[..end]).chain([whole.as_str()]);
    let prefixes: Vec<_> = prefixes.collect();
    let found = prefixes.iter().rev().find_map(|prefix| {
        scenario.pointers.iter().find_map(|pointer| {
            let place = format!("{pointer}{prefix}");
            places.span(&place).map(|span| (place, span))
        })
    });
    if let Some((place, span)) = found {
        (failure.pointer, failure.span) = (Some(place), Some(span));
    }
}

fn of_mock(problem: Problem, scenario: &Scenario, places: &Places) -> Failure {
    let Problem { mock, message, step } = problem;
    let mut failure = Failure::new("mocks", message);
    if let Some((number, way)) = mock {
        if let Some((target, _)) = scenario.mocks.get_index(number) {
            failure.path = format!("mocks.{target}");
        }
        failure.span = span_of_mock(scenario, places, number, &way);
    }
    failure.step = Some(step);
    failure
}

/// Where a mock stands, or what is in it.
fn span_of_mock(scenario: &Scenario, places: &Places, number: usize, way: &[String]) -> Option<Span> {
    let (target, _) = scenario.mocks.get_index(number)?;
    let escaped = target.to_string().replace('~', "~0").replace('/', "~1");
    let root = match number < scenario.own_mocks {
        true => format!("{}/mocks/{escaped}", scenario.pointers.last()?),
        false => format!("/defaults/mocks/{escaped}"),
    };
    let deeper = (0..=way.len()).rev().map(|depth| {
        let rest: String = way[..depth].iter().map(|key| format!("/{key}")).collect();
        format!("{root}{rest}")
    });
    deeper.into_iter().find_map(|pointer| places.span(&pointer))
}

/// The last lines of the journal, of the step that the failures are about if there is one.
fn journal(snapshot: &Snapshot, failures: &[Failure]) -> Vec<String> {
    let entries = snapshot.journal().entries;
    let step = failures.iter().find_map(|failure| failure.step.as_deref());
    let is_about = |path: Option<&str>| match step {
        Some(step) => path.is_some_and(|path| {
            path == step || path.strip_prefix(step).is_some_and(|rest| rest.starts_with(['.', '[', '#']))
        }),
        None => true,
    };
    let about: Vec<_> = entries.iter().filter(|entry| is_about(entry.step_path.as_deref())).collect();
    let shown = if about.is_empty() { entries.iter().collect() } else { about };
    let line = |entry: &&orchestr8_schema::api::Entry| {
        format!("{:>4} +{}ms {} {}", entry.sequence, entry.elapsed_ms, entry.kind, entry.message)
    };
    shown[shown.len().saturating_sub(LINES)..].iter().map(line).collect()
}

/// Writes down what an execution has reached.
fn reached(snapshot: &Snapshot, performed: &mut Performed) {
    let (plan, state) = (snapshot.plan(), snapshot.state());
    let by_path: std::collections::HashMap<_, _> =
        snapshot.steps().into_iter().map(|(result, _)| (result.step_path.clone(), result)).collect();
    for number in 0..state.steps().len() as u32 {
        let Some(path) = state.step_path(plan, orchestr8_schema::event::Activation(number)) else { continue };
        let Some(result) = by_path.get(path.as_str()).filter(|result| check::has_begun(result)) else { continue };
        let place = static_path(&path);
        if let Some(case) = &result.case {
            performed.cases.insert((place.clone(), case.clone()));
        }
        performed.steps.insert(place);
    }
}

/// The mocks that no test has used, each with the first test that has it.
fn unused(tests: &Loaded<TestFile>, scenarios: &[Scenario], performed: &[Performed]) -> Vec<(usize, Failure)> {
    let mut known: Vec<(String, MockTarget, usize, bool)> = Vec::new();
    for (index, (scenario, performed)) in scenarios.iter().zip(performed).enumerate() {
        for (number, target) in scenario.mocks.keys().enumerate() {
            let owner = match number < scenario.own_mocks {
                true => scenario.pointers.last().cloned().unwrap_or_default(),
                false => "/defaults".to_owned(),
            };
            let is_used = performed.used.contains(&number);
            match known.iter_mut().find(|(other, name, ..)| *other == owner && name == target) {
                Some((.., used)) => *used |= is_used,
                None => known.push((owner, target.clone(), index, is_used)),
            }
        }
    }
    let unused = known.into_iter().filter(|(.., used)| !used);
    unused
        .map(|(_, target, index, _)| {
            let scenario = &scenarios[index];
            let number = scenario.mocks.get_index_of(&target).unwrap_or_default();
            let mut failure = Failure::new(format!("mocks.{target}"), "no test uses this mock");
            failure.span = span_of_mock(scenario, &tests.places, number, &[]);
            (index, failure)
        })
        .collect()
}

/// What is given of the program's configuration; absent if nothing is.
fn configured(given: &Given) -> Result<Option<Config>, String> {
    if given.config.is_empty() {
        return Ok(None);
    }
    let text = Value::Object(given.config.clone()).to_string();
    let layer = ConfigLayer::read(text, &Options::new()).map_err(|invalid| {
        let told: Vec<_> = invalid.diagnostics().iter().map(|problem| problem.message.clone()).collect();
        told.join("; ")
    })?;
    Ok(Some(Config::from_layers([&layer.value])))
}

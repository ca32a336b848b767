//! Whether what was expected came.

use std::collections::BTreeSet;

use orchestr8_core::Snapshot;
use orchestr8_schema::{
    Failure as StepFailure, Millis, StepPath,
    api::{Entry, StepResult},
    event::Activation,
    test_file::{Bounds, Expectation, FailureExpectation, MockTarget, Scenario, StepExpectation, StepPattern},
};
use serde_json::{Value, json};

use super::{
    compare::{Extent, difference},
    perform::{fits, fits_text},
    report::Failure,
    stage::Stage,
};
use crate::{
    assert::begins_step,
    mocks::{Called, Callees, place_of, static_path},
};

/// What is compared with what.
pub(super) struct Checking<'a> {
    snapshot: &'a Snapshot,
    stage: &'a Stage,
    callees: &'a Callees,
    entries: Vec<Entry>,
    steps: Vec<(StepPath, Activation, StepResult)>,
    checked: Checked,
}

/// What does not hold, and what came instead.
#[derive(Default)]
pub(super) struct Checked {
    pub(super) failures: Vec<Failure>,
    /// By JSON pointers below `then`.
    pub(super) actuals: Vec<(String, Value)>,
}

/// Checks what is expected of an execution.
pub(super) fn check(scenario: &Scenario, snapshot: &Snapshot, stage: &Stage, callees: &Callees) -> Checked {
    let (plan, state) = (snapshot.plan(), snapshot.state());
    let by_path: std::collections::HashMap<_, _> =
        snapshot.steps().into_iter().map(|(result, _)| (result.step_path.clone(), result)).collect();
    let steps = (0..state.steps().len() as u32).map(Activation).filter_map(|activation| {
        let path = state.step_path(plan, activation)?;
        let result = by_path.get(path.as_str())?.clone();
        Some((path, activation, result))
    });
    let entries = snapshot.journal().entries;
    let steps = steps.collect();
    let mut checking = Checking { snapshot, stage, callees, entries, steps, checked: Checked::default() };
    checking.all(&scenario.then);
    checking.checked
}

impl Checking<'_> {
    fn all(&mut self, then: &Expectation) {
        let status = self.snapshot.status();
        if let Some(wanted) = then.status {
            let error = self.snapshot.state().error().map(|error| format!(" ({}: {})", error.code, error.message));
            self.compare(&["status"], &json!(wanted.as_str()), json!(status.as_str()));
            if let (Some(failure), Some(error)) = (self.checked.failures.last_mut(), error)
                && failure.path == "status"
            {
                failure.message = Some(format!("expected {wanted}, got {status}{error}"));
                failure.step =
                    self.snapshot.state().error().and_then(|error| Some(error.step_path.as_ref()?.to_string()));
            }
        }
        if let Some(wanted) = then.compensation {
            self.compare(&["compensation"], &json!(wanted), json!(self.snapshot.state().compensation()));
        }
        self.outputs(then);
        for (pattern, step) in &then.steps {
            self.step(pattern, step);
        }
        if let Some(errors) = &then.errors {
            self.errors(errors);
        }
        self.order(&then.order);
        for (target, wanted) in &then.calls {
            let actual = self.calls(target);
            self.compare(&["calls", &target.to_string()], &json!(wanted), json!(actual));
        }
        self.journal(then);
        self.usage(then);
        if let Some(wanted) = &then.duration {
            let taken = elapsed(self.snapshot);
            self.bounds(&["duration"], wanted, taken, |taken| Value::String(taken.to_string()));
        }
        if let Some(wanted) = &then.waiting {
            self.waiting(wanted);
        }
    }

    fn fail(&mut self, keys: &[&str], failure: Failure) {
        let mut failure = failure;
        failure.path = keys.join(".");
        failure.pointer = Some(pointer(keys));
        self.checked.failures.push(failure);
    }

    /// Notes what came where a value was expected, and within it.
    fn note(&mut self, at: String, wanted: &Value, actual: &Value) {
        if let (Value::Object(wanted), Value::Object(actual)) = (wanted, actual) {
            for (key, wanted) in wanted {
                if let Some(actual) = actual.get(key) {
                    self.note(format!("{at}{}", pointer(&[key])), wanted, actual);
                }
            }
        }
        self.checked.actuals.push((at, actual.clone()));
    }

    fn compare(&mut self, keys: &[&str], wanted: &Value, actual: Value) {
        self.note(pointer(keys), wanted, &actual);
        if *wanted != actual {
            self.fail(keys, Failure::expected("", wanted.clone(), Some(actual)));
        }
    }

    /// Compares values that may be large: the difference is named, and the whole stands beside it.
    fn compare_within(&mut self, keys: &[&str], wanted: &Value, actual: Option<&Value>, extent: Extent) {
        let Some(actual) = actual else {
            return self.fail(keys, Failure::expected("", wanted.clone(), None));
        };
        self.note(pointer(keys), wanted, actual);
        let Some(found) = difference(actual, wanted, extent) else { return };
        let all: Vec<&str> = keys.iter().copied().chain(found.way.iter().map(String::as_str)).collect();
        let failure = Failure::expected("", found.expected.clone(), found.actual.clone());
        self.fail(&all, failure);
    }

    fn bounds<T: PartialOrd + Copy + serde::Serialize>(
        &mut self,
        keys: &[&str],
        wanted: &Bounds<T>,
        actual: T,
        show: impl Fn(T) -> Value,
    ) {
        self.checked.actuals.push((pointer(keys), show(actual)));
        if wanted.contain(actual) {
            return;
        }
        let failure = match (wanted.min, wanted.max) {
            (Some(min), Some(max)) if min == max => Failure::expected("", show(min), Some(show(actual))),
            (min, max) => {
                let mut range = serde_json::Map::new();
                range.extend(min.map(|min| ("min".to_owned(), show(min))));
                range.extend(max.map(|max| ("max".to_owned(), show(max))));
                Failure::expected("", Value::Object(range), Some(show(actual)))
            }
        };
        self.fail(keys, failure);
    }

    fn outputs(&mut self, then: &Expectation) {
        let Some(wanted) = &then.outputs else { return };
        let extent = if then.exact == Some(true) { Extent::Exact } else { Extent::Subset };
        let actual = self.snapshot.outputs();
        self.compare_within(&["outputs"], wanted, actual.as_ref(), extent);
    }

    // === steps ===

    fn step(&mut self, pattern: &StepPattern, wanted: &StepExpectation) {
        let fitting: Vec<_> = (0..self.steps.len()).filter(|index| pattern.matches(&self.steps[*index].0)).collect();
        if fitting.is_empty() {
            let mut failure = Failure::new("", "it was never reached");
            failure.step = Some(pattern.to_string());
            return self.fail(&["steps", pattern.as_str()], failure);
        }
        let before = self.checked.failures.len();
        for index in fitting {
            let (path, activation, result) = self.steps[index].clone();
            self.instance(pattern, wanted, activation, &result);
            if self.checked.failures.len() > before {
                for failure in &mut self.checked.failures[before..] {
                    failure.step = Some(path.to_string());
                    if pattern.as_str() != path.as_str() {
                        let told = failure.to_string();
                        failure.message =
                            Some(format!("{} (of {path})", told.trim_start_matches(&format!("{}: ", failure.path))));
                    }
                }
                // The other instances would say the same.
                return;
            }
        }
    }

    fn instance(
        &mut self,
        pattern: &StepPattern,
        wanted: &StepExpectation,
        activation: Activation,
        result: &StepResult,
    ) {
        let of = |field: &'static str| ["steps", pattern.as_str(), field];
        let text = |text: Option<&str>| text.map_or(Value::Null, |text| Value::String(text.to_owned()));
        if let Some(wanted) = wanted.status {
            self.compare(&of("status"), &json!(wanted.as_str()), json!(result.status));
        }
        if let Some(wanted) = wanted.attempts {
            self.compare(&of("attempts"), &json!(wanted), json!(result.attempts));
        }
        if let Some(wanted) = &wanted.case {
            self.compare(&of("case"), &json!(wanted), text(result.case.as_deref()));
        }
        if let Some(wanted) = &wanted.skip_reason {
            self.compare(&of("skipReason"), &json!(wanted), text(result.skip_reason.as_deref()));
        }
        if let Some(wanted) = &wanted.recovered_by {
            self.compare(&of("recoveredBy"), &json!(wanted.as_str()), text(result.recovered_by.as_deref()));
        }
        if let Some(wanted) = &wanted.error {
            match &result.error {
                None => self.fail(&of("error"), Failure::expected("", shown(wanted), None)),
                Some(error) if !is_meant(wanted, error) => {
                    self.fail(&of("error"), Failure::expected("", shown(wanted), Some(told(error))));
                }
                Some(_) => {}
            }
        }
        let state = self.snapshot.state().activation(activation);
        let (input, output) = state.map_or((None, None), |state| (state.input.clone(), state.output.clone()));
        if let Some(wanted) = &wanted.input {
            self.compare_within(&of("input"), wanted, input.as_deref(), Extent::Subset);
        }
        if let Some(wanted) = &wanted.output {
            self.compare_within(&of("output"), wanted, output.as_deref(), Extent::Subset);
        }
    }

    fn errors(&mut self, wanted: &[FailureExpectation]) {
        let errors = self.snapshot.to_body().errors;
        let stray = errors.iter().find(|error| !wanted.iter().any(|wanted| is_meant(wanted, error)));
        let missing = wanted.iter().find(|wanted| !errors.iter().any(|error| is_meant(wanted, error)));
        if stray.is_some() || missing.is_some() {
            let wanted = wanted.iter().map(shown).collect();
            let actual = errors.iter().map(told).collect();
            let failure = Failure::expected("", Value::Array(wanted), Some(Value::Array(actual)));
            self.fail(&["errors"], failure);
        }
    }

    // === the journal ===

    /// When a step first began, as a place in the journal.
    fn first_start(&self, pattern: &StepPattern) -> Option<usize> {
        self.entries.iter().position(|entry| {
            begins_step(entry) && entry.step_path.as_deref().is_some_and(|path| fits_text(pattern, path))
        })
    }

    fn order(&mut self, wanted: &[StepPattern]) {
        let starts: Vec<_> = wanted.iter().map(|pattern| self.first_start(pattern)).collect();
        let missing = starts.iter().position(Option::is_none);
        if missing.is_none() && starts.is_sorted() {
            return;
        }
        let mut actual: Vec<_> =
            wanted.iter().zip(&starts).filter_map(|(pattern, start)| Some(((*start)?, pattern))).collect();
        actual.sort_by_key(|(start, _)| *start);
        let list = |patterns: &mut dyn Iterator<Item = &StepPattern>| {
            Value::Array(patterns.map(|pattern| Value::String(pattern.to_string())).collect())
        };
        let mut failure = Failure::expected(
            "",
            list(&mut wanted.iter()),
            Some(list(&mut actual.into_iter().map(|(_, pattern)| pattern))),
        );
        failure.step = missing.map(|missing| wanted[missing].to_string());
        self.fail(&["order"], failure);
    }

    fn journal(&mut self, then: &Expectation) {
        let mut from = 0;
        for (index, pattern) in then.journal.contains.iter().enumerate() {
            match self.entries[from..].iter().position(|entry| fits(pattern, entry)) {
                Some(found) => from += found + 1,
                None => {
                    let elsewhere = self.entries.iter().any(|entry| fits(pattern, entry));
                    let message = match elsewhere {
                        true => format!("`{}` is in the journal, and not behind the one before it", pattern.kind),
                        false => format!("no such `{}` is in the journal", pattern.kind),
                    };
                    let mut failure = Failure::new("", message);
                    failure.step = pattern.step_path.as_ref().map(ToString::to_string);
                    self.fail(&["journal", "contains", &index.to_string()], failure);
                    break;
                }
            }
        }
        for (index, pattern) in then.journal.absent.iter().enumerate() {
            if let Some(entry) = self.entries.iter().find(|entry| fits(pattern, entry)) {
                let place = entry.step_path.as_deref().map(|path| format!(" of {path}")).unwrap_or_default();
                let mut failure =
                    Failure::new("", format!("`{}`{place} is in the journal, as #{}", pattern.kind, entry.sequence));
                failure.step.clone_from(&entry.step_path);
                self.fail(&["journal", "absent", &index.to_string()], failure);
            }
        }
    }

    /// How often something was called.
    fn calls(&self, target: &MockTarget) -> u32 {
        match target {
            MockTarget::Step(pattern) => match self.callees.kind_at(&place_of(pattern)) {
                Some("agent" | "tool") => self.stage.calls_of_step(pattern).unwrap_or_default(),
                _ => self.stage.calls_of_step(pattern).unwrap_or_else(|| self.starts(pattern)),
            },
            MockTarget::Agent(id) => self.stage.calls_of(&Called::Agent(id.to_string())),
            MockTarget::Tool(name) => self.stage.calls_of(&Called::Tool(name.to_string())),
            MockTarget::Model(name) => self.stage.calls_of_model(name),
            MockTarget::Workflow(reference) => {
                let mocked = self.stage.replacing(reference).map(|called| self.stage.calls_of(&called)).sum::<u32>();
                let places = self.callees.references.iter().filter(|(_, known)| **known == **reference);
                let replaced: BTreeSet<_> = self.stage.places().collect();
                let real = places.filter(|(place, _)| !replaced.contains(place.as_str()));
                mocked + real.map(|(place, _)| self.starts_at(place)).sum::<u32>()
            }
            _ => 0,
        }
    }

    /// How many instances of a step have begun.
    fn starts(&self, pattern: &StepPattern) -> u32 {
        let fitting = self.steps.iter().filter(|(path, _, result)| pattern.matches(path) && has_begun(result));
        fitting.count() as u32
    }

    fn starts_at(&self, place: &str) -> u32 {
        let fitting = self.steps.iter().filter(|(path, _, result)| static_path(path) == place && has_begun(result));
        fitting.count() as u32
    }

    fn usage(&mut self, then: &Expectation) {
        let usage = self.snapshot.state().usage();
        let counts = [
            ("inputTokens", &then.usage.input_tokens, usage.input_tokens),
            ("outputTokens", &then.usage.output_tokens, usage.output_tokens),
            ("cacheReadTokens", &then.usage.cache_read_tokens, usage.cache_read_tokens),
            ("cacheCreationTokens", &then.usage.cache_creation_tokens, usage.cache_creation_tokens),
        ];
        for (name, wanted, actual) in counts {
            if let Some(wanted) = wanted {
                self.bounds(&["usage", name], wanted, actual, |count| json!(count));
            }
        }
        if let Some(wanted) = &then.usage.cost_usd {
            self.bounds(&["usage", "costUsd"], wanted, usage.cost_usd, |cost| json!(cost));
        }
    }

    fn waiting(&mut self, wanted: &[StepPattern]) {
        let actual: Vec<_> = self.snapshot.to_body().waiting_for.into_iter().map(|waiting| waiting.step_path).collect();
        let stray = actual.iter().any(|path| !wanted.iter().any(|pattern| fits_text(pattern, path)));
        let missing = wanted.iter().any(|pattern| !actual.iter().any(|path| fits_text(pattern, path)));
        if stray || missing {
            let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
            self.fail(&["waiting"], Failure::expected("", json!(wanted), Some(json!(actual))));
        }
    }
}

/// Makes a JSON pointer of keys.
fn pointer(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect()
}

/// Whether a step's turn has come, and it was not skipped.
pub(super) fn has_begun(result: &StepResult) -> bool {
    !matches!(result.status.as_str(), "pending" | "skipped")
        && (result.started_at.is_some() || result.status != "cancelled")
}

/// How long an execution has taken, in its own time.
pub(super) fn elapsed(snapshot: &Snapshot) -> Millis {
    match (snapshot.events().first(), snapshot.events().last()) {
        (Some(first), Some(last)) => last.at.since(first.at).into(),
        _ => Millis(0),
    }
}

fn is_meant(wanted: &FailureExpectation, error: &StepFailure) -> bool {
    wanted.code == error.code
        && wanted.message.as_ref().is_none_or(|part| error.message.contains(part))
        && wanted
            .step_path
            .as_ref()
            .is_none_or(|pattern| error.step_path.as_ref().is_some_and(|path| pattern.matches(path)))
}

fn shown(wanted: &FailureExpectation) -> Value {
    let mut map = serde_json::Map::new();
    map.insert("code".to_owned(), json!(wanted.code.code()));
    map.extend(wanted.message.as_ref().map(|message| ("message".to_owned(), json!(message))));
    map.extend(wanted.step_path.as_ref().map(|path| ("stepPath".to_owned(), json!(path.to_string()))));
    Value::Object(map)
}

fn told(error: &StepFailure) -> Value {
    let mut map = serde_json::Map::new();
    map.insert("code".to_owned(), json!(error.code.code()));
    map.insert("message".to_owned(), json!(error.message));
    map.extend(error.step_path.as_ref().map(|path| ("stepPath".to_owned(), json!(path.as_str()))));
    Value::Object(map)
}

//! Workflow test files.

use std::collections::HashSet;

use indexmap::IndexMap;
use serde_json::Value;

use super::{Field, Object, Reader};
use crate::{
    Code, ErrorKind, Millis,
    api::{Compensation, ExecutionStatus, StepStatus},
    event::EventBody,
    expression::of_input,
    jmespath::JmesPath,
    problem::{At, Problems, quote},
    test_file::{
        Action, Bounds, Defaults, EventPattern, Expectation, FailureExpectation, Given, JournalExpectation, Mock,
        MockAnswer, MockFailure, MockRule, MockTarget, Moment, StepExpectation, StepPattern, Stimulus, Test, TestCase,
        TestFile, UsageExpectation,
    },
    validate::report_jmespath,
};

const STATUSES: [(&str, ExecutionStatus); 7] = [
    ("queued", ExecutionStatus::Queued),
    ("running", ExecutionStatus::Running),
    ("paused", ExecutionStatus::Paused),
    ("cancelling", ExecutionStatus::Cancelling),
    ("completed", ExecutionStatus::Completed),
    ("failed", ExecutionStatus::Failed),
    ("cancelled", ExecutionStatus::Cancelled),
];
const COMPENSATIONS: [(&str, Compensation); 3] =
    [("none", Compensation::None), ("complete", Compensation::Complete), ("incomplete", Compensation::Incomplete)];
const ANSWERS: [&str; 6] = ["returns", "fail", "sequence", "by", "hang", "real"];
const ACTIONS: [&str; 8] = ["approve", "reject", "signal", "cancel", "pause", "resume", "crash", "advance"];
const STEP_PATH: &str = "step paths look like fetch, reviews[3].score or refine#2.critic; `*` stands for any number";

/// Reads a test file; `None` if a part without which it means nothing is missing.
pub(crate) fn test_file(document: &Value, problems: &mut Problems) -> Option<TestFile> {
    let mut reader = Reader::new(problems);
    let root = reader.root(document)?;
    let workflow = reader.required(&root, "workflow", "the path of the workflow's file");
    let workflow = reader.name(workflow);
    let strict = reader.boolean(root.get("strict"));
    let defaults = reader.defaults(root.get("defaults"));
    let tests = reader.required(&root, "tests", "a list of tests");
    let tests = reader.named_list(tests, "a test file needs a test", Reader::test, |test| &test.name);
    reader.unknown_keys(&root, &["workflow", "strict", "defaults", "tests", "$schema"]);
    Some(TestFile { workflow: workflow?, strict: strict.unwrap_or_default(), defaults, tests: tests? })
}

impl Reader<'_> {
    fn defaults(&mut self, field: Option<Field<'_>>) -> Defaults {
        let Some(object) = self.object(field) else { return Defaults::default() };
        let defaults = Defaults { given: self.given(object.get("given")), mocks: self.mocks(object.get("mocks")) };
        self.unknown_keys(&object, &["given", "mocks"]);
        defaults
    }

    fn test(&mut self, field: Field<'_>) -> Option<Test> {
        let test = self.object(Some(field))?;
        let name = self.required(&test, "name", "what is tested, in a few words");
        let name = self.name(name);
        let given = self.given(test.get("given"));
        let mocks = self.mocks(test.get("mocks"));
        let when = self.stimuli(test.get("when"));
        let then = self.expectation(test.get("then"));
        let cases = test
            .get("cases")
            .map(|cases| self.named_list(Some(cases), "a table needs a row", Reader::test_case, |case| &case.name));
        self.unknown_keys(&test, &["name", "given", "mocks", "when", "then", "cases"]);
        Some(Test { name: name?, given, mocks, when, then, cases: cases.flatten() })
    }

    fn test_case(&mut self, field: Field<'_>) -> Option<TestCase> {
        let case = self.object(Some(field))?;
        let name = self.required(&case, "name", "what the row is about");
        let name = self.name(name);
        let given = self.given(case.get("given"));
        let then = self.expectation(case.get("then"));
        self.unknown_keys(&case, &["name", "given", "then"]);
        Some(TestCase { name: name?, given, then })
    }

    fn given(&mut self, field: Option<Field<'_>>) -> Given {
        let Some(given) = self.object(field) else { return Given::default() };
        let env = self.object(given.get("env"));
        let secrets = self.object(given.get("secrets"));
        let result = Given {
            input: self.map(given.get("input")).map(Value::Object),
            variables: self.map(given.get("variables")).unwrap_or_default(),
            env: env.map(|env| self.named_texts(&env)).unwrap_or_default(),
            secrets: secrets.map(|secrets| self.named_texts(&secrets)).unwrap_or_default(),
            now: self.time(given.get("now")),
            seed: self.integer(given.get("seed")),
            budget: self.positive_budget(given.get("budget")),
            config: self.map(given.get("config")).unwrap_or_default(),
        };
        let known = ["input", "variables", "env", "secrets", "now", "seed", "budget", "config"];
        self.unknown_keys(&given, &known);
        result
    }

    pub(super) fn mocks(&mut self, field: Option<Field<'_>>) -> IndexMap<MockTarget, Mock> {
        let Some(object) = self.object(field) else { return IndexMap::new() };
        let mut mocks = IndexMap::with_capacity(object.map.len());
        for (key, value) in &without_annotations(&object) {
            let field = Field { value, at: object.at.key(key), name: key };
            let (target, mock) = (self.target(key, field.at), self.mock(field, &[]));
            mocks.extend(target.zip(mock));
        }
        mocks
    }

    fn target(&mut self, key: &str, at: At<'_>) -> Option<MockTarget> {
        let target = key.parse().ok();
        if target.is_none() {
            let message = format!("`{}` names nothing that can be called", quote(key));
            self.problems
                .report(Code::WrongForm, at, message)
                .on_key()
                .help("a step path, or a name behind `agent:`, `tool:`, `model:` or `workflow:`");
        }
        target
    }

    /// Reads a mock, of which some keys have been read already.
    fn mock(&mut self, field: Field<'_>, known: &[&str]) -> Option<Mock> {
        let mock = self.object(Some(field))?;
        let answer = self.one_of(&mock, &ANSWERS, "a mock");
        let after = self.duration(mock.get("after"));
        self.unknown_keys(&mock, &[&ANSWERS[..], &["after"], known].concat());
        let answer = answer?;
        // Null is an answer.
        let value = &mock.map[answer];
        let field = Field { value, at: mock.at.key(answer), name: answer };
        let answer = match answer {
            "returns" => Some(MockAnswer::Returns(of_input::compile(value, &field.at, self.problems))),
            "fail" => self.mock_failure(field).map(MockAnswer::Fail),
            "sequence" => self
                .filled(field, "a sequence needs an answer", |reader, item| reader.mock(item, &[]))
                .map(MockAnswer::Sequence),
            "by" => self.filled(field, "a list of rules needs a rule", Reader::mock_rule).map(MockAnswer::By),
            "hang" => self.yes(field).map(|()| MockAnswer::Hang),
            _ => self.yes(field).map(|()| MockAnswer::Real),
        };
        Some(Mock { answer: answer?, after })
    }

    fn mock_failure(&mut self, field: Field<'_>) -> Option<MockFailure> {
        let object = self.object(Some(field))?;
        let code = self.required(&object, "code", "such as NETWORK or TIMEOUT");
        let code = self.error_kind(code);
        let message = self.owned(object.get("message"));
        let retry_after = self.duration(object.get("retryAfter"));
        self.unknown_keys(&object, &["code", "message", "retryAfter"]);
        Some(MockFailure { code: code?, message, retry_after })
    }

    fn mock_rule(&mut self, field: Field<'_>) -> Option<MockRule> {
        let object = self.object(Some(field))?;
        let when = object.get("when");
        let compiled = self.jmespath(when);
        let mock = self.mock(field, &["when"])?;
        if when.is_some() && compiled.is_none() {
            return None;
        }
        Some(MockRule { when: compiled, mock })
    }

    pub(super) fn jmespath(&mut self, field: Option<Field<'_>>) -> Option<JmesPath> {
        let field = field?;
        let text = self.text(Some(field))?;
        match JmesPath::compile(text) {
            Ok(path) => Some(path),
            Err(error) => {
                report_jmespath(self.problems, &error, text, &field.at);
                None
            }
        }
    }

    fn stimuli(&mut self, field: Option<Field<'_>>) -> Vec<Stimulus> {
        let Some(list) = self.list(field) else { return Vec::new() };
        let mut latest = Millis(0);
        let mut stimuli = Vec::new();
        for item in list.items() {
            let Some(stimulus) = self.stimulus(item) else { continue };
            if let Moment::At(at) = stimulus.moment {
                if at < latest {
                    let message = format!("{at} is before {latest}, the time of the entry before it");
                    self.problems
                        .report(Code::Contradiction, item.at.key("at"), message)
                        .help("write them in time order");
                }
                latest = latest.max(at);
            }
            stimuli.push(stimulus);
        }
        stimuli
    }

    fn stimulus(&mut self, field: Field<'_>) -> Option<Stimulus> {
        let object = self.object(Some(field))?;
        let moment = match self.one_of(&object, &["at", "on"], "an entry of `when`") {
            Some("at") => self.duration(object.get("at")).map(Moment::At),
            Some(_) => object.get("on").and_then(|field| self.event_pattern(field)).map(Moment::On),
            None => None,
        };
        let name = self.one_of(&object, &ACTIONS, "an entry of `when`");
        let extra: &[&str] = match name {
            Some("approve") => &["answer", "comment", "by"],
            Some("reject") => &["comment", "by"],
            Some("signal") => &["payload", "step"],
            _ => &[],
        };
        self.unknown_keys(&object, &[&ACTIONS[..], &["at", "on"], extra].concat());
        let name = name?;
        let any = |key: &str| object.map.get(key).cloned().unwrap_or_default();
        let field = object.get(name)?;
        let comment = self.owned(object.get("comment").filter(|_| extra.contains(&"comment")));
        let by = self.owned(object.get("by").filter(|_| extra.contains(&"by")));
        let action = match name {
            "approve" => Action::Approve { step: self.step_pattern(Some(field))?, answer: any("answer"), comment, by },
            "reject" => Action::Reject { step: self.step_pattern(Some(field))?, comment, by },
            "signal" => Action::Signal {
                name: self.parse(Some(field), "signal name", "1 to 128 letters, digits, `_`, `.` and `-`")?,
                payload: any("payload"),
                step: self.step_pattern(object.get("step")),
            },
            "cancel" => self.request(field, |reason| Action::Cancel { reason })?,
            "pause" => self.request(field, |reason| Action::Pause { reason })?,
            "resume" => self.request(field, |reason| Action::Resume { reason })?,
            "crash" => self.yes(field).map(|()| Action::Crash)?,
            _ => Action::Advance(self.duration(Some(field))?),
        };
        Some(Stimulus { moment: moment?, action })
    }

    fn event_pattern(&mut self, field: Field<'_>) -> Option<EventPattern> {
        let object = self.object(Some(field))?;
        let names: Vec<_> = EventBody::NAMES.iter().map(|name| (*name, *name)).collect();
        let kind = self.required(&object, "type", "the name of an event, such as step.failed");
        let kind = self.named(kind, &names, "event");
        let step_path = self.step_pattern(object.get("stepPath"));
        let mut fields = without_annotations(&object);
        fields.shift_remove("type");
        fields.shift_remove("stepPath");
        Some(EventPattern { kind: kind?, step_path, fields })
    }

    fn expectation(&mut self, field: Option<Field<'_>>) -> Expectation {
        let Some(then) = self.object(field) else { return Expectation::default() };
        let result = Expectation {
            status: self.choice(then.get("status"), &STATUSES),
            compensation: self.choice(then.get("compensation"), &COMPENSATIONS),
            outputs: self.map(then.get("outputs")).map(Value::Object),
            exact: self.boolean(then.get("exact")),
            steps: self.step_expectations(then.get("steps")),
            errors: self
                .list(then.get("errors"))
                .map(|list| list.items().filter_map(|item| self.failure_expectation(item)).collect()),
            order: self.step_patterns(then.get("order")).unwrap_or_default(),
            calls: self.calls(then.get("calls")),
            journal: self.journal(then.get("journal")),
            usage: self.usage(then.get("usage")),
            duration: self.bounds(then.get("duration"), Reader::duration),
            waiting: self.step_patterns(then.get("waiting")),
            diagnostics: self.codes(then.get("diagnostics")),
        };
        let known = [
            "status",
            "compensation",
            "outputs",
            "exact",
            "steps",
            "errors",
            "order",
            "calls",
            "journal",
            "usage",
            "duration",
            "waiting",
            "diagnostics",
        ];
        self.unknown_keys(&then, &known);
        result
    }

    fn step_expectations(&mut self, field: Option<Field<'_>>) -> IndexMap<StepPattern, StepExpectation> {
        let Some(object) = self.object(field) else { return IndexMap::new() };
        let mut steps = IndexMap::with_capacity(object.map.len());
        for (key, value) in &without_annotations(&object) {
            let field = Field { value, at: object.at.key(key), name: key };
            let pattern: Option<StepPattern> = key.parse().ok();
            if pattern.is_none() {
                let message = format!("`{}` is no step path", quote(key));
                self.problems.report(Code::WrongForm, field.at, message).on_key().help(STEP_PATH);
            }
            steps.extend(pattern.zip(self.step_expectation(field)));
        }
        steps
    }

    fn step_expectation(&mut self, field: Field<'_>) -> Option<StepExpectation> {
        let step = self.object(Some(field))?;
        let statuses = StepStatus::ALL.map(|status| (status.as_str(), status));
        let result = StepExpectation {
            status: self.choice(step.get("status"), &statuses),
            attempts: self.integer(step.get("attempts")),
            input: step.map.get("input").cloned(),
            output: step.map.get("output").cloned(),
            error: step.get("error").and_then(|error| self.failure_expectation(error)),
            case: self.owned(step.get("case")),
            skip_reason: self.owned(step.get("skipReason")),
            recovered_by: self.parse(step.get("recoveredBy"), "step id", "letters, digits, `_` and `-`"),
        };
        let known = ["status", "attempts", "input", "output", "error", "case", "skipReason", "recoveredBy"];
        self.unknown_keys(&step, &known);
        Some(result)
    }

    fn failure_expectation(&mut self, field: Field<'_>) -> Option<FailureExpectation> {
        let object = self.object(Some(field))?;
        let code = self.required(&object, "code", "such as NETWORK or TIMEOUT");
        let code = self.error_kind(code);
        let message = self.owned(object.get("message"));
        let step_path = self.step_pattern(object.get("stepPath"));
        self.unknown_keys(&object, &["code", "message", "stepPath"]);
        Some(FailureExpectation { code: code?, message, step_path })
    }

    fn calls(&mut self, field: Option<Field<'_>>) -> IndexMap<MockTarget, u32> {
        let Some(object) = self.object(field) else { return IndexMap::new() };
        let mut calls = IndexMap::with_capacity(object.map.len());
        for (key, value) in &without_annotations(&object) {
            let field = Field { value, at: object.at.key(key), name: key };
            let (target, count) = (self.target(key, field.at), self.integer(Some(field)));
            calls.extend(target.zip(count));
        }
        calls
    }

    fn journal(&mut self, field: Option<Field<'_>>) -> JournalExpectation {
        let Some(object) = self.object(field) else { return JournalExpectation::default() };
        let events = |reader: &mut Self, key| -> Vec<EventPattern> {
            let Some(list) = reader.list(object.get(key)) else { return Vec::new() };
            list.items().filter_map(|item| reader.event_pattern(item)).collect()
        };
        let result = JournalExpectation { contains: events(self, "contains"), absent: events(self, "absent") };
        self.unknown_keys(&object, &["contains", "absent"]);
        result
    }

    fn usage(&mut self, field: Option<Field<'_>>) -> UsageExpectation {
        let Some(object) = self.object(field) else { return UsageExpectation::default() };
        let result = UsageExpectation {
            input_tokens: self.bounds(object.get("inputTokens"), Reader::integer),
            output_tokens: self.bounds(object.get("outputTokens"), Reader::integer),
            cache_read_tokens: self.bounds(object.get("cacheReadTokens"), Reader::integer),
            cache_creation_tokens: self.bounds(object.get("cacheCreationTokens"), Reader::integer),
            cost_usd: self.bounds(object.get("costUsd"), Reader::number),
        };
        let known = ["inputTokens", "outputTokens", "cacheReadTokens", "cacheCreationTokens", "costUsd"];
        self.unknown_keys(&object, &known);
        result
    }

    fn bounds<T: Copy + PartialOrd>(
        &mut self,
        field: Option<Field<'_>>,
        read: impl Fn(&mut Self, Option<Field<'_>>) -> Option<T>,
    ) -> Option<Bounds<T>> {
        let field = field?;
        if !field.value.is_object() {
            let value = Some(read(self, Some(field))?);
            return Some(Bounds { min: value, max: value });
        }
        let object = self.object(Some(field))?;
        let bounds = Bounds { min: read(self, object.get("min")), max: read(self, object.get("max")) };
        self.unknown_keys(&object, &["min", "max"]);
        if object.map.is_empty() {
            let message = format!("`{}` says neither `min` nor `max`", field.name);
            self.problems.report(Code::Empty, field.at, message).help("give one of them, or a value");
        }
        if matches!((bounds.min, bounds.max), (Some(min), Some(max)) if min > max) {
            self.problems.report(Code::Contradiction, object.at.key("min"), "`min` is over `max`");
        }
        Some(bounds)
    }

    fn codes(&mut self, field: Option<Field<'_>>) -> Option<Vec<Code>> {
        let list = self.list(field)?;
        let codes: Vec<_> = Code::ALL.iter().map(|code| (code.as_str(), *code)).collect();
        Some(list.items().filter_map(|item| self.named(Some(item), &codes, "code of a diagnostic")).collect())
    }

    fn error_kind(&mut self, field: Option<Field<'_>>) -> Option<ErrorKind> {
        self.choice(field, &ErrorKind::ALL.map(|kind| (kind.code(), kind)))
    }

    fn step_pattern(&mut self, field: Option<Field<'_>>) -> Option<StepPattern> {
        self.parse(field, "step path", STEP_PATH)
    }

    fn step_patterns(&mut self, field: Option<Field<'_>>) -> Option<Vec<StepPattern>> {
        let list = self.list(field)?;
        Some(list.items().filter_map(|item| self.step_pattern(Some(item))).collect())
    }

    fn positive_budget(&mut self, field: Option<Field<'_>>) -> Option<crate::policy::Budget> {
        let at = field?.at;
        let budget = self.budget(field)?;
        let limits = [
            ("maxTokens", budget.max_tokens == Some(0)),
            ("maxCostUsd", budget.max_cost_usd.is_some_and(|cost| cost <= 0.0)),
            ("maxSteps", budget.max_steps == Some(0)),
            ("maxDuration", budget.max_duration == Some(Millis(0))),
        ];
        for (name, _) in limits.iter().filter(|(_, is_empty)| *is_empty) {
            self.problems.report(Code::OutOfRange, at.key(name), format!("`{name}` is not greater than 0"));
        }
        Some(budget)
    }

    /// Reads the name of a test; an empty one is none.
    fn name(&mut self, field: Option<Field<'_>>) -> Option<String> {
        let field = field?;
        let text = self.text(Some(field))?;
        if text.trim().is_empty() {
            self.problems.report(Code::WrongForm, field.at, format!("`{}` is empty", field.name));
            return None;
        }
        Some(text.to_owned())
    }

    /// Reads a list that needs an element and whose elements have names of their own.
    fn named_list<T>(
        &mut self,
        field: Option<Field<'_>>,
        why: &str,
        read: impl FnMut(&mut Self, Field<'_>) -> Option<T>,
        name: impl Fn(&T) -> &str,
    ) -> Option<Vec<T>> {
        let field = field?;
        let items = self.filled(field, why, read)?;
        let mut names = HashSet::new();
        let twice = items.iter().position(|item| !names.insert(name(item)));
        if let Some(twice) = twice {
            let name = name(&items[twice]);
            let number = field.items().enumerate().filter(|(_, item)| item.value["name"] == name).nth(1);
            let index = number.map_or(twice, |(index, _)| index);
            let message = format!("`{}` is used twice", quote(name));
            self.problems.report(Code::WrongForm, field.at.index(index).key("name"), message).help("rename one");
        }
        Some(items)
    }

    /// Reads what can only be true.
    fn yes(&mut self, field: Field<'_>) -> Option<()> {
        if *field.value == Value::Bool(true) {
            return Some(());
        }
        self.mismatch(field, "`true`").help("or leave it out");
        None
    }

    /// Reads what is true, or a reason.
    fn request(&mut self, field: Field<'_>, action: fn(Option<String>) -> Action) -> Option<Action> {
        match field.value {
            Value::Bool(true) => Some(action(None)),
            Value::String(reason) => Some(action(Some(reason.clone()))),
            _ => {
                self.mismatch(field, "`true` or a reason");
                None
            }
        }
    }
}

/// The entries of an object whose keys the author chose.
fn without_annotations(object: &Object<'_>) -> serde_json::Map<String, Value> {
    let entries = object.map.iter().filter(|(key, _)| !key.starts_with("x-"));
    entries.map(|(key, value)| (key.clone(), value.clone())).collect()
}

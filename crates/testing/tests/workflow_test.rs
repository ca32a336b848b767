//! Test files, executed: what passes, what fails, and how each failure says so.

use orchestr8_agent_base::{
    AgentManifest, AgentRegistry, agent_fn, llm,
    prompt::PromptFiles,
    tool::{ToolSpec, tool_fn},
};
use orchestr8_schema::{
    Diagnostic, InvalidWorkflow, ValidWorkflow,
    source::{Options, load},
    test_file::TestFile,
};
use orchestr8_testing::{
    scripted,
    workflow_test::{FileReport, TestRunner, TestStatus},
};
use serde_json::{Value, json};

/// A workflow with a step of every kind.
fn workflow() -> Value {
    json!({
        "version": "1.0.0",
        "metadata": { "id": "review", "name": "Review" },
        "inputs": { "type": "object", "properties": { "files": { "type": "array", "default": ["a", "b"] } } },
        "steps": [
            { "id": "search", "agent": { "id": "@acme/search" }, "input": { "topic": "rust" }, "policies": { "retry": { "maxAttempts": 3 } } },
            { "id": "reviews", "dependencies": ["search"], "map": {
                "items": "${inputs.files}",
                "steps": [{ "id": "score", "agent": { "id": "@test/score" }, "input": { "file": "${item}" } }],
                "output": "${steps.score.output}"
            } },
            { "id": "pause", "dependencies": ["reviews"], "wait": { "duration": "2h" } },
            { "id": "gate", "dependencies": ["pause"], "approval": { "prompt": "Publish?" } },
            { "id": "released", "dependencies": ["gate"], "wait": { "signal": "released" } },
            { "id": "publish", "dependencies": ["released"], "tool": { "name": "github:open-pr", "arguments": { "scores": "${steps.reviews.output}" } } }
        ]
    })
}

fn runner() -> TestRunner {
    let mut agents = AgentRegistry::new();
    let number = json!({ "type": "object", "required": ["score"], "properties": { "score": { "type": "number" } } });
    let score = scripted("score").returns(json!({ "score": 1 }));
    agents
        .register(score.manifest(|manifest: AgentManifest| manifest.output_schema(number)))
        .expect("what the test is made of");
    let spec = ToolSpec::new("github:open-pr", "Opens a pull request").expect("what the test is made of");
    agents
        .tools_mut()
        .register(tool_fn(spec, |arguments, _, _| async move { Ok(json!({ "opened": arguments })) }))
        .expect("what the test is made of");
    TestRunner::new(agents).threads(2)
}

fn read(workflow: &Value, options: &Options<'_>) -> Result<ValidWorkflow, Vec<Diagnostic>> {
    load(workflow.to_string(), options).map_err(InvalidWorkflow::into_diagnostics)
}

fn run_on(workflow: &Value, tests: &Value) -> FileReport {
    let text = serde_json::to_string_pretty(tests).expect("what the test is made of");
    let tests = TestFile::read(&text, &Options::new().file_name("review.test.json")).expect("what the test is made of");
    runner().run("review.test.json", &tests, |options| read(workflow, &options), |_| true)
}

fn run(tests: &Value) -> FileReport {
    run_on(&workflow(), &json!({ "workflow": "./review.json", "tests": tests }))
}

/// What the failures of a report say, each with its line if that is known.
fn told(report: &FileReport) -> Vec<String> {
    report.tests.iter().flat_map(|test| &test.failures).map(ToString::to_string).collect()
}

#[test]
fn steps_of_every_kind_are_mocked_and_checked() {
    let report = run(&json!([{
        "name": "all at once",
        "given": { "seed": 7, "now": "2025-03-01T12:00:00Z" },
        "mocks": {
            "search": { "sequence": [
                { "fail": { "code": "RATE_LIMITED", "retryAfter": "30s" } },
                { "returns": { "hits": "${input.topic}" }, "after": "2s" }
            ] },
            "reviews[*].score": { "by": [
                { "when": "input.file == 'b'", "returns": { "score": 3 } },
                { "returns": { "score": 2 } }
            ] },
            "pause": { "returns": null, "after": "1h" },
            "tool:github:open-pr": { "returns": { "number": 42 } }
        },
        "when": [
            { "on": { "type": "approval.requested" }, "pause": true },
            { "at": "3h", "resume": true },
            { "at": "4h", "approve": "gate", "by": "ada" },
            { "at": "5h", "crash": true },
            { "at": "6h", "signal": "released", "payload": { "tag": "v1" } }
        ],
        "then": {
            "status": "completed",
            "outputs": { "publish": { "number": 42 }, "released": { "payload": { "tag": "v1" } } },
            "steps": {
                "search": { "attempts": 2, "output": { "hits": "rust" }, "input": { "topic": "rust" } },
                "reviews": { "output": [{ "score": 2 }, { "score": 3 }] },
                "reviews[*].score": { "status": "completed" },
                "publish": { "input": { "scores": [{ "score": 2 }, { "score": 3 }] } }
            },
            "order": ["search", "reviews", "reviews[1].score", "gate", "publish"],
            "calls": { "search": 2, "reviews[*].score": 2, "agent:@test/score": 2, "tool:github:open-pr": 1, "pause": 1 },
            "journal": {
                "contains": [{ "type": "retry.scheduled", "stepPath": "search" }, { "type": "execution.recovered" }],
                "absent": [{ "type": "step.failed" }]
            },
            "duration": { "min": "6h", "max": "6h" },
            "usage": { "inputTokens": { "max": 0 } }
        }
    }]));
    assert_eq!(told(&report), Vec::<String>::new(), "{:#?}", report.tests[0].journal);
    assert_eq!(report.tests[0].elapsed.as_secs(), 6 * 3600);
    let coverage = report.coverage.expect("all tests were executed");
    assert_eq!((coverage.steps, coverage.steps_never_reached), (7, Vec::new()));
}

#[test]
fn composites_and_what_is_in_them_can_be_mocked_as_a_whole() {
    let report = run(&json!([{
        "name": "only the map",
        "mocks": {
            "search": { "returns": {} },
            "reviews": { "returns": [{ "score": 9, "of": "${input.items}" }] },
            "gate": { "fail": { "code": "DENIED", "message": "nobody is there" } }
        },
        "then": {
            "status": "failed",
            "errors": [{ "code": "DENIED", "message": "nobody", "stepPath": "gate" }],
            "steps": { "reviews": { "output": [{ "of": ["a", "b"] }] }, "released": { "status": "skipped" } },
            "calls": { "reviews[*].score": 0, "reviews": 1 }
        }
    }]));
    assert_eq!(told(&report), Vec::<String>::new(), "{:#?}", report.tests[0].journal);
    assert_eq!(
        report.coverage.expect("all tests were executed").steps_never_reached,
        ["reviews.score", "released", "publish"]
    );
}

#[test]
fn each_failure_says_what_was_expected_what_came_and_where_it_stands() {
    let search = json!({ "search": { "returns": {} } });
    let stop = json!(["gate"]);
    let report = run(&json!([
        { "name": "counts", "mocks": search, "then": { "status": "running", "waiting": stop, "calls": { "search": 2 },
            "steps": { "search": { "attempts": 3, "output": { "hits": 1 } }, "released": { "status": "completed" } } } },
        { "name": "order", "mocks": search, "then": { "waiting": ["released"], "order": ["pause", "search"],
            "journal": { "contains": [{ "type": "step.completed", "stepPath": "pause" }, { "type": "step.completed", "stepPath": "search" }],
                         "absent": [{ "type": "step.waiting", "stepPath": "pause" }] } } },
        { "name": "not mocked", "then": { "status": "completed" } },
        { "name": "never ends", "mocks": search },
        { "name": "too many calls", "mocks": { "search": { "sequence": [{ "fail": { "code": "NETWORK" } }] } } },
        { "name": "no rule", "mocks": { "search": { "by": [{ "when": "attempt == `9`", "returns": {} }] } } },
        { "name": "breaks the schema", "mocks": { "search": { "returns": {} }, "agent:@test/score": { "returns": { "score": "high" } } } },
        { "name": "nobody waits", "mocks": search, "when": [{ "at": "1h", "approve": "gate" }], "then": { "waiting": stop } },
        { "name": "too late", "mocks": { "search": { "fail": { "code": "DENIED" } } }, "when": [{ "at": "1h", "cancel": true }] },
        { "name": "input", "given": { "input": { "files": 3 } } },
        { "name": "strangers", "mocks": { "serch": { "hang": true }, "agent:@acme/nobody": { "hang": true }, "model:smart": { "hang": true } },
            "then": { "steps": { "score": {} } } },
        { "name": "valid", "then": { "diagnostics": ["O8303"] } },
        { "name": "real", "mocks": { "search": { "real": true } } }
    ]));
    let told: Vec<String> = report
        .tests
        .iter()
        .flat_map(|test| {
            let lines = test.failures.iter().map(|failure| format!("  {failure}"));
            [test.name.clone()].into_iter().chain(lines).collect::<Vec<_>>()
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    counts
      steps.search.attempts: expected 3, got 1
      steps.search.output.hits: expected 1, got nothing
      steps.released.status: expected completed, got pending
      calls.search: expected 2, got 1
    order
      order: expected ["pause","search"], got ["search","pause"]
      journal.contains.1: `step.completed` is in the journal, and not behind the one before it
      journal.absent.0: `step.waiting` of pause is in the journal, as #25
      waiting: expected ["released"], got ["gate"]
    not mocked
      mocks: `search` calls @acme/search, which is not mocked
      status: expected completed, got failed (INTERNAL: `search` calls @acme/search, which is not mocked)
    never ends
      then.waiting: the execution does not end; it waits for gate (approval)
    too many calls
      mocks.search: this is call 2, and the sequence has 1 answers
    no rule
      mocks.search: no rule holds for attempt 1 with the input {"topic":"rust"}
    breaks the schema
      mocks.agent:@test/score: the answer breaks the output schema of @test/score: /score: "high" is not of type "number"
    nobody waits
      when[0]: `gate` waits for no approval, and no other step does
    too late
      when[0]: the execution had failed before that
    input
      given.input: the workflow does not take this input: /files: 3 is not of type "array"
    strangers
      mocks.serch: the workflow has no such step
      mocks.agent:@acme/nobody: nothing in the workflow calls this agent
      steps.score: the workflow has no step there; `reviews.score` is one
    valid
      then.diagnostics: the workflow is valid
    real
      mocks.search: @acme/search is not there to be called
    "#);
    assert!(report.tests.iter().all(|test| test.status == TestStatus::Failed));
    assert!(report.tests.iter().flat_map(|test| &test.failures).all(|failure| failure.span.is_some()));
}

#[test]
fn a_workflow_that_is_not_valid_is_expected_or_told() {
    let mut broken = workflow();
    broken["steps"][5]["tool"]["arguments"] = json!({ "scores": "${steps.nowhere.output}" });
    let tests = json!({ "workflow": "./review.json", "tests": [
        { "name": "as expected", "then": { "diagnostics": ["O8302"] } },
        { "name": "another problem", "then": { "diagnostics": ["O8303"] } },
        { "name": "none", "then": { "status": "completed" } }
    ] });
    let report = run_on(&broken, &tests);
    insta::assert_snapshot!(told(&report).join("\n"), @r#"
    diagnostics: expected ["O8303"], got ["O8302"]
    workflow: the workflow is not valid: no step `nowhere` in scope (O8302, line 1)
    "#);
}

#[test]
fn mocks_that_nobody_uses_are_a_warning_and_in_strict_files_a_failure() {
    let tests = |strict| {
        json!({
            "workflow": "./review.json",
            "strict": strict,
            "defaults": { "mocks": { "search": { "fail": { "code": "DENIED" } }, "agent:@test/score": { "hang": true } } },
            "tests": [{ "name": "fails at once", "mocks": { "publish": { "returns": 1 } }, "then": { "status": "failed" } }]
        })
    };
    let report = run_on(&workflow(), &tests(false));
    assert_eq!(report.count(TestStatus::Passed), 1, "{:?}", told(&report));
    let warnings: Vec<_> = report.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["mocks.publish: no test uses this mock", "mocks.agent:@test/score: no test uses this mock"]);
    assert_eq!(run_on(&workflow(), &tests(true)).count(TestStatus::Failed), 1);
}

#[test]
fn budgets_and_configuration_of_a_test_are_tighter_than_the_workflow_s() {
    let report = run(&json!([
        { "name": "two steps", "given": { "budget": { "maxSteps": 2 } }, "mocks": { "search": { "returns": {} } },
          "then": { "status": "failed", "errors": [{ "code": "BUDGET_EXCEEDED" }] } },
        { "name": "one after the other", "given": { "config": { "execution": { "maxConcurrent": 1 } } },
          "mocks": { "search": { "returns": {} }, "reviews[*].score": { "returns": { "score": 1 }, "after": "10s" } },
          "then": { "waiting": ["gate"], "duration": { "min": "20s" } } }
    ]));
    assert_eq!(told(&report), Vec::<String>::new());
}

#[test]
fn the_same_test_gives_the_same_on_any_number_of_threads() {
    let tests: Vec<_> = (0..20)
        .map(|seed| {
            json!({ "name": format!("{seed}"), "given": { "seed": seed }, "mocks": { "search": { "fail": { "code": "NETWORK" } } },
                    "then": { "status": "completed" } })
        })
        .collect();
    let text = json!({ "workflow": "./review.json", "tests": tests }).to_string();
    let tests = TestFile::read(&text, &Options::new().file_name("review.test.json")).expect("what the test is made of");
    let journals = |threads| {
        let report = runner().threads(threads).run("x", &tests, |options| read(&workflow(), &options), |_| true);
        report.tests.into_iter().map(|test| (test.elapsed, test.journal)).collect::<Vec<_>>()
    };
    let alone = journals(1);
    assert_eq!(alone, journals(4));
    assert_ne!(alone[0].0, alone[1].0, "another seed has another jitter");
}

#[test]
fn agents_that_may_leave_the_process_are_called_only_if_a_mock_says_so() {
    let tests = json!({ "workflow": "./review.json", "tests": [
        { "name": "unasked", "mocks": { "search": { "returns": {} } }, "then": { "status": "failed" } },
        { "name": "asked", "mocks": { "search": { "returns": {} }, "agent:@test/score": { "real": true } }, "then": { "waiting": ["gate"] } }
    ] });
    let tests = TestFile::read(tests.to_string(), &Options::new()).expect("what the test is made of");
    let runner = runner().unasked_only(&AgentRegistry::new());
    let report = runner.run("review.test.json", &tests, |options| read(&workflow(), &options), |_| true);
    assert_eq!(told(&report), ["mocks: `reviews[0].score` calls @test/score, which is not mocked"]);
    assert_eq!(report.tests[1].status, TestStatus::Passed);
}

/// A model that may call a tool, and a step with what it says.
fn asking() -> Value {
    let config = json!({
        "prompt": { "role": "You look things up.", "task": "What is {{ input.subject }}?" }, "model": "smart", "tools": ["look-up"],
        "outputSchema": { "type": "object", "required": ["answer"], "properties": { "answer": { "type": "string" } } }
    });
    json!({
        "version": "1.0.0",
        "metadata": { "id": "asking", "name": "Asking" },
        "steps": [
            { "id": "ask", "agent": { "id": "@orchestr8/llm", "config": config }, "input": { "subject": "rust" } },
            { "id": "tell", "dependencies": ["ask"], "agent": { "id": "@test/score" }, "input": { "said": "${steps.ask.output.answer}" } }
        ]
    })
}

#[test]
fn models_are_answered_turn_by_turn_and_their_agents_are_real() {
    let turns = json!([
        { "returns": { "tools": [{ "name": "look-up", "arguments": { "of": "rust" } }], "usage": { "inputTokens": 50, "outputTokens": 5 } } },
        { "returns": { "text": "not the JSON that was asked for", "usage": { "inputTokens": 60 } }, "after": "3s" },
        { "returns": { "json": { "answer": "${input.model} saw ${input.tools[0]}" }, "usage": { "outputTokens": 7, "costUsd": 0.25 } } }
    ]);
    let by = json!([
        { "when": "length(input.messages) > `1`", "returns": { "json": { "answer": "found" } } },
        { "when": "contains(input.last, 'rust') && contains(input.system, 'look')", "returns": { "tools": [{ "name": "look-up" }] } }
    ]);
    let look_up = json!({ "returns": { "found": "${input.of ?? 'nothing'}" } });
    let tests = json!({ "workflow": "./asking.json", "defaults": { "mocks": { "tool:look-up": look_up } }, "tests": [
        { "name": "one after the other", "mocks": { "model:smart": { "sequence": turns } },
          "then": {
            "status": "completed", "duration": "3s",
            "calls": { "model:smart": 3, "tool:look-up": 1, "agent:@orchestr8/llm": 1 },
            "steps": { "ask": { "output": { "answer": "smart saw look-up" } }, "tell": { "input": { "said": "smart saw look-up" } } },
            "usage": { "inputTokens": 110, "outputTokens": 12, "costUsd": 0.25 },
            "journal": { "contains": [{ "type": "model.called" }, { "type": "tool.called" }, { "type": "model.called" }] }
        } },
        { "name": "by what is asked", "mocks": { "model:smart": { "by": by } },
          "then": { "status": "completed", "outputs": {}, "steps": { "ask": { "output": { "answer": "found" } } } } },
        { "name": "down, then back", "mocks": { "model:smart": { "sequence": [{ "fail": { "code": "NETWORK" } }, { "returns": { "json": { "answer": "late" } } }] } },
          "then": { "status": "completed", "steps": { "ask": { "attempts": 2 } }, "calls": { "tool:look-up": 0 } } },
        { "name": "refuses", "mocks": { "model:smart": { "returns": { "stopReason": "refusal" } } },
          "then": { "status": "failed", "steps": { "ask": { "error": { "code": "DENIED" } } } } },
        { "name": "not mocked", "then": { "status": "failed" } },
        { "name": "says nothing", "mocks": { "model:smart": { "returns": { "txt": "hi" } } }, "then": { "status": "failed" } }
    ] });
    let tests = TestFile::read(tests.to_string(), &Options::new()).expect("what the test is made of");
    let mut agents = AgentRegistry::new();
    agents.register(scripted("score")).expect("what the test is made of");
    llm::register(&mut agents, PromptFiles::default()).expect("what the test is made of");
    let report = TestRunner::new(agents).run("asking.test.json", &tests, |options| read(&asking(), &options), |_| true);
    insta::assert_snapshot!(told(&report).join("\n"), @r"
    mocks: `ask` asks the model `smart`, which is not mocked: add `model:smart` to the mocks
    mocks.model:smart: this is no answer of a model: unknown field `txt`, expected one of `text`, `json`, `tools`, `usage`, `stopReason`; a model answers a text, or an object of `text`, `json` or `tools`, with `usage` and `stopReason`
    ");
    let failed: Vec<_> = report.tests.iter().map(|test| test.status == TestStatus::Failed).collect();
    assert_eq!(failed, [false, false, false, false, true, true]);
}

#[test]
fn secrets_of_a_test_are_those_that_agents_are_given() {
    let manifest = AgentManifest::new("@test/score", "1.0.0", "Needs a key").expect("what the test is made of");
    let keyed = agent_fn(manifest, |_, cx, _| async move {
        Ok(json!({ "length": cx.secret("secret://house/key")?.expose().len() }))
    });
    let mut agents = AgentRegistry::new();
    agents.register(keyed).expect("what the test is made of");
    let workflow = json!({
        "version": "1.0.0", "metadata": { "id": "keyed", "name": "Keyed" }, "context": { "secretRefs": ["secret://house/key"] },
        "steps": [{ "id": "ask", "agent": { "id": "@test/score" } }]
    });
    let tests = json!({ "workflow": "./keyed.json", "tests": [
        { "name": "given", "given": { "secrets": { "secret://house/key": "hunter22" } }, "then": { "outputs": { "ask": { "length": 8 } } } },
        { "name": "not given", "then": { "status": "failed" } }
    ] });
    let tests = TestFile::read(tests.to_string(), &Options::new()).expect("what the test is made of");
    let report = TestRunner::new(agents).run("keyed.test.json", &tests, |options| read(&workflow, &options), |_| true);
    assert_eq!((told(&report), report.warnings), (Vec::<String>::new(), Vec::new()));
}

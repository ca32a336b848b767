//! The example workflows, with the agents of the program: each gives what its file promises.

use std::{fs, time::Duration};

use orchestr8_agent_base::AgentRegistry;
use orchestr8_cli::{agents, workflow_file::WorkflowFile};
use orchestr8_core::{Engine, ExecutionHandle, RequestError};
use orchestr8_schema::{
    Code, ErrorKind, ValidWorkflow,
    event::{ApprovalAnswer, ApprovalDecision},
    source::{Options, load_value, parse},
};
use orchestr8_testing::{Harness, Run, assert_attempts, assert_completed, assert_events, assert_failed};
use serde_json::{Value, json};

use crate::support::{example, orchestr8, say};

fn registry() -> AgentRegistry {
    agents::built_in().expect("the program's agents")
}

fn load(name: &str) -> ValidWorkflow {
    let file = WorkflowFile::read(&example(name)).expect("readable");
    file.check(Options::new().agents(&registry())).expect("valid")
}

/// The example with a change to its document.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> ValidWorkflow {
    let text = fs::read(example(name)).expect("readable");
    let mut document = parse(text, &Options::new().file_name(name)).expect("valid");
    change(&mut document);
    load_value(&document, &Options::new().agents(&registry())).expect("valid")
}

/// The step of a document with this id.
fn step<'a>(document: &'a mut Value, id: &str) -> &'a mut Value {
    let steps = document["steps"].as_array_mut().expect("steps");
    steps.iter_mut().find(|step| step["id"] == id).expect("a step of this id")
}

fn engine() -> Engine {
    Harness::new().registry(registry()).engine()
}

async fn run(workflow: &ValidWorkflow, input: Value) -> Run {
    Harness::new().registry(registry()).run(workflow, input).await
}

/// The status of a top-level step, with the reason if it was skipped.
fn status(run: &Run, id: &str) -> String {
    let body = run.outcome().to_body();
    let step = body.steps.iter().find(|step| step.step_path == id).expect("a step of this id");
    match &step.skip_reason {
        Some(reason) => format!("{} {reason}", step.status),
        None => step.status.clone(),
    }
}

fn outputs(run: &Run) -> Value {
    run.outcome().outputs().expect("a completed execution has outputs")
}

/// Runs an example from the command line.
fn outputs_of_the_program(name: &str, inputs: &[&str]) -> Value {
    let mut command = orchestr8();
    command.arg("run").arg(example(name)).arg("--quiet");
    for input in inputs {
        command.args(["--input", input]);
    }
    let said = say(&mut command);
    assert_eq!(said.code, Some(0), "{name}: {}", said.stderr);
    serde_json::from_str(&said.stdout).expect("outputs are JSON")
}

#[test]
fn all_examples_validate_and_warn_only_of_the_spellings_that_they_show() {
    let folder = example("");
    for entry in fs::read_dir(&folder).expect("the folder of the examples") {
        let name = entry.expect("readable").file_name().into_string().expect("UTF-8");
        if name == "README.md" || name.contains(".test.") {
            continue;
        }
        let codes: Vec<_> = load(&name).warnings().iter().map(|warning| warning.code).collect();
        let expected = match name.as_str() {
            "data-pipeline.json" | "data-pipeline-partial.json" => vec![Code::Alias],
            "multi-agent-research.json" => {
                let ignored = codes.iter().filter(|code| **code == Code::Ignored).count();
                assert_eq!(ignored, 2, "{codes:?}");
                codes.iter().copied().filter(|code| matches!(code, Code::Alias | Code::Ignored)).collect()
            }
            _ => Vec::new(),
        };
        assert_eq!(codes, expected, "{name}");
        let readme = fs::read_to_string(folder.join("README.md")).expect("readable");
        assert!(readme.contains(&format!("`{name}`")), "README.md does not speak of {name}");
    }
}

#[tokio::test(start_paused = true)]
async fn vertical_slice() {
    let run = run(&load("vertical-slice.json"), json!({})).await;
    assert_completed!(run);
    assert_eq!(run.output("step1")["result"], "Hello, Friend! Hello from step 1");
    assert_eq!(run.output("step2")["result"], "Hello, Friend! Hello, Friend! Hello from step 1");
    assert_attempts!(run, "step1", 1);
    assert_attempts!(run, "step2", 1);
    assert_events!(run, ["step.completed step1", "step.scheduled step2"]);
}

#[tokio::test(start_paused = true)]
async fn hello_world() {
    let workflow = load("hello-world.json");
    for (input, message) in [
        (json!({}), "Hello, Developer! Welcome aboard, Developer."),
        (json!({ "userName": "Ada" }), "Hello, Ada! Welcome aboard, Ada."),
        (json!({ "userName": "Ada", "language": "fr" }), "Bonjour, Ada ! Welcome aboard, Ada."),
    ] {
        let run = run(&workflow, input).await;
        assert_completed!(run);
        assert_eq!(run.output("deliver")["message"], message);
        let variables = run.outcome().to_body().variables.expect("a completed execution shows its variables");
        assert_eq!(variables["message"], run.output("greeting")["message"]);
        assert_eq!(variables["timestamp"], run.output("deliver")["deliveredAt"]);
    }
    let outputs = outputs_of_the_program("hello-world.json", &["userName=Ada"]);
    assert_eq!(outputs["deliver"]["message"], "Hello, Ada! Welcome aboard, Ada.");
}

#[tokio::test(start_paused = true)]
async fn data_pipeline() {
    let slow = changed("data-pipeline.json", |document| {
        for fetch in ["fetch-repos", "fetch-activity", "fetch-stats"] {
            step(document, fetch)["agent"]["config"] = json!({ "delayMs": 100 });
        }
    });
    let whole = run(&slow, json!({})).await;
    assert_completed!(whole);
    let took = whole.outcome().to_body().duration.expect("it ended");
    assert!((100..200).contains(&took), "the fetches overlap, but took {took} ms");
    let summary = json!({ "repositoryCount": 3, "totalStars": 60, "commits": 42, "followers": 100 });
    assert_eq!(whole.output("aggregate"), &json!({ "summary": summary, "missing": [], "complete": true }));
    let report = "# Report\n\n- repositories: 3\n- stars: 60\n- commits: 42\n- followers: 100";
    assert_eq!(whole.output("generate-report"), &json!({ "format": "markdown", "report": report }));
    assert_eq!(outputs_of_the_program("data-pipeline.json", &[])["generate-report"]["report"], report);

    let broken = changed("data-pipeline.json", |document| {
        step(document, "fetch-activity")["agent"]["config"] = json!({ "failTimes": 10, "failWith": "NOT_FOUND" });
    });
    let broken = run(&broken, json!({})).await;
    assert_failed!(broken, ErrorKind::NotFound);
    assert_eq!(status(&broken, "aggregate"), "skipped workflow-failed");
}

#[tokio::test(start_paused = true)]
async fn data_pipeline_partial() {
    let whole = run(&load("data-pipeline-partial.json"), json!({})).await;
    assert_completed!(whole);
    assert_eq!(whole.output("aggregate")["complete"], true);

    let partial = changed("data-pipeline-partial.json", |document| {
        step(document, "fetch-activity")["agent"]["config"] = json!({ "failTimes": 10, "failWith": "NOT_FOUND" });
    });
    let partial = run(&partial, json!({})).await;
    assert_completed!(partial);
    assert_eq!(status(&partial, "fetch-activity"), "failed");
    let aggregate = partial.output("aggregate");
    assert_eq!((&aggregate["summary"]["commits"], &aggregate["complete"]), (&json!(0), &json!(false)));
    assert_eq!(aggregate["missing"], json!(["activity"]));
    let report = partial.output("generate-report")["report"].as_str().expect("a text");
    assert!(report.ends_with("- followers: 100\n- missing: activity"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn multi_agent_research() {
    let workflow = load("multi-agent-research.json");
    let whole = run(&workflow, json!({})).await;
    assert_completed!(whole);
    assert_eq!(whole.output("synthesize")["sourceCount"], 10);
    assert_eq!(whole.output("synthesize")["sections"]["summary"], "quantum computing: 10 sources");
    assert_eq!(whole.output("quality-check"), &json!({ "passed": true, "score": 1, "issues": [] }));
    assert_eq!(status(&whole, "academic-fallback"), "skipped fallback-not-needed");

    let web_only = run(&workflow, json!({ "sources": ["web"] })).await;
    assert_completed!(web_only);
    assert_eq!(web_only.output("synthesize")["sourceCount"], 5);
    for skipped in ["academic-search", "news-search"] {
        assert_eq!(status(&web_only, skipped), "skipped condition-not-met");
    }
    assert!(status(&web_only, "academic-fallback").starts_with("skipped "));

    let without_web = changed("multi-agent-research.json", |document| {
        let config = json!({ "failTimes": 10, "failWith": "NOT_FOUND" });
        step(document, "web-search")["agent"]["config"] = config;
    });
    let without_web = run(&without_web, json!({})).await;
    assert_completed!(without_web);
    for skipped in ["synthesize", "quality-check"] {
        assert_eq!(status(&without_web, skipped), "skipped dependency-not-completed");
    }
}

#[tokio::test(start_paused = true)]
async fn multi_agent_research_goes_on_through_its_fallback_while_a_circuit_is_open() {
    let workflow = changed("multi-agent-research.json", |document| {
        step(document, "academic-search")["agent"]["config"] = json!({ "failTimes": 10 });
    });
    let engine = engine();
    let expected = [ErrorKind::Retryable, ErrorKind::CircuitOpen, ErrorKind::CircuitOpen];
    for (round, code) in expected.into_iter().enumerate() {
        let handle = engine.start(&workflow, json!({})).await.expect("started");
        let run = Run::of(&handle).await;
        assert_completed!(run);
        assert_eq!(run.output("synthesize")["sourceCount"], 9);
        let body = run.outcome().to_body();
        let search = body.steps.iter().find(|step| step.step_path == "academic-search").expect("it was tried");
        assert_eq!((search.status.as_str(), search.recovered_by.as_deref()), ("failed", Some("academic-fallback")));
        assert_eq!(search.error.as_ref().map(|error| error.code), Some(code), "round {round}");
        let fallback = body.steps.iter().find(|step| step.step_path == "academic-fallback").expect("it ran");
        assert_eq!((fallback.status.as_str(), fallback.alias_for.as_deref()), ("completed", Some("academic-search")));
    }
}

#[tokio::test(start_paused = true)]
async fn measure_files() {
    let workflow = load("measure-files.yaml");
    let file = |path: &str, text: &str| json!({ "path": path, "text": text });
    let two = run(&workflow, json!({ "files": [file("a.md", "alpha"), file("b.md", "be")] })).await;
    assert_completed!(two);
    assert_eq!(outputs(&two), json!({ "total": { "files": 2, "characters": 7 } }));
    assert_events!(two, [r#"step.completed measure-all["a.md"].measure"#]);
    assert_events!(two, [r#"step.completed measure-all["b.md"].measure"#]);
    let paths: Vec<_> = two.output("measure-all").as_array().expect("a list").iter().map(|one| &one["path"]).collect();
    assert_eq!(paths, ["a.md", "b.md"]);

    let none = run(&workflow, json!({ "files": [] })).await;
    assert_eq!(outputs(&none), json!({ "total": { "files": 0, "characters": 0 } }));

    let equal = run(&workflow, json!({ "files": [file("a", "1"), file("a", "2")] })).await;
    assert_failed!(equal, ErrorKind::Validation);
    assert_eq!(status(&equal, "measure-all"), "failed");

    let files = r#"files=[{"path": "a.md", "text": "alpha"}, {"path": "b.md", "text": "be"}]"#;
    let outputs = outputs_of_the_program("measure-files.yaml", &[files]);
    assert_eq!(outputs, json!({ "total": { "files": 2, "characters": 7 } }));
}

#[tokio::test(start_paused = true)]
async fn refine_draft() {
    let input = json!({ "draft": "Draft" });
    let run_to = |limit: Option<&'static str>| {
        changed("refine-draft.yaml", |document| {
            let refine = &mut step(document, "refine")["loop"];
            if let Some(on_limit) = limit {
                (refine["maxIterations"], refine["onLimit"]) = (json!(1), json!(on_limit));
            }
        })
    };
    let refined = run(&run_to(None), input.clone()).await;
    assert_completed!(refined);
    let value = json!({ "text": "Draft (revised) (revised)", "score": 0.9 });
    assert_eq!(refined.output("refine"), &json!({ "value": value, "iterations": 2, "reason": "condition" }));
    assert_events!(refined, ["step.completed refine#0.critic", "step.completed refine#1.critic"]);

    assert_failed!(run(&run_to(Some("fail")), input.clone()).await, ErrorKind::LoopLimit);

    let accepted = run(&run_to(Some("accept")), input).await;
    assert_completed!(accepted);
    assert_eq!(accepted.output("refine")["value"]["score"], 0.7);
    assert_eq!(accepted.output("refine")["reason"], "limit");

    let outputs = outputs_of_the_program("refine-draft.yaml", &["draft=Draft"]);
    assert_eq!(outputs["refine"]["iterations"], 2);
}

fn answer(decision: ApprovalDecision, answer: Value) -> ApprovalAnswer {
    ApprovalAnswer { decision, answer, comment: None, by: Some("ada".to_owned()) }
}

async fn waiting(workflow: &ValidWorkflow) -> ExecutionHandle {
    let handle = engine().start(workflow, json!({ "tag": "v1.2" })).await.expect("started");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let body = handle.snapshot().await.expect("readable").to_body();
    let waits: Vec<_> = body.waiting_for.iter().map(|one| (one.kind.as_str(), one.step_path.as_str())).collect();
    assert_eq!(waits, [("approval", "sign-off")]);
    handle
}

#[tokio::test(start_paused = true)]
async fn release_approval() {
    let workflow = load("release-approval.yaml");
    let approved = waiting(&workflow).await;
    let refused = approved.answer("sign-off", answer(ApprovalDecision::Approve, json!({ "note": 1 }))).await;
    assert!(matches!(refused, Err(RequestError::Refused(_))), "{refused:?}");
    approved.answer("sign-off", answer(ApprovalDecision::Approve, json!({ "note": "ok" }))).await.expect("open still");
    let approved = Run::of(&approved).await;
    assert_completed!(approved);
    assert_eq!(approved.output("publish"), &json!({ "text": "Published v1.2: ok" }));

    let rejected = waiting(&workflow).await;
    rejected.answer("sign-off", answer(ApprovalDecision::Reject, Value::Null)).await.expect("it waits");
    let forgotten = waiting(&workflow).await;
    for handle in [rejected, forgotten] {
        let run = Run::of(&handle).await;
        assert_failed!(run, ErrorKind::Denied);
        assert_eq!(status(&run, "publish"), "skipped workflow-failed");
    }
}

#[tokio::test(start_paused = true)]
async fn order_saga() {
    let workflow = load("order-saga.yaml");
    let order =
        |address: &str, amount: u32| json!({ "sku": "mug", "quantity": 2, "amount": amount, "address": address });
    let compensated = |run: &Run| {
        let body = run.outcome().to_body();
        serde_json::to_value(body.compensation).expect("JSON").as_str().map(str::to_owned).unwrap_or_default()
    };
    let shipped = run(&workflow, order("x", 25)).await;
    assert_completed!(shipped);
    assert_eq!(shipped.output("ship"), &json!({ "trackingId": "trk-x" }));
    assert_eq!(compensated(&shipped), "none");

    let undone = run(&workflow, order("", 25)).await;
    let error = assert_failed!(undone, ErrorKind::Validation);
    assert!(error.message.contains("`address` is empty"), "{}", error.message);
    assert_eq!(compensated(&undone), "complete");
    let ends = |run: &Run| -> Vec<String> {
        let lines = run.journal_lines();
        lines.into_iter().filter(|line| line.starts_with("compensation.") && !line.contains("started")).collect()
    };
    let ended = ends(&undone);
    let place = |step: &str| ended.iter().position(|line| line.contains(step));
    assert!(place("charge") < place("reserve") && place("charge").is_some(), "{ended:?}");

    let stuck = run(&workflow, order("", 13)).await;
    let error = assert_failed!(stuck, ErrorKind::Validation);
    assert!(error.message.contains("`address` is empty"), "{}", error.message);
    assert_eq!(compensated(&stuck), "incomplete");
    let ended = ends(&stuck);
    assert!(ended.iter().any(|line| line.contains("failed") && line.contains("charge")), "{ended:?}");
    assert!(ended.iter().any(|line| line.contains("completed") && line.contains("reserve")), "{ended:?}");

    let outputs = outputs_of_the_program("order-saga.yaml", &["sku=mug", "quantity=2", "amount=25", "address=x"]);
    assert_eq!(outputs["ship"]["trackingId"], "trk-x");
}

#[tokio::test(start_paused = true)]
async fn onboarding() {
    let workflow = load("onboarding.yaml");
    let person = |email: &str| json!({ "name": "Ada", "email": email });
    /// What hooks ended, by their point.
    fn ended(run: &Run) -> Vec<(String, Option<String>)> {
        let entries = run.journal().iter().filter(|entry| entry.kind == "hook.finished");
        entries
            .map(|entry| (entry.data["point"].as_str().expect("a point").to_owned(), entry.step_path.clone()))
            .collect()
    }
    let hook = |point: &str, path: Option<&str>| (point.to_owned(), path.map(str::to_owned));

    let welcomed = run(&workflow, person("ada@example.org")).await;
    assert_completed!(welcomed);
    let expected = json!({ "userId": "usr-ada@example.org", "greeting": "Hello, Ada! Welcome to @orchestr8." });
    assert_eq!(outputs(&welcomed), expected);
    assert_events!(welcomed, ["step.completed account.create", "step.completed account", "step.completed welcome"]);
    assert_eq!(
        ended(&welcomed),
        [
            hook("beforeStep", Some("account")),
            hook("before", Some("account")),
            hook("beforeStep", Some("account.create")),
            hook("beforeStep", Some("welcome")),
            hook("afterExecution", None),
        ]
    );

    let kept_out = run(&workflow, person("ada@evil.test")).await;
    let error = assert_failed!(kept_out, ErrorKind::Denied);
    assert_eq!((error.attempts, status(&kept_out, "account").as_str()), (0, "failed"));
    assert!(kept_out.journal().iter().all(|entry| entry.step_path.as_deref() != Some("account.create")));
    assert_eq!(ended(&kept_out).last(), Some(&hook("afterExecution", None)));

    let folder = tempfile::tempdir().expect("a folder for the files");
    let text = fs::read_to_string(example("onboarding.yaml")).expect("readable");
    let failing = text.replace(
        r#"beforeStep: [{ agent: { id: "@orchestr8/echo""#,
        r#"beforeStep: [{ agent: { id: "@orchestr8/fail""#,
    );
    assert_ne!(text, failing);
    fs::write(folder.path().join("onboarding.yaml"), failing).expect("written");
    fs::copy(example("create-account.yaml"), folder.path().join("create-account.yaml")).expect("written");
    let file = WorkflowFile::read(&folder.path().join("onboarding.yaml")).expect("readable");
    let unheard = file.check(Options::new().agents(&registry())).expect("valid");
    let unheard = run(&unheard, person("ada@example.org")).await;
    assert_completed!(unheard);
    assert_eq!(outputs(&unheard), expected);

    let inputs = ["name=Ada", "email=ada@example.org"];
    assert_eq!(outputs_of_the_program("onboarding.yaml", &inputs), expected);
    assert_eq!(outputs_of_the_program("create-account.yaml", &inputs), json!({ "userId": "usr-ada@example.org" }));
}

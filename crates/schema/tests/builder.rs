//! Workflows built in Rust: what they become, and what is said when they are wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

use std::time::Duration;

use orchestr8_schema::{
    InvalidWorkflow, Workflow,
    builder::{
        AgentRef, WorkflowBuilder, approval, branch, fields, loop_until, map, own, parallel, raw, signal, text,
        wait_for,
    },
    source::{Options, load},
    workflow::{HookPoint, Join},
};
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Serialize, JsonSchema)]
struct Query {
    text: String,
    limit: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
struct Found {
    files: Vec<File>,
    next: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct File {
    path: String,
    size: u64,
}

#[derive(Serialize, JsonSchema)]
struct Score {
    value: f64,
}

#[derive(Serialize, JsonSchema)]
struct Draft {
    text: String,
    score: f64,
}

#[derive(Serialize, JsonSchema)]
struct Report {
    to: String,
    scores: Vec<Score>,
}

#[derive(Serialize, JsonSchema)]
struct Note {
    note: String,
}

fn find() -> AgentRef<Query, Found> {
    AgentRef::new("@acme/find")
}

fn score() -> AgentRef<File, Score> {
    AgentRef::new("@acme/score")
}

fn critic() -> AgentRef<Draft, Draft> {
    AgentRef::new("@acme/critic")
}

fn mail() -> AgentRef<Report, Note> {
    AgentRef::new("@acme/mail")
}

/// A workflow with every kind of step.
fn everything() -> WorkflowBuilder {
    let mut flow = WorkflowBuilder::new("everything", "Everything").description("One of each");
    let topic = flow.input::<String>("topic");
    let limit = flow.input_or::<u32>("limit", 10);
    let greeting = flow.variable("greeting", "Dear ${name}");
    let found = flow
        .add("find", find().call().with("text", &topic).with("limit", &limit).retry(3).timeout(Duration::from_secs(5)));
    let other = flow.add("elsewhere", find().call().input(Query { text: "${not an expression}".into(), limit: None }));
    flow.add("again", find().call().with("text", found.path("next").or("nothing")).fallback(&other));
    let scores = flow.add(
        "scores",
        map(found.path("files"), |body, file| {
            let score = body.add("score", score().call().input(file.path("")));
            body.add("wait", wait_for(Duration::from_millis(10)).after(&score));
            score
        })
        .concurrency(4)
        .key("path"),
    );
    let refined = flow.add(
        "refine",
        loop_until("loop.value.score >= `0.9`", 5, Draft { text: "Draft".into(), score: 0.0 }, |body, draft| {
            body.add("critic", critic().call().input(&draft))
        })
        .accept_limit(),
    );
    flow.add(
        "route",
        branch()
            .case("many", "inputs.limit > `5`", |body| {
                // Read from further out, so the branch as a whole waits for it.
                body.add("judge", critic().call().input(refined.value()));
            })
            .default(|_| {}),
    );
    flow.add(
        "race",
        parallel(|body| {
            body.add("signal", signal("go"));
            body.add(
                "ask",
                approval(text("Send to {}?", [topic.path("")])).answer::<Note>().deadline(Duration::from_secs(60)),
            );
        })
        .join(Join::Any),
    );
    let sent = flow.add(
        "mail",
        mail()
            .call()
            .with("to", &greeting)
            .with("scores", &scores)
            .when("length(steps.scores.output) > `0`")
            .compensate(critic().call().input(fields().with("text", own("output.note")).with("score", 1)))
            .hook(HookPoint::Before, AgentRef::untyped("@acme/log").call().with("input", own("input"))),
    );
    flow.output("note", sent.path("note").or("none"));
    flow.output("path", raw("${steps.find.output.files[0].path ?? ''}"));
    flow
}

#[test]
fn what_is_built_is_what_is_written() {
    let valid = everything().build().unwrap_or_else(|invalid: InvalidWorkflow| panic!("{invalid:#?}"));
    let written = serde_json::to_string_pretty(&valid).unwrap();
    assert_eq!(Workflow::from_value(&serde_json::from_str(&written).unwrap()).unwrap(), *valid.workflow());
    // JSON is YAML, too; the reader of it is another one.
    #[cfg(feature = "yaml")]
    for name in ["w.json", "w.yaml"] {
        assert_eq!(load(&written, &Options::new().file_name(name)).unwrap().workflow(), valid.workflow());
    }
    #[cfg(not(feature = "yaml"))]
    assert_eq!(load(&written, &Options::new()).unwrap().workflow(), valid.workflow());
    insta::assert_snapshot!(written);
}

#[test]
fn all_mistakes_are_reported_when_it_is_built() {
    let mut flow = WorkflowBuilder::new("w", "W");
    let found = flow.add("find", find().call().with("text", 1).with("limt", 2));
    flow.add("a b", score().call().with("path", found.path("files[0].pth").or("")).with("size", 1));
    flow.add("mail", mail().call().with("to", found.path("next")));
    flow.add("bad", AgentRef::untyped("nobody").call());
    flow.add(
        "outer",
        loop_until("loop.value", 2, 0, |body, outer| {
            body.add(
                "inner",
                loop_until("loop.value", 2, 1, |body, _| {
                    body.add("use", AgentRef::<u32, i32>::new("@acme/use").call().with("n", &outer))
                }),
            )
            .value()
        }),
    );
    let invalid = flow.build().unwrap_err();
    let shown: Vec<_> =
        invalid.diagnostics().iter().map(|found| format!("{} {}: {}", found.code, found.path, found.message)).collect();
    insta::assert_debug_snapshot!(shown);
}

#[test]
#[ignore = "builds the crate and all it depends on once more, which takes minutes; run it when the builder's types change"]
fn what_must_not_compile_does_not() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

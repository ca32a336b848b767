//! How long simulated executions take: 10 000 of a workflow that lasts a month, under chance and faults, and 100 tests of a file.
//!
//! `cargo bench -p benches --bench simulation`

use benches::measured::Noop;
use orchestr8_agent_base::{AgentRegistry, Clock};
use orchestr8_core::clock::SystemClock;
use orchestr8_schema::{
    InvalidWorkflow, ValidWorkflow,
    source::{Options, load},
    test_file::TestFile,
};
use orchestr8_testing::{
    simulate::Simulation,
    workflow_test::{TestRunner, TestStatus},
};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Timers, retries, reminders and people: four weeks from the first step to the last.
fn month() -> Value {
    let agent = json!({ "id": "@bench/noop" });
    json!({
        "version": "1.0.0",
        "metadata": { "id": "month", "name": "A month" },
        "policies": { "resilience": { "retry": { "maxAttempts": 3, "baseDelayMs": 60000, "maxDelayMs": 3600000 } } },
        "steps": [
            { "id": "apply", "agent": agent },
            { "id": "check", "dependencies": ["apply"], "agent": agent },
            { "id": "cool-off", "dependencies": ["check"], "wait": { "duration": "168h" } },
            { "id": "remind", "dependencies": ["cool-off"], "loop": {
                "until": "loop.index >= `2`", "init": 0, "maxIterations": 4, "delay": "48h",
                "steps": [{ "id": "mail", "agent": agent }]
            } },
            { "id": "agree", "dependencies": ["cool-off"], "onError": "continue",
              "approval": { "prompt": "Agreed?", "timeout": "240h", "onTimeout": "reject" } },
            { "id": "paid", "dependencies": ["check"], "onError": "continue", "wait": { "signal": "paid", "timeout": "336h" } },
            { "id": "settle", "dependencies": ["remind"], "wait": { "duration": "336h" } },
            { "id": "close", "dependencies": ["settle"], "agent": agent }
        ]
    })
}

/// A hundred tests of it, with a retry, a person and a crash each.
fn hundred_tests() -> String {
    let tests: Vec<_> = (0..100)
        .map(|number| {
            json!({
                "name": format!("number {number}"),
                "given": { "seed": number },
                "mocks": { "check": { "sequence": [{ "fail": { "code": "NETWORK" } }, { "returns": { "number": number } }] } },
                "when": [
                    { "at": "1h", "signal": "paid", "payload": { "amount": number } },
                    { "at": "2h", "crash": true },
                    { "at": "170h", "approve": "agree" }
                ],
                "then": { "status": "completed", "calls": { "check": 2, "remind#*.mail": 3 } }
            })
        })
        .collect();
    json!({ "workflow": "./month.json", "tests": tests }).to_string()
}

fn agents() -> AgentRegistry {
    let mut agents = AgentRegistry::new();
    agents.register(Noop).expect("the only one");
    agents
}

fn main() {
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let clock = SystemClock::new();
    let workflow = ValidWorkflow::from_value(&month()).expect("a valid workflow");
    let simulation = Simulation::new(&workflow, &agents()).expect("it can be simulated").input(json!({}));

    for threads in [1, 2] {
        let began = clock.now();
        let report = simulation.clone().threads(threads).explore(0..if is_measured { 8_000 } else { 2 });
        let took = clock.now().since(began);
        assert!(report.violations.is_empty(), "{:?}", report.violations);
        println!(
            "{threads} threads: {} executions with {} events and {} days in {:.2} s, 10 000 in {:.2} s",
            report.executions,
            report.events,
            report.elapsed.as_secs() / 86_400,
            took.as_secs_f64(),
            took.as_secs_f64() * 10_000.0 / report.executions as f64,
        );
    }

    let (document, tests) = (month().to_string(), hundred_tests());
    let began = clock.now();
    let tests = TestFile::read(&tests, &Options::new().file_name("month.test.json")).expect("a test file");
    let report = TestRunner::new(agents()).run(
        "month.test.json",
        &tests,
        |options| load(&document, &options).map_err(InvalidWorkflow::into_diagnostics),
        |_| true,
    );
    assert_eq!(report.count(TestStatus::Passed), 100, "{:?}", report.tests[0].failures);
    println!("100 tests in {:.2} s", clock.now().since(began).as_secs_f64());
}

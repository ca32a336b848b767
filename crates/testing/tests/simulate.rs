//! The simulator: what it finds, and that it finds nothing where there is nothing.

use orchestr8_agent_base::{Agent, AgentContext, AgentError, AgentManifest, AgentRegistry};
use orchestr8_schema::ValidWorkflow;
use orchestr8_testing::simulate::{Fault, Invariant, Report, Simulation, TrialEnd};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// An agent that only lends its manifest.
struct Lent(AgentManifest);

#[async_trait::async_trait]
impl Agent for Lent {
    fn manifest(&self) -> AgentManifest {
        self.0.clone()
    }

    async fn execute(&self, _: &Value, _: &AgentContext, _: CancellationToken) -> Result<Value, AgentError> {
        Err(AgentError::internal("a simulation calls no real agent"))
    }
}

fn agents() -> AgentRegistry {
    let manifest =
        |name: &str| AgentManifest::new(&format!("@test/{name}"), "1.0.0", "Lends its manifest").expect("well formed");
    let mut agents = AgentRegistry::new();
    let number = json!({ "type": "object", "required": ["score"], "properties": { "score": { "type": "integer", "minimum": 0, "maximum": 9 } } });
    agents.register(Lent(manifest("score").output_schema(number).idempotent())).expect("new");
    agents.register(Lent(manifest("any"))).expect("new");
    agents.register(Lent(manifest("charge").irreversible())).expect("new");
    agents
}

fn workflow(steps: &Value) -> ValidWorkflow {
    let document = json!({ "version": "1.0.0", "metadata": { "id": "simulated", "name": "Simulated" }, "context": { "variables": { "items": [1, 2, 3] } }, "steps": steps });
    ValidWorkflow::from_value(&document).expect("valid")
}

/// All kinds of steps, timers and people.
fn everything() -> ValidWorkflow {
    let score = |id: &str, more: Value| {
        let mut step = json!({ "id": id, "agent": { "id": "@test/score" } });
        for (key, value) in more.as_object().into_iter().flatten() {
            step[key] = value.clone();
        }
        step
    };
    workflow(&json!([
        score("first", json!({ "compensate": { "agent": { "id": "@test/score" } } })),
        score("other", json!({ "onError": "fallback", "fallbackStepId": "instead" })),
        score("instead", json!({ "compensate": { "agent": { "id": "@test/score" } } })),
        { "id": "both", "dependencies": ["first"], "parallel": { "steps": [score("left", json!({})), score("right", json!({ "onError": "continue" }))] } },
        { "id": "each", "dependencies": ["first"], "map": { "items": "${variables.items}", "concurrency": 2, "onItemError": "skip", "steps": [score("one", json!({}))] } },
        { "id": "again", "dependencies": ["first"], "loop": { "until": "loop.index >= `1`", "init": 0, "maxIterations": 4, "steps": [score("round", json!({}))] } },
        { "id": "way", "dependencies": ["first"], "branch": { "cases": [{ "name": "high", "when": "steps.first.output.score > `5`", "steps": [score("high", json!({}))] }], "default": { "steps": [score("low", json!({}))] } } },
        { "id": "pause", "dependencies": ["other"], "wait": { "duration": "48h" } },
        { "id": "go", "wait": { "signal": "go", "timeout": "168h" }, "onError": "continue" },
        { "id": "ask", "dependencies": ["pause"], "approval": { "prompt": "Go on?", "timeout": "240h", "onTimeout": "reject" }, "onError": "continue" },
        { "id": "more", "dependencies": ["go"], "wait": { "signal": "go" } },
        score("heard", json!({ "dependencies": ["go"] })),
        { "id": "short", "loop": { "until": "loop.index >= `9`", "init": 0, "maxIterations": 2, "onLimit": "accept", "steps": [score("brief", json!({ "compensate": { "agent": { "id": "@test/score" } } }))] } },
        score("last", json!({ "dependencies": ["both", "each", "again", "way"] }))
    ]))
}

/// Says what was found, with the end of the journal, so that a failing test can be understood.
fn assert_clean(report: &Report) {
    let told = report.violations.iter().map(|found| {
        let end = found.journal.len().min(found.sequence as usize);
        let lines = found.journal[end.saturating_sub(16)..end].join("\n");
        format!("{}: {} (seed {}, {:?})\n{lines}", found.invariant, found.message, found.seed, found.faults)
    });
    let told: Vec<_> = told.collect();
    assert!(told.is_empty(), "{}", told.join("\n\n"));
}

#[test]
fn nothing_is_found_where_there_is_nothing() {
    let report = Simulation::new(&everything(), &agents()).unwrap().explore(0..seeds(260));
    assert_clean(&report);
    assert!(report.completed > 0 && report.failed > 0 && report.cancelled > 0, "{report:?}");
}

#[test]
fn chance_may_stretch_a_delay_beyond_its_cap_by_a_half() {
    let retry = json!({ "maxAttempts": 5, "baseDelayMs": 4000, "maxDelayMs": 4000 });
    let step = json!([{ "id": "call", "agent": { "id": "@test/any" }, "policies": { "retry": retry } }]);
    assert_clean(&Simulation::new(&workflow(&step), &agents()).unwrap().explore(0..60));
}

#[test]
fn what_is_never_reached_is_told() {
    let simulation = Simulation::new(&everything(), &agents()).unwrap();
    let calm = simulation.explore_with(0..20, Some(&[]));
    assert_clean(&calm);
    assert_eq!(calm.coverage.steps_never_reached, ["instead"]);
    let faults = ["fail@other", "fail@other:2", "fail@other:3"].map(|fault| fault.parse().unwrap());
    let report = simulation.explore_with(0..20, Some(&faults));
    assert_clean(&report);
    assert_eq!(report.coverage.steps_never_reached, Vec::<String>::new());
}

/// How many seeds are tried; `ORCHESTR8_SEEDS` sets another number for a longer run.
fn seeds(usual: u64) -> u64 {
    std::env::var("ORCHESTR8_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(usual)
}

#[test]
fn a_seed_gives_the_same_journal_again() {
    let simulation = Simulation::new(&everything(), &agents()).unwrap();
    let faults = [Fault::SlowHuman, "fail@first".parse().unwrap()];
    let (one, other) = (simulation.run(7, &faults).unwrap(), simulation.run(7, &faults).unwrap());
    assert_eq!(one.digest(), other.digest());
    assert_ne!(one.digest(), simulation.run(8, &faults).unwrap().digest());
    let (alone, together) = (simulation.clone().threads(1).explore(0..40), simulation.threads(4).explore(0..40));
    assert_eq!(serde_json::to_value(alone).unwrap(), serde_json::to_value(together).unwrap());
}

#[test]
fn an_effect_that_may_happen_twice_is_found_with_what_it_takes() {
    let twice = workflow(&json!([
        { "id": "look", "agent": { "id": "@test/score" } },
        { "id": "charge", "dependencies": ["look"], "agent": { "id": "@test/charge" } }
    ]));
    let report = Simulation::new(&twice, &agents()).unwrap().explore(0..200);
    let found: Vec<_> = report.violations.iter().map(|found| found.invariant).collect();
    assert_eq!(found, [Invariant::EffectOnce]);
    assert_eq!(report.violations[0].faults.len(), 1, "{:?}", report.violations[0].faults);

    let never_again = workflow(&json!([
        { "id": "look", "agent": { "id": "@test/score" } },
        { "id": "wait", "dependencies": ["look"], "wait": { "duration": "1h" } }
    ]));
    let calm = Simulation::new(&never_again, &agents()).unwrap();
    assert_eq!(calm.run(1, &[]).unwrap().end, TrialEnd::Completed);
    assert!(calm.explore(0..100).violations.is_empty());
}

#[test]
fn a_seed_gives_the_same_journal_in_another_process() {
    const ASKED: &str = "ORCHESTR8_TELL_DIGEST";
    let trial = Simulation::new(&everything(), &agents()).unwrap().run(11, &["crash@9".parse().unwrap()]).unwrap();
    if std::env::var_os(ASKED).is_some() {
        println!("digest {}", trial.digest());
        return;
    }
    let mut other = std::process::Command::new(std::env::current_exe().expect("this test"));
    other.args(["a_seed_gives_the_same_journal_in_another_process", "--exact", "--nocapture"]).env(ASKED, "1");
    let told = String::from_utf8(other.output().expect("it runs").stdout).expect("text");
    assert!(told.contains(&format!("digest {}", trial.digest())), "{told}");
}

#[test]
fn hooks_that_a_cancel_or_a_pause_meets_hold_nothing_up() {
    let told = json!({ "agent": { "id": "@test/score" } });
    let document = json!({
        "version": "1.0.0",
        "metadata": { "id": "hooked", "name": "Hooked" },
        "hooks": { "beforeExecution": [told], "afterStep": [told], "afterExecution": [told] },
        "steps": [{ "id": "only", "agent": { "id": "@test/score" }, "hooks": { "before": [told] } }]
    });
    let workflow = ValidWorkflow::from_value(&document).expect("valid");
    let simulation = Simulation::new(&workflow, &agents()).unwrap();
    // In the same breath as the call of the first hook, and where a process is gone while one is called.
    assert_clean(&simulation.explore_with(0..4, Some(&faults(&["cancel@1"]))));
    for write in 2..10 {
        for event in [6, 9, 12, 15, 18] {
            let told = [Fault::CrashBefore(write), Fault::Pause(event)];
            assert_clean(&simulation.explore_with(0..2, Some(&told)));
        }
    }
    assert_clean(&simulation.explore(0..100));
}

/// Two steps, of which the first one sees the input.
fn two_steps() -> Simulation {
    let document = json!({
        "version": "1.0.0",
        "metadata": { "id": "two", "name": "Two" },
        "inputs": { "type": "object", "required": ["topic"], "properties": { "topic": { "enum": ["one", "other"] } } },
        "policies": { "resilience": { "retry": { "maxAttempts": 1 } } },
        "steps": [
            { "id": "look", "agent": { "id": "@test/score" }, "input": { "topic": "${inputs.topic}" } },
            { "id": "tell", "agent": { "id": "@test/score" }, "dependencies": ["look"] }
        ]
    });
    Simulation::new(&ValidWorkflow::from_value(&document).expect("valid"), &agents()).expect("it can be simulated")
}

fn faults(texts: &[&str]) -> Vec<Fault> {
    texts.iter().map(|text| text.parse().expect("a fault")).collect()
}

#[test]
fn an_execution_that_failed_is_resumed_and_does_only_what_is_left() {
    let simulation = two_steps();
    let failed = simulation.run(3, &faults(&["fail@tell"])).unwrap();
    assert_eq!((failed.end, failed.calls), (TrialEnd::Failed, 2));
    let resumed = simulation.run(3, &faults(&["fail@tell", "reopen@1"])).unwrap();
    assert_eq!((resumed.end, resumed.calls), (TrialEnd::Completed, 3));
    // The second attempt of all is the first one since.
    let again = simulation.run(3, &faults(&["fail@tell", "fail@tell:2", "reopen@1"])).unwrap();
    assert_eq!((again.end, again.calls), (TrialEnd::Failed, 3));
    let twice = simulation.run(3, &faults(&["fail@tell", "fail@tell:2", "reopen@1", "reopen@2"])).unwrap();
    assert_eq!((twice.end, twice.calls), (TrialEnd::Completed, 4));
    for trial in [resumed, again, twice] {
        assert!(trial.violations.is_empty(), "{:?}", trial.violations);
        let reopened = trial.journal.iter().filter(|event| event.body.name() == "execution.reopened").count();
        assert_eq!(reopened, trial.faults.iter().filter(|fault| fault.name() == "reopen").count());
    }
}

#[test]
fn a_fork_takes_over_what_was_done_unless_its_input_is_another() {
    let simulation = two_steps();
    let calls = |seed, texts: &[&str]| {
        let trial = simulation.run(seed, &faults(texts)).unwrap();
        assert!(trial.violations.is_empty(), "{:?}", trial.violations);
        assert_eq!(trial.end, TrialEnd::Completed);
        let begun = trial.journal.iter().filter(|event| event.body.name() == "execution.queued").count();
        (begun, trial.calls)
    };
    assert_eq!(calls(3, &["fork@tell"]), (2, 3), "one result is taken over");
    assert_eq!(calls(3, &["fork@1"]), (2, 4), "nothing had been done there");
    assert_eq!(calls(3, &["fork@1000"]), (1, 2), "there is no such place");
    assert_eq!(calls(3, &["fork@look", "fork@tell"]), (3, 5), "the second is a fork of the first");
    // Of two topics, some seed has the same one twice.
    let others: Vec<_> = (0..8).map(|seed| calls(seed, &["fork-other@tell"]).1).collect();
    assert!(others.contains(&4) && others.iter().all(|calls| [3, 4].contains(calls)), "{others:?}");
}

#[test]
fn a_process_that_is_shut_down_leaves_its_execution_to_the_next() {
    let simulation = two_steps();
    for event in 1..10 {
        let trial = simulation.run(3, &[Fault::Shutdown(event)]).unwrap();
        assert!(trial.violations.is_empty(), "{:?}", trial.violations);
        assert_eq!(trial.end, TrialEnd::Completed);
        let taken_up = trial.journal.iter().any(|event| event.body.name() == "execution.recovered");
        assert!(taken_up || event < 3 || trial.calls == 2, "event {event}");
    }
}

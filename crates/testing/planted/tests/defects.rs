//! Deliberate mistakes, one at a time: the simulator finds them, and nothing where there is none.
//!
//! `ORCHESTR8_SEEDS` sets how many seeds are tried of each workflow without a mistake; 100000 is the long run.

use std::{
    panic,
    time::{Duration, SystemTime},
};

use orchestr8_agent_base::{Agent, AgentContext, AgentError, AgentManifest, AgentRegistry};
use orchestr8_core::planted::Defect;
use orchestr8_schema::{ValidWorkflow, source::Options, test_file::MockFile, usage::Estimate};
use orchestr8_testing::simulate::Simulation;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

/// How long a mistake may stay unfound.
const LIMIT: Duration = Duration::from_secs(60);
/// How many may stay unfound, of a hundred.
const UNFOUND: usize = 5;
/// Seeds that are tried in one go.
const STRIDE: u64 = 60;

/// An agent that is never called, and expects to use up so many tokens.
struct Lent(AgentManifest, u64);

#[async_trait::async_trait]
impl Agent for Lent {
    fn manifest(&self) -> AgentManifest {
        self.0.clone()
    }

    async fn execute(&self, _: &Value, _: &AgentContext, _: CancellationToken) -> Result<Value, AgentError> {
        Err(AgentError::internal("a simulation calls no real agent"))
    }

    fn estimate(&self, _: &Value, _: &Map<String, Value>) -> Estimate {
        Estimate::new(self.1, 0.0)
    }
}

fn agents() -> AgentRegistry {
    let manifest = |name: &str| AgentManifest::new(&format!("@test/{name}"), "1.0.0", "Lends its manifest").unwrap();
    let mut agents = AgentRegistry::new();
    let number = json!({ "type": "object", "required": ["score"], "properties": { "score": { "type": "integer", "minimum": 0, "maximum": 9 } } });
    agents.register(Lent(manifest("score").output_schema(number.clone()).idempotent(), 0)).unwrap();
    agents.register(Lent(manifest("model").output_schema(number).idempotent(), 1200)).unwrap();
    agents
}

fn workflow(name: &str, more: &Value, steps: &Value) -> ValidWorkflow {
    let mut document = json!({ "version": "1.0.0", "metadata": { "id": name, "name": name }, "context": { "variables": { "items": [1, 2, 3] } }, "steps": steps });
    for (key, value) in more.as_object().into_iter().flatten() {
        document[key] = value.clone();
    }
    ValidWorkflow::from_value(&document).unwrap()
}

fn score(id: &str, more: &Value) -> Value {
    let mut step = json!({ "id": id, "agent": { "id": "@test/score" } });
    for (key, value) in more.as_object().into_iter().flatten() {
        step[key] = value.clone();
    }
    step
}

/// What is simulated: each workflow has what a family of mistakes takes.
fn simulations() -> Vec<Simulation> {
    let undone = json!({ "agent": { "id": "@test/score" } });
    let composites = workflow("composites", &json!({ "outputs": { "last": "${steps.last.output.score}" } }), &json!([
        score("first", &json!({ "compensate": undone })),
        { "id": "both", "dependencies": ["first"], "parallel": { "join": { "atLeast": 1 }, "steps": [score("left", &json!({})), score("right", &json!({ "onError": "continue" }))] } },
        { "id": "each", "dependencies": ["first"], "map": { "items": "${variables.items}", "concurrency": 2, "onItemError": "skip", "steps": [score("one", &json!({ "input": { "item": "${item}" } }))], "output": "${item}" } },
        { "id": "again", "dependencies": ["first"], "loop": { "until": "loop.index >= `1`", "init": 0, "maxIterations": 4, "steps": [score("round", &json!({}))], "value": "${steps.round.output.score}" } },
        { "id": "short", "loop": { "until": "loop.index >= `9`", "init": 0, "maxIterations": 2, "onLimit": "accept", "steps": [score("brief", &json!({}))] } },
        { "id": "way", "dependencies": ["first"], "branch": { "cases": [{ "name": "high", "when": "steps.first.output.score > `5`", "steps": [score("high", &json!({}))] }], "default": { "steps": [score("low", &json!({}))] } } },
        score("maybe", &json!({ "dependencies": ["first"], "condition": { "if": "steps.first.output.score > `3`" } })),
        score("reads", &json!({ "input": { "seen": "${steps.maybe.output.score ?? 0}" } })),
        score("last", &json!({ "dependencies": ["both", "each", "again", "way"] })),
    ]));
    let people = workflow("people", &json!({}), &json!([
        { "id": "pause", "wait": { "duration": "48h" } },
        { "id": "go", "wait": { "signal": "go", "timeout": "168h" }, "onError": "continue" },
        { "id": "ask", "dependencies": ["pause"], "approval": { "prompt": "Go on?", "timeout": "240h", "onTimeout": "reject" }, "onError": "continue" },
        { "id": "ask-too", "approval": { "prompt": "Go on?" }, "onError": "continue" },
        { "id": "ask-both", "parallel": { "steps": [
            { "id": "one", "approval": { "prompt": "One?" }, "onError": "continue" },
            { "id": "other", "approval": { "prompt": "Other?" }, "onError": "continue" }
        ] } },
        { "id": "more", "dependencies": ["go"], "wait": { "signal": "go" } },
        score("heard", &json!({ "dependencies": ["go"] })),
        score("agreed", &json!({ "dependencies": ["ask"] })),
    ]));
    let failures = workflow("failures", &json!({ "policies": { "resilience": { "retry": { "maxAttempts": 3, "baseDelayMs": 1000 }, "circuitBreaker": { "failureThreshold": 1, "resetTimeout": 30000 } }, "concurrency": { "maxConcurrentSteps": 2 } } }), &json!([
        score("first", &json!({ "compensate": undone })),
        score("second", &json!({ "compensate": undone, "dependencies": ["first"] })),
        score("third", &json!({ "compensate": undone, "dependencies": ["second"], "policies": { "timeout": "5s" } })),
        score("soft", &json!({ "onError": "continue", "policies": { "timeout": "5s" } })),
        score("late", &json!({ "dependencies": ["soft"], "policies": { "deadline": "60s" } })),
    ]));
    let limited = workflow("limited", &json!({ "policies": { "timeout": { "global": "90s", "perStep": "20s" }, "cancellation": { "graceful": true, "timeout": "5s" } } }), &json!([
        score("a", &json!({})), score("b", &json!({})), score("c", &json!({ "dependencies": ["a", "b"], "compensate": undone })),
        score("d", &json!({ "dependencies": ["c"], "policies": { "deadline": "30s" } })),
        { "id": "many", "map": { "items": "${variables.items}", "steps": [score("one", &json!({}))] } },
        score("e", &json!({ "dependencies": ["d", "many"] })),
    ]));
    let once = json!({ "policies": { "resilience": { "retry": { "maxAttempts": 1 } } } });
    let inside = workflow("inside", &json!({ "outputs": { "sum": "${steps.collect.output}" } }), &json!([
        { "id": "race", "onError": "continue", "policies": { "deadline": "20s" }, "parallel": { "steps": [
            score("quick", &json!({})),
            score("slow", &json!({ "policies": { "timeout": "90s" } })),
            { "id": "nap", "wait": { "duration": "40s" } }
        ] } },
        { "id": "collect", "map": {
            "items": "${variables.items}", "concurrency": 2, "onItemError": "skip",
            "steps": [score("weigh", &json!({ "input": { "item": "${item}", "at": "${index}" } }))],
            "output": { "of": "${item}", "score": "${steps.weigh.output.score}" },
            "accumulator": { "init": [], "value": { "before": "${accumulator}", "last": "${steps.weigh.output.score}" } }
        } },
        { "id": "rounds", "loop": {
            "while": "loop.index < `3`", "maxIterations": 5, "init": 1,
            "steps": [score("turn", &json!({ "input": { "index": "${loop.index}", "value": "${loop.value}" } }))],
            "value": { "turn": "${steps.turn.output.score}", "index": "${loop.index}" }
        } },
        { "id": "keyed", "map": { "items": "${variables.items}", "key": "${item}", "steps": [
            score("one", &json!({ "onError": "continue", "input": { "item": "${item}" } })),
            score("two", &json!({ "input": { "first": "${steps.one.output.score ?? 'none'}" }, "condition": { "if": "steps.one.status == 'completed'" } }))
        ] } },
    ]));
    let seen = workflow("seen", &json!({ "policies": { "resilience": { "retry": { "maxAttempts": 1 } } }, "outputs": { "told": "${steps.told.output.payload ?? 'nothing'}", "shown": "${steps.main.output.score ?? 'none'}" } }), &json!([
        score("main", &json!({ "onError": "fallback", "fallbackStepId": "spare", "input": { "of": "main" } })),
        score("spare", &json!({})),
        score("uses", &json!({ "dependencies": ["main"], "input": { "score": "${steps.main.output.score}" } })),
        score("shaky", &json!({ "onError": "continue" })),
        score("soft", &json!({ "input": { "seen": "${steps.shaky.output.score ?? 'none'}" } })),
        score("if-failed", &json!({ "condition": { "if": "steps.shaky.status == 'failed'" } })),
        { "id": "told", "wait": { "signal": "go", "timeout": "48h" }, "onError": "continue" },
        { "id": "group", "parallel": { "steps": [score("left", &json!({})), score("right", &json!({}))] } },
        score("after", &json!({ "dependencies": ["group"], "input": { "both": "${steps.group.output}" } })),
    ]));
    let reserved = workflow("reserved", &json!({ "policies": { "timeout": { "global": "10m" }, "budget": { "maxTokens": 20000 }, "resilience": { "retry": { "maxAttempts": 2, "baseDelayMs": 1000 } } } }), &json!([
        { "id": "one", "agent": { "id": "@test/model" }, "onError": "continue", "policies": { "deadline": "15s" } },
        { "id": "pair", "onError": "continue", "parallel": { "join": "any", "steps": [
            { "id": "first", "agent": { "id": "@test/model" } },
            { "id": "second", "agent": { "id": "@test/model" } }
        ] } },
        { "id": "last", "dependencies": ["one"], "agent": { "id": "@test/model" }, "onError": "continue" },
        { "id": "rest", "wait": { "duration": "5m" } },
    ]));
    let fallbacks = workflow("fallbacks", &once, &json!([
        score("other", &json!({ "onError": "fallback", "fallbackStepId": "instead" })),
        score("instead", &json!({})),
        score("needs", &json!({ "dependencies": ["other"] })),
    ]));
    let saga = workflow("saga", &once, &json!([
        score("first", &json!({ "compensate": undone })),
        score("second", &json!({ "compensate": undone, "dependencies": ["first"] })),
        score("third", &json!({ "dependencies": ["second"] })),
    ]));
    let budgeted = workflow("budgeted", &json!({ "policies": { "budget": { "maxSteps": 5, "maxTokens": 4000 }, "resilience": { "retry": { "maxAttempts": 3, "baseDelayMs": 1000 } } } }), &json!([
        score("first", &json!({ "onError": "continue" })),
        score("second", &json!({ "onError": "continue" })),
        { "id": "many", "dependencies": ["first"], "onError": "continue", "map": { "items": "${variables.items}", "onItemError": "skip", "steps": [score("one", &json!({}))] } },
        score("last", &json!({ "dependencies": ["second"], "onError": "continue" })),
    ]));
    // Whoever loses the race may be probing the circuit that is shared with those behind.
    let probed = workflow("probed", &json!({ "policies": { "resilience": { "retry": { "maxAttempts": 5, "baseDelayMs": 1000 }, "circuitBreaker": { "failureThreshold": 1, "resetTimeout": 1000, "key": "shared" } } } }), &json!([
{ "id": "race", "parallel": { "join": "any", "steps": [score("left", &json!({})), score("right", &json!({}))] } },
        score("after", &json!({ "dependencies": ["race"] })),
        score("later", &json!({ "dependencies": ["after"] })),
    ]));
    let told = json!({ "agent": { "id": "@test/score" } });
    let hooked = workflow("hooked", &json!({ "hooks": { "beforeExecution": [told], "afterStep": [told], "afterExecution": [told] } }), &json!([
        score("first", &json!({ "hooks": { "before": [told], "after": [told] } })),
        score("second", &json!({ "dependencies": ["first"], "onError": "continue", "hooks": { "onError": [told] } })),
        { "id": "pair", "dependencies": ["second"], "parallel": { "steps": [score("inner", &json!({ "hooks": { "after": [told] } }))] }, "hooks": { "before": [told] } },
    ]));
    let inputs = json!({ "type": "object", "required": ["topic"], "properties": { "topic": { "enum": ["one", "other", "another"] } } });
    let again = workflow("again", &json!({ "inputs": inputs, "policies": { "resilience": { "retry": { "maxAttempts": 1 } }, "budget": { "maxTokens": 4000, "maxSteps": 9 } } }), &json!([
        score("look", &json!({ "input": { "topic": "${inputs.topic}" } })),
        { "id": "each", "dependencies": ["look"], "map": { "items": "${variables.items}", "concurrency": 1, "steps": [score("one", &json!({ "input": { "item": "${item}" } }))] } },
        score("beside", &json!({})),
        score("last", &json!({ "dependencies": ["each", "beside"] })),
    ]));
    let agents = agents();
    let simulation = |workflow: ValidWorkflow| Simulation::new(&workflow, &agents).unwrap();
    let all = [composites, people, failures, limited, fallbacks, saga, budgeted, hooked, again, inside, seen, reserved];
    let mut all: Vec<_> = all.into_iter().map(|workflow| simulation(workflow).slots(2)).collect();
    let mocks = json!({ "mocks": { "race.right": { "sequence": [{ "fail": { "code": "NETWORK" } }, { "returns": { "score": 1 } }] } } });
    let mocks = MockFile::read(mocks.to_string().as_bytes(), &Options::new()).unwrap().value;
    all.push(Simulation::with_mocks(&probed, &agents, &mocks).unwrap().slots(2));
    all
}

/// Looks for violations until there is one, or the time is over. Tells how long it took, and what was found.
fn look(simulations: &[Simulation]) -> (Duration, Option<String>) {
    let began = SystemTime::now();
    let elapsed = || began.elapsed().unwrap_or_default();
    let mut from = 0;
    let limit = std::env::var("ORCHESTR8_LIMIT").ok().and_then(|seconds| seconds.parse().ok());
    let limit = limit.map_or(LIMIT, Duration::from_secs);
    while elapsed() < limit {
        for simulation in simulations {
            let found = simulation.first_violation(from..from + STRIDE);
            if let Some(violation) = found {
                return (elapsed(), Some(violation.to_string()));
            }
        }
        from += STRIDE;
    }
    (elapsed(), None)
}

#[test]
fn mistakes_are_found_and_nothing_else() {
    let simulations = simulations();
    // An engine that is wrong on purpose may panic; that it does is found by what does not go on then.
    panic::set_hook(Box::new(|_| {}));
    let mut unfound = Vec::new();
    let only = std::env::var("ORCHESTR8_DEFECT").ok();
    let chosen = |defect: &&Defect| only.as_ref().is_none_or(|only| format!("{defect:?}") == *only);
    for defect in Defect::ALL.iter().filter(chosen) {
        Defect::plant(Some(*defect));
        let (time, found) = look(&simulations);
        println!("{defect:?}: {:.1} s, {}", time.as_secs_f64(), found.as_deref().unwrap_or("not found"));
        if found.is_none() {
            unfound.push(*defect);
        }
    }
    Defect::plant(None);
    let _ = panic::take_hook();
    let seeds = std::env::var("ORCHESTR8_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(100);
    for simulation in &simulations {
        let report = simulation.explore(0..seeds);
        let found = report.violations.iter().map(|found| {
            let end = found.journal.len().min(found.sequence as usize);
            let lines = found.journal[end.saturating_sub(24)..end].join("\n");
            format!("{}: {} (seed {}, {:?})\n{lines}", found.invariant, found.message, found.seed, found.faults)
        });
        let found: Vec<_> = found.collect();
        assert!(found.is_empty(), "{}", found.join("\n\n"));
    }
    assert!(Defect::ALL.len() >= 40);
    assert!(unfound.len() * 100 <= Defect::ALL.len() * UNFOUND, "not found: {unfound:?}");
}

//! The program is killed, as often as one likes, and what it had stored is not run again.
//!
//! What its agents did is seen from outside, in a ledger that every call is written into before it does anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use orchestr8_core::{Snapshot, machine::Status};
use orchestr8_schema::event::{CallId, EventBody};
use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};

use crate::support::{
    orchestr8,
    own_program::{Effect, effects, own_program, stored},
    say,
};

/// Workflows that are killed in the suite; `CRASHES` asks for more.
const WORKFLOWS: u64 = 8;
/// Kills of one execution. A fourth restart of one attempt would be its last.
const KILLS: usize = 3;

/// What a step of a generated workflow does.
#[derive(Clone, Debug)]
enum Shape {
    Call { fails: bool },
    Map { items: usize, concurrency: usize },
    Loop { iterations: usize },
    Parallel { steps: usize },
    Branch { first: bool },
    Wait,
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        4 => prop::bool::weighted(0.2).prop_map(|fails| Shape::Call { fails }),
        2 => (1..5_usize, 1..4_usize).prop_map(|(items, concurrency)| Shape::Map { items, concurrency }),
        1 => (1..4_usize).prop_map(|iterations| Shape::Loop { iterations }),
        1 => (1..4_usize).prop_map(|steps| Shape::Parallel { steps }),
        1 => any::<bool>().prop_map(|first| Shape::Branch { first }),
        1 => Just(Shape::Wait),
    ]
}

fn call(id: &str, of: &Value, fails: bool) -> Value {
    json!({
        "id": id, "agent": { "id": "@test/ledger" }, "input": { "of": of, "delayMs": 15, "fails": u8::from(fails) },
        "policies": { "retry": { "baseDelayMs": 100, "jitter": false } },
    })
}

/// Steps that depend on some of those before them, and read what these gave.
fn any_workflow() -> impl Strategy<Value = Value> {
    vec((shape(), any::<u8>()), 3..8).prop_map(|shapes| {
        let mut steps: Vec<Value> = Vec::new();
        for (index, (shape, after)) in shapes.into_iter().enumerate() {
            let id = format!("s{index}");
            let inner = |number: usize| format!("s{index}-{number}");
            let before = (0..index).filter(|earlier| after & (1 << earlier) != 0).map(|earlier| format!("s{earlier}"));
            let before: Vec<String> = before.collect();
            let of: Vec<_> = before.iter().map(|earlier| json!(format!("${{steps.{earlier}.output}}"))).collect();
            let mut step = match shape {
                Shape::Call { fails } => call(&id, &json!(of), fails),
                Shape::Map { items, concurrency } => {
                    let items: Vec<_> = (0..items).map(|item| format!("item {item}")).collect();
                    let steps = [call(&inner(0), &json!("${item}"), false)];
                    json!({ "id": id, "map": { "items": items, "concurrency": concurrency, "steps": steps } })
                }
                Shape::Loop { iterations } => {
                    let until = format!("loop.index == `{}`", iterations - 1);
                    let steps = [call(&inner(0), &json!("${loop.index}"), false)];
                    json!({ "id": id, "loop": { "until": until, "maxIterations": 5, "steps": steps } })
                }
                Shape::Parallel { steps } => {
                    let steps: Vec<_> = (0..steps).map(|number| call(&inner(number), &json!(of), false)).collect();
                    json!({ "id": id, "parallel": { "steps": steps } })
                }
                Shape::Branch { first } => json!({ "id": id, "branch": {
                    "cases": [{ "name": "first", "when": format!("`{first}`"), "steps": [call(&inner(0), &json!(of), false)] }],
                    "default": { "steps": [call(&inner(1), &json!(of), false)] },
                } }),
                Shape::Wait => json!({ "id": id, "wait": { "duration": "20ms" } }),
            };
            step["dependencies"] = json!(before);
            steps.push(step);
        }
        json!({ "version": "1.0.0", "metadata": { "id": "crash", "name": "Crash" }, "steps": steps })
    })
}

/// Runs a program, and kills it once it has told of this many events and calls. The exit code, unless it was killed.
pub(crate) fn run_and_kill(command: &mut Command, lines: usize) -> Option<i32> {
    run_and_kill_at(command, lines, |line| line.contains('{'))
}

/// The same, once it has told of this many of some of them.
fn run_and_kill_at(command: &mut Command, lines: usize, counts: impl Fn(&str) -> bool) -> Option<i32> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program starts");
    let told = BufReader::new(child.stdout.take().expect("standard output is a pipe")).lines();
    let told = told.filter(|line| line.as_ref().is_ok_and(|line| counts(line)));
    if told.take(lines).count() == lines {
        child.kill().expect("it is our child");
    }
    child.wait().expect("it is our child").code()
}

/// What is known of the only execution in a data directory; absent before it is stored.
fn only(data: &Path) -> Option<Snapshot> {
    let mut snapshots = stored(data);
    assert!(snapshots.len() < 2, "one execution, however often it was taken up");
    snapshots.pop()
}

/// The paths of the steps that have come to their end, and how often each was told of.
fn committed(snapshot: &Snapshot) -> BTreeMap<String, usize> {
    let mut ends = BTreeMap::new();
    for event in snapshot.events() {
        if let EventBody::StepCompleted { activation, .. } = &event.body {
            let path = snapshot.state().step_path(snapshot.plan(), *activation).expect("there is one");
            *ends.entry(path.to_string()).or_default() += 1;
        }
    }
    ends
}

/// The paths of the steps whose attempt is in progress.
fn in_flight(snapshot: &Snapshot) -> BTreeSet<String> {
    let mut open = BTreeSet::new();
    for event in snapshot.events() {
        match &event.body {
            EventBody::AttemptStarted { call: CallId::Step(step), .. } => open.insert(*step),
            EventBody::AttemptFinished { call: CallId::Step(step), .. } => open.remove(step),
            _ => continue,
        };
    }
    let path = |step| snapshot.state().step_path(snapshot.plan(), step).expect("there is one").to_string();
    open.into_iter().map(path).collect()
}

/// How often the journal announces calls of each step, and how often the ledger has them.
fn announced(snapshot: &Snapshot) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for event in snapshot.events() {
        if let EventBody::AttemptStarted { call: CallId::Step(step), .. } = &event.body {
            let path = snapshot.state().step_path(snapshot.plan(), *step).expect("there is one");
            *calls.entry(path.to_string()).or_default() += 1;
        }
    }
    calls
}

/// One workflow, whose program is killed again and again.
struct Trial {
    seed: u64,
    runner: TestRunner,
    folder: PathBuf,
    ledger: PathBuf,
    file: PathBuf,
}

impl Trial {
    fn new(seed: u64, folder: &Path) -> Self {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(Config::default(), random);
        let folder = folder.join(seed.to_string());
        fs::create_dir(&folder).expect("made");
        let workflow = any_workflow().new_tree(&mut runner).expect("drawn").current();
        let file = folder.join("workflow.json");
        fs::write(&file, workflow.to_string()).expect("written");
        Self { seed, runner, ledger: folder.join("ledger"), folder, file }
    }

    fn command(data: &Path, ledger: &Path, arguments: &[&str]) -> Command {
        own_program(ledger, &[&["--data-dir", data.to_str().expect("UTF-8")], arguments, &["--events"]].concat())
    }

    fn below(&mut self, limit: usize) -> usize {
        self.runner.rng().random_range(0..limit.max(1))
    }

    /// How often it was killed, and how many attempts were interrupted so and called again.
    fn go(mut self) -> (usize, usize) {
        let file = self.file.to_str().expect("UTF-8").to_owned();
        let undisturbed = self.folder.join("undisturbed");
        let other_ledger = self.folder.join("other-ledger");
        let code = run_and_kill(&mut Self::command(&undisturbed, &other_ledger, &["run", &file]), usize::MAX);
        let expected = only(&undisturbed).expect("it has run");
        assert_eq!(code, Some(0), "seed {}: {:?}", self.seed, expected.state().error());
        let lines = expected.events().len() + effects(&other_ledger).len();

        let data = self.folder.join("data");
        let mut before: Option<Snapshot> = None;
        let mut kills = 0;
        for life in 0.. {
            let known = before.as_ref().map_or(0, |before| before.events().len());
            let known_effects = effects(&self.ledger).len();
            let arguments: &[&str] = if known == 0 { &["run", &file] } else { &["resume", "@last"] };
            let mut command = Self::command(&data, &self.ledger, arguments);
            let code = match kills {
                KILLS => run_and_kill(&mut command, usize::MAX),
                // While the agent is at work, so that the attempt is interrupted.
                _ if self.below(2) == 0 => {
                    let call = 1 + self.below(effects(&other_ledger).len().saturating_sub(known_effects) * 2 / 3);
                    run_and_kill_at(&mut command, call, |line| line.contains("{\"execution\":"))
                }
                // Behind anything that it tells.
                _ => {
                    let line = known + 1 + self.below(lines.saturating_sub(known) * 2 / 3);
                    run_and_kill(&mut command, line)
                }
            };
            kills += usize::from(code.is_none());
            let Some(after) = only(&data) else { continue };
            if let Some(before) = &before {
                self.compare(before, &after, &effects(&self.ledger)[known_effects..]);
            }
            let is_over = after.state().status().is_terminal();
            before = Some(after);
            if is_over {
                break;
            }
            assert!(life <= KILLS, "seed {} does not come to its end", self.seed);
        }
        let restarts = self.check(&before.expect("it has run"), &expected);
        (kills, restarts)
    }

    /// Checks what a life has done with what the one before had left.
    fn compare(&self, before: &Snapshot, after: &Snapshot, calls: &[Effect]) {
        let seed = self.seed;
        assert_eq!(
            after.events()[..before.events().len()],
            *before.events(),
            "seed {seed}: what was stored has changed"
        );
        let committed = committed(before);
        let again: Vec<_> = calls.iter().filter(|call| committed.contains_key(&call.path)).collect();
        assert!(again.is_empty(), "seed {seed}: what was committed ran again: {again:?}");
        if after.state().status().is_terminal() {
            let called: BTreeSet<_> = calls.iter().map(|call| call.path.clone()).collect();
            let lost: Vec<_> = in_flight(before).difference(&called).cloned().collect();
            assert!(lost.is_empty(), "seed {seed}: what was in flight did not run again: {lost:?}");
        }
    }

    /// Checks the whole of an execution, however many lives it had. How many calls were made again of attempts that were interrupted.
    fn check(&self, survived: &Snapshot, expected: &Snapshot) -> usize {
        let seed = self.seed;
        assert_eq!(survived.state().status(), Status::Completed, "seed {seed}");
        assert_eq!(committed(survived), committed(expected), "seed {seed}: the same steps, each once");
        assert!(committed(survived).values().all(|count| *count == 1), "seed {seed}: a step was committed twice");
        assert_eq!(survived.outputs(), expected.outputs(), "seed {seed}");
        let announced = announced(survived);
        let mut by_path: BTreeMap<String, Vec<Effect>> = BTreeMap::new();
        for effect in effects(&self.ledger) {
            by_path.entry(effect.path.clone()).or_default().push(effect);
        }
        let mut restarts = 0;
        for (path, calls) in by_path {
            let attempts: BTreeSet<_> = calls.iter().map(|call| call.attempt).collect();
            restarts += calls.len() - attempts.len();
            let keys: BTreeSet<_> = calls.iter().map(|call| &call.key).collect();
            assert_eq!(keys.len(), 1, "seed {seed}: {path} was called under several keys");
            let known = announced.get(&path).copied().unwrap_or(0);
            assert!(calls.len() <= known, "seed {seed}: {path} was called {} times, {known} announced", calls.len());
        }
        restarts
    }
}

/// Asks for more workflows with `CRASHES`.
#[test]
fn a_program_that_is_killed_goes_on_from_what_it_had_stored() {
    let folder = tempfile::tempdir().expect("a folder");
    let count = std::env::var("CRASHES").ok().and_then(|count| count.parse().ok()).unwrap_or(WORKFLOWS);
    let trials = (0..count).map(|seed| Trial::new(seed, folder.path()).go());
    let (kills, restarts) = trials.fold((0, 0), |sum, trial| (sum.0 + trial.0, sum.1 + trial.1));
    println!("{count} workflows, {kills} kills, {restarts} calls again of attempts that were interrupted");
    assert!(kills as u64 > count, "most executions are killed more than once: {kills}");
    assert!(restarts as u64 >= count, "only a call that is made again can have another key: {restarts}");
}

#[test]
fn resume_says_what_is_reused_and_what_runs_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("crash.json");
    let greet = |id: &str, dependencies: &[&str]| {
        let agent = json!({ "id": "@orchestr8/hello-world", "config": { "delayMs": 1500 } });
        json!({ "id": id, "agent": agent, "input": { "name": "Ada" }, "dependencies": dependencies })
    };
    let steps = [greet("a", &[]), greet("b", &["a"])];
    let workflow = json!({ "version": "1.0.0", "metadata": { "id": "crash", "name": "Crash" }, "steps": steps });
    fs::write(&file, workflow.to_string()).expect("written");
    let data = folder.path().join("data");
    // The second step has begun: queued, started, and four events of the first and three of the second.
    let killed = run_and_kill(orchestr8().arg("--data-dir").arg(&data).arg("run").arg(&file).arg("--events"), 10);
    assert_eq!(killed, None);
    let said = say(orchestr8().arg("--data-dir").arg(&data).args(["resume", "@last"]));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains("= a"), "{}", said.stderr);
    let again = say(orchestr8().arg("--data-dir").arg(&data).args(["resume", "@last"]));
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("has ended (completed)"), "{}", again.stderr);
}

#[test]
fn resume_counts_the_items_of_maps_and_what_is_reused() {
    let folder = tempfile::tempdir().expect("a folder");
    let there = |number: usize| folder.path().join(format!("there-{number}"));
    let program =
        json!({ "program": "test", "args": ["-e", format!("{}${{item}}", folder.path().join("there-").display())] });
    let score = json!({ "id": "score", "agent": { "id": "@orchestr8/process" }, "input": program });
    let steps = json!([
        { "id": "fetch", "agent": { "id": "@orchestr8/noop" } },
        { "id": "reviews", "dependencies": ["fetch"], "map": { "items": [0, 1, 2, 3, 4, 5], "steps": [score] } },
    ]);
    let workflow = json!({ "version": "1.0.0", "metadata": { "id": "w", "name": "W" }, "steps": steps });
    fs::write(folder.path().join("w.json"), workflow.to_string()).expect("written");
    fs::write(folder.path().join("config.json"), r#"{ "policy": { "process": { "allow": ["test"] } } }"#)
        .expect("written");
    (0..6).filter(|number| *number != 4).for_each(|number| fs::write(there(number), "").expect("written"));
    let program = |arguments: &[&str]| say(orchestr8().env("ORCHESTR8_HOME", folder.path()).args(arguments));
    let failed = program(&["run", folder.path().join("w.json").to_str().expect("UTF-8")]);
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    fs::write(there(4), "").expect("written");
    let resumed = program(&["resume", "@last"]);
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    // The item behind it had not had its turn, or had.
    let is_told = |done: usize| {
        let reused = format!(
            "= fetch, reviews ({done} of 6 items) reused\n~ reviews[4].score runs again: failed with INTERNAL\n"
        );
        resumed.stderr.starts_with(&reused)
            && resumed.stderr.contains(&format!(" · {} reused, {} run · ", done + 1, 6 - done))
    };
    assert!(is_told(4) || is_told(5), "{}", resumed.stderr);
}

#[test]
fn resume_reopens_what_has_failed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("failing.json");
    let agent = |id: &str, agent: &str, dependencies: &[&str]| json!({ "id": id, "agent": { "id": format!("@orchestr8/{agent}") }, "dependencies": dependencies });
    let mut steps = json!([agent("a", "noop", &[]), agent("b", "fail", &["a"]), agent("c", "noop", &["b"])]);
    steps[1]["input"] = json!({ "code": "DENIED" });
    let workflow = json!({ "version": "1.0.0", "metadata": { "id": "w", "name": "W" }, "steps": steps });
    fs::write(&file, workflow.to_string()).expect("written");
    let data = folder.path().join("data");
    let program = |arguments: &[&str]| say(orchestr8().arg("--data-dir").arg(&data).args(arguments));
    let failed = program(&["run", file.to_str().expect("UTF-8")]);
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    for _ in 0..2 {
        let resumed = program(&["resume", "@last"]);
        assert_eq!(resumed.code, Some(1), "{}", resumed.stderr);
        assert!(resumed.stderr.contains("= a reused\n~ b runs again: failed with DENIED\n"), "{}", resumed.stderr);
        assert!(resumed.stderr.contains("~ c runs again: its turn had not come"), "{}", resumed.stderr);
    }
    let once = BTreeMap::from([("a".to_owned(), 1)]);
    assert_eq!(committed(&only(&data).expect("it has run")), once);
    let lowered = program(&["resume", "@last", "--max-tokens", "0"]);
    assert_eq!(lowered.code, Some(2));
    assert!(lowered.stderr.contains("maxTokens"), "{}", lowered.stderr);
}

#[test]
fn fork_goes_on_with_a_repaired_file_and_says_what_is_reused_and_why_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("broken.json");
    let step = |id: &str, agent: &str, input: Value, dependencies: &[&str]| json!({ "id": id, "agent": { "id": format!("@orchestr8/{agent}") }, "input": input, "dependencies": dependencies });
    let document = |last: &str| {
        let steps = json!([
            step("a", "echo", json!({ "x": "${inputs.x}" }), &[]),
            step("b", "echo", json!({ "of": 1 }), &["a"]),
            step("c", last, json!({ "code": "DENIED" }), &["b"]),
        ]);
        json!({ "version": "1.0.0", "metadata": { "id": "w", "name": "W" }, "steps": steps }).to_string()
    };
    fs::write(&file, document("fail")).expect("written");
    let data = folder.path().join("data");
    let program = |arguments: &[&str]| say(orchestr8().arg("--data-dir").arg(&data).args(arguments));
    let path = file.to_str().expect("UTF-8");
    assert_eq!(program(&["run", path, "-i", "x=1"]).code, Some(1));
    fs::write(&file, document("echo")).expect("written");
    let forked = program(&["fork", "@last", "--with", path, "-i", "x=2"]);
    assert_eq!(forked.code, Some(0), "{}", forked.stderr);
    for line in ["· 2 steps retained", "~ a runs again: it has another input", "= b reused", "Completed in"] {
        assert!(forked.stderr.contains(line), "{line}: {}", forked.stderr);
    }
    let refused = program(&["fork", "@last", "--from", "nobody"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("`nobody` was never scheduled"), "{}", refused.stderr);
}

#[test]
fn a_store_that_cannot_be_opened_says_why_and_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("orchestr8.db"), "something else altogether").expect("written");
    let said = say(orchestr8().arg("--data-dir").arg(folder.path()).args(["resume", "@last"]));
    assert_eq!(said.code, Some(3));
    assert!(
        said.stderr.contains("is no database of orchestr8") && said.stderr.contains("--data-dir"),
        "{}",
        said.stderr
    );
}
